"""A model's answers on any picture, video or camera: `lightseg.inference.api.predict`.

sources -> Frames of pictures, videos, cameras; reading -> one odd file; inputs -> network input and the way back;
runners -> checkpoint or exported file; answering -> one network, or persons (a detector's or a list's) and a pose
network; results and poses -> raw answers, a kind a task; overlays -> what is drawn.
"""
