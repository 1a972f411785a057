"""Lightweight nets as feature pyramids, by torch and timm alone."""

from lightseg.backbones.catalog import list_backbones
from lightseg.backbones.create import create_backbone
from lightseg.backbones.pyramid import FeaturePyramid, Stage

__all__ = ["FeaturePyramid", "Stage", "create_backbone", "list_backbones"]
