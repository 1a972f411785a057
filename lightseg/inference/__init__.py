"""A model's predictions on images, videos or a camera: `lightseg.load` in Python, and `lightseg.inference.api.predict`,
which writes files.

- predictor: a model, loaded once, that takes images of any kind and returns `lightseg.predictions`
- batches: frames in, predictions out
- images: arrays, PIL images, bytes and paths as frames
- media: images, videos and cameras as streams of frames
- preprocess: an image as network input
- runners: the network, of a checkpoint or of an exported file
- pipelines: a single network, or person boxes (from a detector or a file) followed by a pose network
- heat_map, explain: where a prediction's evidence lies in the image, and the sheets of `--explain`
- overlays: images and videos with the predictions drawn in

The result files of a task are described in its `TaskSpec`.
"""
