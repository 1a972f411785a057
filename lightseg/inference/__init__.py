"""A model's predictions on any image, video or camera: `lightseg.inference.api.predict`.

media -> Frames of images, videos, cameras; preprocess -> network input and the way back; runners -> checkpoint or
exported file; pipelines -> one network, or persons (a detector's or a list's) and a pose network; overlays -> images
and videos with the predictions drawn in. What is written of each task stands in its `TaskSpec`.
"""
