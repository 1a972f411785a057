"""Typed predictions, in pixels of the image: what `lightseg.load(...)(source)` returns, a class a task."""

from lightseg.predictions.base import Prediction
from lightseg.predictions.boxes import Detection
from lightseg.predictions.classes import Classification, MultiLabel
from lightseg.predictions.mask import Segmentation
from lightseg.predictions.poses import Pose

__all__ = ["Classification", "Detection", "MultiLabel", "Pose", "Prediction", "Segmentation"]
