"""A model's predictions on images, videos or a camera: `lightseg.inference.api.predict`.

- media: images, videos and cameras as streams of frames
- preprocess: an image as network input
- runners: the network, of a checkpoint or of an exported file
- pipelines: a single network, or person boxes (from a detector or a file) followed by a pose network
- overlays: images and videos with the predictions drawn in

The result files of a task are described in its `TaskSpec`.
"""
