"""SSD's default boxes.

SSD (Liu et al., ECCV 2016, arXiv:1512.02325), section 2.2, with the scales of torchvision's SSDLite on MobileNetV3:
0.20 to 0.95 of the image's sides over six maps, 3234 boxes for 320x320. Bit-identical to torchvision's
`DefaultBoxGenerator`. Scales are fractions of each side, so boxes are stretched with the image.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

LEVELS = 6
MIN_SCALE, MAX_SCALE = 0.2, 0.95
SCALES = (*(MIN_SCALE + (MAX_SCALE - MIN_SCALE) * level / (LEVELS - 1) for level in range(LEVELS)), 1.0)
RATIOS = (2, 3)  # aspect ratios; their inverses and two squares are added
BOXES_PER_CELL = 2 + 2 * len(RATIOS)


def default_boxes(maps: Sequence[tuple[int, int]], image_size: tuple[int, int], device: torch.device) -> Tensor:
    """Boxes [N,4] xyxy in pixels, not clipped to the image: map by map, row by row, six in each cell.

    maps: (height, width) of the six maps, shallow to deep. image_size: (height, width) in pixels.
    """
    if torch.compiler.is_compiling():  # sizes may be symbolic and tensors fake
        return _make(tuple(maps), image_size, device)
    return _cached(tuple(maps), image_size, device)


@lru_cache(maxsize=32)
def _cached(maps: tuple[tuple[int, int], ...], image_size: tuple[int, int], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # the cached boxes must be usable in training too
        return _make(maps, image_size, device)


def _make(maps: tuple[tuple[int, int], ...], image_size: tuple[int, int], device: torch.device) -> Tensor:
    levels = []
    for level, (height, width) in enumerate(maps):
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        centers = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[:, :, None]  # [h, w, 1, 2] as x, y
        half = 0.5 * torch.tensor(box_sizes(level), device=device).clamp(max=1)  # [6, 2]
        corners = [centers - half, centers + half]
        levels.append(torch.cat(corners, -1).reshape(-1, 4))
    height, width = image_size
    return torch.cat(levels) * torch.tensor([width, height, width, height], device=device)


def box_sizes(level: int) -> list[list[float]]:
    """(width, height) of a level's six boxes, as fractions of the image's sides."""
    scale = SCALES[level]
    between = math.sqrt(scale * SCALES[level + 1])
    sizes = [[scale, scale], [between, between]]
    for ratio in RATIOS:
        long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        sizes += [[long, short], [short, long]]
    return sizes
