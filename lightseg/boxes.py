"""Arithmetic on boxes x1, y1, x2, y2: offsets from default boxes, as SSD (arXiv:1512.02325, section 2.2) learns them.

Equal to torchvision's `BoxCoder`, to the bit.
"""

import math

import torch
from torch import Tensor

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the offsets of centre and size: the inverse of SSD's variances 0.1 and 0.2
MAX_LOG_SIZE = math.log(1000 / 16)  # no box grows by more than this factor: exp stays finite


def encode(boxes: Tensor, defaults: Tensor) -> Tensor:
    """Boxes [...,4] xyxy as offsets [...,4] from default boxes [...,4] xyxy: what a head learns to answer."""
    size, default_size = boxes[..., 2:] - boxes[..., :2], defaults[..., 2:] - defaults[..., :2]
    centre, default_centre = boxes[..., :2] + 0.5 * size, defaults[..., :2] + 0.5 * default_size
    weights = boxes.new_tensor(WEIGHTS)
    offsets = weights[:2] * (centre - default_centre) / default_size
    return torch.cat([offsets, weights[2:] * torch.log(size / default_size)], -1)


def decode(deltas: Tensor, defaults: Tensor) -> Tensor:
    """The inverse of `encode`: offsets [...,4] from default boxes [...,4] xyxy -> boxes [...,4] xyxy, not clipped."""
    default_size = defaults[..., 2:] - defaults[..., :2]
    default_centre = defaults[..., :2] + 0.5 * default_size
    scaled = deltas / deltas.new_tensor(WEIGHTS)
    centre = scaled[..., :2] * default_size + default_centre
    half = 0.5 * (scaled[..., 2:].clamp(max=MAX_LOG_SIZE).exp() * default_size)
    return torch.cat([centre - half, centre + half], -1)
