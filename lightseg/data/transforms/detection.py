"""Augmentation for detection: photometric distortion, expansion, IoU crop, flip, resize; mosaic as an option.

    transform(seed, image=uint8 [H, W, 3], boxes=float32 [N, 4] xyxy, labels=int64 [N], read=..., count=...)

gives image, boxes and labels back, changed with the randomness of that seed and no other; `read(index)` and `count`
are the data set's, for the mosaic. The recipe is SSD's (Liu et al., arXiv:1512.02325, section 2.2) with the values of
the reference training scripts (IoUs 0, .1, .3, .5, .7, .9, 1; sides of 0.3 to 1; up to 40 trials each); SSDLite's own
(torchvision) is crop and flip alone.

Expansion and crop only choose a window, which may reach beyond the picture; one resize then draws what it shows, so no
sixteenfold canvas is ever painted. Boxes follow the whole pixels that the picture really covers.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from lightseg.data.transforms.color import MEAN_COLOUR, photometric_matrix
from lightseg.errors import LightsegError

LEAST_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # 1: no crop
CROP_SIDES, CROP_ASPECT, CROP_TRIALS = (0.3, 1.0), (0.5, 2.0), 40
LEAST_SIDE = 1.0  # px of the result; what a crop leaves smaller is dropped
MOSAIC_MIDDLE = (0.3, 0.7)  # where four pictures meet, as a share of each side

Size = tuple[int, int]  # height, width
Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture; may reach beyond it
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
    ) -> None:
        self.size, self.hflip, self.iou_crop, self.expand = size, hflip, iou_crop, expand
        self.photometric, self.keep_aspect, self.mosaic = photometric, keep_aspect, mosaic

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
        draw = random.Random(seed)
        one = {"image": image, "boxes": boxes, "labels": labels}
        if self.mosaic and draw.random() < self.mosaic and read is not None:
            four = [one, *(read(draw.randrange(count)) for _ in range(3))]
            return self._mosaic(draw, four)
        return self._single(draw, one, self.size, self.expand)

    def _single(
        self, draw: random.Random, one: dict[str, np.ndarray], size: Size, expand: tuple[float, float] | None
    ) -> dict[str, np.ndarray]:
        boxes, labels = one["boxes"], one["labels"]
        height, width = one["image"].shape[:2]
        window: Window = (0, 0, width, height)
        if expand and draw.random() < 0.5:
            window = expanded(draw, window, expand)
        if self.iou_crop:
            window, kept = iou_cropped(draw, window, boxes)
            boxes, labels = boxes[kept], labels[kept]
        colours = photometric_matrix(draw, self.photometric, one["image"]) if self.photometric else None
        image, boxes = show(one["image"], boxes, window, size, self.keep_aspect, colours)
        if draw.random() < self.hflip:
            image, boxes = cv2.flip(image, 1), flipped(boxes, size[1])
        large = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(1)
        return {"image": image, "boxes": boxes[large], "labels": labels[large]}

    def _mosaic(self, draw: random.Random, four: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Four pictures (YOLOv4: Bochkovskiy et al., arXiv:2004.10934), each filling its corner, none expanded."""
        height, width = self.size
        y, x = (min(max(1, round(draw.uniform(*MOSAIC_MIDDLE) * side)), side - 1) for side in self.size)
        image = np.empty((height, width, 3), np.uint8)
        boxes, labels = [], []
        for one, top, left, bottom, right in zip(
            four, (0, 0, y, y), (0, x, 0, x), (y, y, height, height), (x, width, x, width), strict=True
        ):
            part = self._single(draw, one, (bottom - top, right - left), None)
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
) -> TrainTransform:
    """What a training picture goes through to (height, width) `size`.

    hflip, mosaic: probabilities. iou_crop: SSD's random crop.
    expand: lowest and highest side of the canvas that every other picture is laid on, as a multiple of its own.
    photometric: contrast and saturation change by up to this share, brightness by a quarter of it, hue by a tenth of
        it of the colour circle, each in every other picture: 0.5 are SSD's own values. 0 = off.
    keep_aspect: fit the picture in and fill the rest with the mean colour; otherwise it is stretched, as SSD does.

    Raises LightsegError for values that cannot be.
    """
    for name, value in (("hflip", hflip), ("mosaic", mosaic)):
        if not 0 <= value <= 1:
            raise LightsegError(f"{name} is {value}: a probability lies in 0..1")
    if not 0 <= photometric < 1:
        raise LightsegError(f"photometric is {photometric}: the strength lies in 0..1, 1 excluded")
    return TrainTransform(
        whole_size(size), hflip, iou_crop, factors("expand", expand, 1), photometric, keep_aspect, mosaic
    )


def factors(name: str, given: Any, least: float) -> tuple[float, float] | None:
    """[lowest, highest] as a pair, nothing as None. LightsegError for anything else."""
    if not given:
        return None
    pair = isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(one, int | float) for one in given)
    if not pair or not least <= given[0] <= given[1]:
        shown = list(given) if isinstance(given, tuple) else given
        raise LightsegError(f"{name} is {shown}: give two numbers, lowest and highest, from {least} on, or null")
    return float(given[0]), float(given[1])


class EvalTransform:
    """The whole picture at `size`; no box is dropped. `to_original` is the way back."""

    def __init__(self, size: Size, keep_aspect: bool) -> None:
        self.size, self.keep_aspect = size, keep_aspect

    def __call__(
        self, seed: int, *, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, **_: Any
    ) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        image, boxes = show(image, boxes, (0, 0, width, height), self.size, self.keep_aspect)
        return {"image": image, "boxes": boxes, "labels": labels}


def eval_transform(size: Sequence[int], keep_aspect: bool = False) -> EvalTransform:
    return EvalTransform(whole_size(size), keep_aspect)


def to_input(boxes: Boxes, size: Size, input_size: Size, keep_aspect: bool = False) -> Boxes:
    """Boxes [N, 4] xyxy of a picture of `size` (height, width) in the network's input, as `eval_transform` has them."""
    top, left, height, width = placement(size, input_size, keep_aspect)
    sx, sy = width / size[1], height / size[0]
    return boxes * _like(boxes, (sx, sy, sx, sy)) + _like(boxes, (left, top, left, top))


def to_original(boxes: Boxes, size: Size, input_size: Size, keep_aspect: bool = False) -> Boxes:
    """Boxes [N, 4] xyxy of the network's input in the picture of `size` (height, width), clipped to it."""
    top, left, height, width = placement(size, input_size, keep_aspect)
    sx, sy = size[1] / width, size[0] / height
    back = (boxes - _like(boxes, (left, top, left, top))) * _like(boxes, (sx, sy, sx, sy))
    return back.clip(_like(boxes, (0, 0, 0, 0)), _like(boxes, (size[1], size[0], size[1], size[0])))


def placement(size: Size, input_size: Size, keep_aspect: bool) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture of `size` in the input: all of it, or in its middle."""
    if not keep_aspect:
        return 0, 0, *input_size
    scale = min(input_size[0] / size[0], input_size[1] / size[1])
    height, width = (min(most, max(1, round(side * scale))) for side, most in zip(size, input_size, strict=True))
    return (input_size[0] - height) // 2, (input_size[1] - width) // 2, height, width


def expanded(draw: random.Random, window: Window, ratios: tuple[float, float]) -> Window:
    """A canvas `ratios` times as large with the picture at a random place on it."""
    left, top, right, bottom = window
    ratio = draw.uniform(*ratios)
    width, height = int((right - left) * ratio), int((bottom - top) * ratio)
    x, y = (int((new - old) * draw.random()) for new, old in ((width, right - left), (height, bottom - top)))
    return left - x, top - y, left - x + width, top - y + height


def iou_cropped(draw: random.Random, window: Window, boxes: np.ndarray) -> tuple[Window, np.ndarray]:
    """A window within `window` that some box overlaps by a drawn least IoU, and which boxes have their centres in it.

    A picture without boxes stays whole.
    """
    everything = np.ones(len(boxes), bool)
    left, top, right, bottom = window
    while len(boxes):
        least = draw.choice(LEAST_IOUS)
        if least >= 1:
            break
        for _ in range(CROP_TRIALS):
            width, height = (int(side * draw.uniform(*CROP_SIDES)) for side in (right - left, bottom - top))
            x, y = (
                left + int((right - left - width) * draw.random()),
                top + int((bottom - top - height) * draw.random()),
            )
            if not (width and height and CROP_ASPECT[0] <= width / height <= CROP_ASPECT[1]):
                continue
            crop = (x, y, x + width, y + height)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            kept = ((centres > crop[:2]) & (centres < crop[2:])).all(1)
            if kept.any() and _iou(boxes[kept], crop).max() >= least:
                return crop, kept
    return window, everything


def show(
    image: np.ndarray,
    boxes: np.ndarray,
    window: Window,
    size: Size,
    keep_aspect: bool,
    colours: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the window shows at `size`, its colours changed by a [3, 4] matrix, mean colour where there is no picture;
    boxes clipped to the window.
    """
    left, top, right, bottom = window
    y, x, height, width = placement((bottom - top, right - left), size, keep_aspect)
    # along each side: the part of the picture in the window, and the pixels that it covers
    x0, x1, place_x, place_width = _side(left, right, image.shape[1], x, width)
    y0, y1, place_y, place_height = _side(top, bottom, image.shape[0], y, height)
    part = image[y0:y1, x0:x1]
    # Bilinear takes 2x2 neighbours, which is enough down to half the size; below, it would skip pixels.
    shrinks = 2 * place_height < y1 - y0 or 2 * place_width < x1 - x0
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    part = cv2.resize(part, (place_width, place_height), interpolation=how)
    if colours is not None:  # after the resize: there are fewer pixels
        part = cv2.transform(part, colours)
    if (place_height, place_width) == size:
        result = part
    else:
        result = np.empty((*size, 3), np.uint8)
        result[0] = MEAN_COLOUR
        result[1:] = result[0]  # rows of bytes: fifty times faster than filling pixel by pixel
        result[place_y : place_y + place_height, place_x : place_x + place_width] = part
    sx, sy = place_width / (x1 - x0), place_height / (y1 - y0)
    moved = (boxes - np.array([x0, y0, x0, y0])) * (sx, sy, sx, sy) + (place_x, place_y, place_x, place_y)
    limits = (place_x, place_y, place_x + place_width, place_y + place_height)
    return result, np.clip(moved, limits[:2] * 2, limits[2:] * 2).astype(np.float32)


def flipped(boxes: np.ndarray, width: int) -> np.ndarray:
    """Left and right exchanged in a picture `width` pixels wide."""
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = width - boxes[:, [2, 0]]
    return mirrored


def _side(start: int, end: int, length: int, place: int, covers: int) -> tuple[int, int, int, int]:
    """Along one side, a window start..end drawn onto `covers` pixels from `place`: the part of a picture of `length`
    pixels that it shows (start, end), and the pixels of that part (start, number), at least one.
    """
    low, high = max(start, 0), min(end, length)
    scale = covers / (end - start)
    first = min(max(place + round((low - start) * scale), place), place + covers - 1)
    last = min(max(place + round((high - start) * scale), first + 1), place + covers)
    return low, high, first, last - first


def _iou(boxes: np.ndarray, crop: Window) -> np.ndarray:
    sides = np.minimum(boxes[:, 2:], crop[2:]) - np.maximum(boxes[:, :2], crop[:2])
    shared = sides.clip(0).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (crop[2] - crop[0]) * (crop[3] - crop[1]) - shared)


def _like(boxes: Any, values: Sequence[float]) -> Any:
    if isinstance(boxes, Tensor):
        return torch.tensor(values, dtype=boxes.dtype, device=boxes.device)
    return np.array(values, boxes.dtype)


def whole_size(size: Sequence[int]) -> Size:
    if len(size) != 2 or any(not isinstance(side, int | float) or int(side) != side or side < 1 for side in size):
        raise LightsegError(f"size is {list(size)}: give two whole numbers, height and width in pixels")
    return int(size[0]), int(size[1])
