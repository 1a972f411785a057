"""Lightweight nets as feature pyramids, with torch and timm alone.

Importing this package registers the nets that timm lacks: `timm.create_model("micronet_m3", features_only=True)`.
"""

from lightseg.backbones import fbnet, micronet, mobilenet, shufflenetv1, shufflenetv2, squeezenet  # noqa: F401
from lightseg.backbones.classifier import Classifier, create_classifier
from lightseg.backbones.create import create_backbone
from lightseg.backbones.pyramid import FeaturePyramid, InputFormat, Stage
from lightseg.catalog.backbones import list_backbones

__all__ = [
    "Classifier",
    "FeaturePyramid",
    "InputFormat",
    "Stage",
    "create_backbone",
    "create_classifier",
    "list_backbones",
]
