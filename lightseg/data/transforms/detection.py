"""Augmentation for detection: photometric distortion, expansion, IoU crop, flip, resize and, as an option, mosaic.

    transform(seed, image=[H, W, C], boxes=float32 [N, 4] xyxy, labels=int64 [N], read=..., count=...)

returns image, boxes and labels, random by that seed alone; `read(index)` and `count` are the data set's, for the
mosaic. The recipe is SSD's (Liu et al., arXiv:1512.02325, section 2.2) with the values of the reference training
scripts (IoUs 0, .1, .3, .5, .7, .9, 1; sides of 0.3 to 1; up to 40 trials each). torchvision's SSDLite recipe has crop
and flip only.

Expansion and crop only choose a window, which may reach beyond the image; a single resize then renders it, so the
canvas of up to sixteen times the area is never built. Boxes follow the whole pixels that the image covers.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat, mirrored, resized
from lightseg.data.transforms.checks import Size, check_probabilities, check_strength, checked_size, optional_range
from lightseg.data.transforms.color import photometric_matrix

MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # 1: no crop
CROP_SIDES, CROP_ASPECT, CROP_TRIALS = (0.3, 1.0), (0.5, 2.0), 40
MIN_SIDE = 1.0  # px of the result; smaller boxes are dropped in training
MOSAIC_CENTER = (0.3, 0.7)  # where the four images meet, as a fraction of each side

Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; may reach beyond it
Boxes = TypeVar("Boxes", np.ndarray, Tensor)


class TrainTransform:
    """See `train_transform`, which checks the values."""

    def __init__(
        self,
        size: Size,
        hflip: float,
        iou_crop: bool,
        expand: tuple[float, float] | None,
        photometric: float,
        keep_aspect: bool,
        mosaic: float,
        pixels: PixelFormat,
    ) -> None:
        self.size, self.hflip, self.iou_crop, self.expand = size, hflip, iou_crop, expand
        self.photometric, self.keep_aspect, self.mosaic = photometric, keep_aspect, mosaic
        self.low, self.fill = pixels.value_range[0], pixels.fill

    def __call__(
        self,
        seed: int,
        *,
        image: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        read: Callable[[int], dict[str, np.ndarray]] | None = None,
        count: int = 0,
    ) -> dict[str, np.ndarray]:
        rng = random.Random(seed)
        sample = {"image": image, "boxes": boxes, "labels": labels}
        if self.mosaic and rng.random() < self.mosaic and read is not None:
            return self._mosaic(rng, [sample, *(read(rng.randrange(count)) for _ in range(3))])
        return self._single(rng, sample, self.size, self.expand)

    def _single(
        self, rng: random.Random, sample: dict[str, np.ndarray], size: Size, expand: tuple[float, float] | None
    ) -> dict[str, np.ndarray]:
        image, boxes, labels = sample["image"], sample["boxes"], sample["labels"]
        height, width = image.shape[:2]
        window: Window = (0, 0, width, height)
        if expand and rng.random() < 0.5:
            window = expanded(rng, window, expand)
        if self.iou_crop:
            window, kept = iou_cropped(rng, window, boxes)
            boxes, labels = boxes[kept], labels[kept]
        colors = photometric_matrix(rng, self.photometric, image, self.low) if self.photometric else None
        image, boxes = render(image, boxes, window, size, self.keep_aspect, colors, self.fill)
        if rng.random() < self.hflip:
            image, boxes = mirrored(image), flipped(boxes, size[1])
        large = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1)
        return {"image": image, "boxes": boxes[large], "labels": labels[large]}

    def _mosaic(self, rng: random.Random, samples: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Four images (YOLOv4: Bochkovskiy et al., arXiv:2004.10934), one per corner, without expansion."""
        height, width = self.size
        y, x = (min(max(1, round(rng.uniform(*MOSAIC_CENTER) * side)), side - 1) for side in self.size)
        image = np.empty((height, width, samples[0]["image"].shape[2]), samples[0]["image"].dtype)
        boxes, labels = [], []
        for sample, top, left, bottom, right in zip(
            samples, (0, 0, y, y), (0, x, 0, x), (y, y, height, height), (x, width, x, width), strict=True
        ):
            part = self._single(rng, sample, (bottom - top, right - left), None)
            image[top:bottom, left:right] = part["image"]
            boxes.append(part["boxes"] + np.array([left, top, left, top], np.float32))
            labels.append(part["labels"])
        return {"image": image, "boxes": np.concatenate(boxes), "labels": np.concatenate(labels)}


def train_transform(
    size: Sequence[int],
    *,
    hflip: float = 0.5,
    iou_crop: bool = True,
    expand: Sequence[float] | None = (1.0, 4.0),
    photometric: float = 0.5,
    keep_aspect: bool = False,
    mosaic: float = 0.0,
    pixels: PixelFormat | None = None,
) -> TrainTransform:
    """The augmentation of training images to (height, width) `size`.

    hflip, mosaic: probabilities. iou_crop: SSD's random crop.
    expand: smallest and largest side of the canvas, as a multiple of the image's. Every other image is expanded.
    photometric: contrast and saturation change by up to this fraction, brightness by a quarter of it, hue by a tenth of
        it of the color circle, each in every other image. 0.5: SSD's values. 0: off.
    keep_aspect: fit the image in and fill the rest with the mean color. False: stretch it, as SSD does.
    pixels: of the images; None: uint8 RGB. Without 3 channels there is no photometric distortion.

    Raises LightsegError for values out of range.
    """
    check_probabilities(hflip=hflip, mosaic=mosaic)
    check_strength("photometric", photometric)
    expand = optional_range("expand", expand, 1)
    pixels = pixels or PixelFormat()
    photometric = photometric if pixels.channels == 3 else 0.0
    return TrainTransform(checked_size(size), hflip, iou_crop, expand, photometric, keep_aspect, mosaic, pixels)


class EvalTransform:
    """The uncropped image at `size`; no box is dropped. `to_original` is the inverse."""

    def __init__(self, size: Size, keep_aspect: bool, fill: Sequence[float] = MEAN_COLOR) -> None:
        self.size, self.keep_aspect, self.fill = size, keep_aspect, fill

    def __call__(
        self, seed: int, *, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, **_: Any
    ) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        image, boxes = render(image, boxes, (0, 0, width, height), self.size, self.keep_aspect, fill=self.fill)
        return {"image": image, "boxes": boxes, "labels": labels}


def eval_transform(
    size: Sequence[int], keep_aspect: bool = False, *, fill: Sequence[float] = MEAN_COLOR
) -> EvalTransform:
    """fill: the value of padding in each channel."""
    return EvalTransform(checked_size(size), keep_aspect, fill)


def to_input(boxes: Boxes, size: Size, input_size: Size, keep_aspect: bool = False) -> Boxes:
    """Boxes [N, 4] xyxy of an image of `size` (height, width) -> in the network's input, as in `eval_transform`."""
    top, left, height, width = placement(size, input_size, keep_aspect)
    sx, sy = width / size[1], height / size[0]
    return boxes * _like(boxes, (sx, sy, sx, sy)) + _like(boxes, (left, top, left, top))


def to_original(boxes: Boxes, size: Size, input_size: Size, keep_aspect: bool = False) -> Boxes:
    """Boxes [N, 4] xyxy of the network's input -> in the image of `size` (height, width), clipped to it."""
    top, left, height, width = placement(size, input_size, keep_aspect)
    sx, sy = size[1] / width, size[0] / height
    back = (boxes - _like(boxes, (left, top, left, top))) * _like(boxes, (sx, sy, sx, sy))
    return back.clip(_like(boxes, (0, 0, 0, 0)), _like(boxes, (size[1], size[0], size[1], size[0])))


def placement(size: Size, input_size: Size, keep_aspect: bool) -> tuple[int, int, int, int]:
    """(top, left, height, width) of an image of `size` in the input: the full input, or centered (letterbox)."""
    if not keep_aspect:
        return 0, 0, *input_size
    scale = min(input_size[0] / size[0], input_size[1] / size[1])
    height, width = (min(limit, max(1, round(side * scale))) for side, limit in zip(size, input_size, strict=True))
    return (input_size[0] - height) // 2, (input_size[1] - width) // 2, height, width


def expanded(rng: random.Random, window: Window, ratios: tuple[float, float]) -> Window:
    """A canvas with sides `ratios` times as long and the image at a random position on it."""
    left, top, right, bottom = window
    ratio = rng.uniform(*ratios)
    width, height = int((right - left) * ratio), int((bottom - top) * ratio)
    x, y = (int((new - old) * rng.random()) for new, old in ((width, right - left), (height, bottom - top)))
    return left - x, top - y, left - x + width, top - y + height


def iou_cropped(rng: random.Random, window: Window, boxes: np.ndarray) -> tuple[Window, np.ndarray]:
    """A crop of `window` with at least a sampled IoU with one of the boxes, and a bool [N]: boxes with their center
    in it. Images without boxes are not cropped.
    """
    left, top, right, bottom = window
    while len(boxes):
        min_iou = rng.choice(MIN_IOUS)
        if min_iou >= 1:
            break
        for _ in range(CROP_TRIALS):
            width, height = (int(side * rng.uniform(*CROP_SIDES)) for side in (right - left, bottom - top))
            x, y = (
                left + int((right - left - width) * rng.random()),
                top + int((bottom - top - height) * rng.random()),
            )
            if not (width and height and CROP_ASPECT[0] <= width / height <= CROP_ASPECT[1]):
                continue
            crop = (x, y, x + width, y + height)
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            kept = ((centers > crop[:2]) & (centers < crop[2:])).all(1)
            if kept.any() and _iou(boxes[kept], crop).max() >= min_iou:
                return crop, kept
    return window, np.ones(len(boxes), bool)


def render(
    image: np.ndarray,
    boxes: np.ndarray,
    window: Window,
    size: Size,
    keep_aspect: bool,
    colors: np.ndarray | None = None,
    fill: Sequence[float] = MEAN_COLOR,
) -> tuple[np.ndarray, np.ndarray]:
    """The window at `size`, `fill` where it is beyond the image, and the boxes in it, clipped.

    colors: a [3, 4] color matrix for the image.
    """
    left, top, right, bottom = window
    y, x, height, width = placement((bottom - top, right - left), size, keep_aspect)
    # along each side: the part of the image in the window, and the pixels of the result that it covers
    x0, x1, part_x, part_width = _side(left, right, image.shape[1], x, width)
    y0, y1, part_y, part_height = _side(top, bottom, image.shape[0], y, height)
    part = image[y0:y1, x0:x1]
    # Bilinear interpolation reads 2x2 neighbors: enough down to half the size; below, it would skip pixels.
    shrinks = 2 * part_height < y1 - y0 or 2 * part_width < x1 - x0
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    part = resized(part, (part_width, part_height), interpolation)
    if colors is not None:  # after the resize: there are fewer pixels
        part = cv2.transform(part, colors)
    if (part_height, part_width) == size:
        result = part
    else:
        result = np.empty((*size, image.shape[2]), image.dtype)
        result[0] = fill
        result[1:] = result[0]  # rows of bytes: fifty times faster than filling pixel by pixel
        result[part_y : part_y + part_height, part_x : part_x + part_width] = part
    sx, sy = part_width / (x1 - x0), part_height / (y1 - y0)
    moved = (boxes - np.array([x0, y0, x0, y0])) * (sx, sy, sx, sy) + (part_x, part_y, part_x, part_y)
    limits = (part_x, part_y, part_x + part_width, part_y + part_height)
    return result, np.clip(moved, limits[:2] * 2, limits[2:] * 2).astype(np.float32)


def flipped(boxes: np.ndarray, width: int) -> np.ndarray:
    """Boxes of the mirrored image, `width` pixels wide."""
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = width - boxes[:, [2, 0]]
    return mirrored


def _side(start: int, end: int, length: int, position: int, pixels: int) -> tuple[int, int, int, int]:
    """Along a side, a window start..end of an image of `length` pixels is rendered to `pixels` pixels from `position`.

    Returns the part of the image in the window (start, end) and its pixels in the result (start, number >= 1).
    """
    low, high = max(start, 0), min(end, length)
    scale = pixels / (end - start)
    first = min(max(position + round((low - start) * scale), position), position + pixels - 1)
    last = min(max(position + round((high - start) * scale), first + 1), position + pixels)
    return low, high, first, last - first


def _iou(boxes: np.ndarray, crop: Window) -> np.ndarray:
    sides = np.minimum(boxes[:, 2:], crop[2:]) - np.maximum(boxes[:, :2], crop[:2])
    shared = sides.clip(0).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (crop[2] - crop[0]) * (crop[3] - crop[1]) - shared)


def _like(boxes: Any, values: Sequence[float]) -> Any:
    if isinstance(boxes, Tensor):
        return torch.tensor(values, dtype=boxes.dtype, device=boxes.device)
    return np.array(values, boxes.dtype)
