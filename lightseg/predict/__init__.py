"""A model's answers on any picture, video or camera: `lightseg.predict.predicting.predict`.

sources -> Frames of pictures, videos, cameras; reading -> one odd file; inputs -> network input and the way back;
runners -> checkpoint or ONNX; results -> raw answers, a kind a task; overlays -> what is drawn.
"""
