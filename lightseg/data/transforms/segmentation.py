"""Augmentation: random scale, crop, flip and colour for training; the whole picture for evaluation.

This is the one file that knows albumentations. Everything else sees an `Augmentation`: `augmentation(seed,
image=..., mask=...)` gives the same keys back, changed with the randomness of that seed and no other. Importing it
costs a second or more, so callers do so where they need it.

Scale 0.5 to 2, crop and flip are the recipe that DeepLab (Chen et al., arXiv:1706.05587, section 4.1) and the
networks after it were trained with on Cityscapes and Pascal VOC. Here scale and crop are one step, which resizes
only the window that the crop keeps, and all of the colour is one 3x4 matrix, which OpenCV applies to bytes in a
tenth of a millisecond.
"""

import os
import random
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for a newer version while being imported

import albumentations as A
import cv2
import numpy as np

from lightseg.data.transforms.color import MEAN_COLOUR, random_colour_matrix
from lightseg.errors import LightsegError

IGNORE = 255
DEFAULT_SCALE = (0.5, 2.0)


class Augmentation:
    """A chain of albumentations steps whose randomness is the seed's alone.

    albumentations can reseed a chain itself (`set_random_seed`), but that builds two generators for every step (70 us
    for a chain of three) and gives each the same seed, so that a strong zoom would always come with the same
    brightness. Here the steps share one Python and one NumPy generator, which are set back in place (9 us).
    Not for several threads at once; processes are fine.
    """

    def __init__(self, steps: Sequence[A.BasicTransform], **compose: Any) -> None:
        self.compose = A.Compose(list(steps), **compose)
        self._python = random.Random()
        self._numpy = np.random.Generator(np.random.Philox(0))
        self._state = np.random.Philox(0).state

    def __call__(self, seed: int, **targets: Any) -> dict[str, Any]:
        """`image` uint8 [H, W, 3] and whatever albumentations' names allow besides (`mask` uint8 [H, W], ...)."""
        self._python.seed(seed)
        self._state["state"]["key"][0] = seed
        self._numpy.bit_generator.state = self._state
        self.compose.set_random_state(self._numpy, self._python)
        return self.compose(**targets)


class RandomScaleCrop(A.DualTransform):
    """Cuts a window at a random scale and place and gives it as `crop_size`, resizing nothing else.

    crop_size: (height, width) of the result.
    scale: (lowest, highest) size of the scaled picture as a multiple of its own; drawn uniformly.
    Where the scaled picture is smaller than the crop, it lies at a random place in it and the rest is MEAN_COLOUR
    and IGNORE, as in DeepLab's recipe; so any crop works on any picture.

    The window has whole pixels, so its real scale differs from the drawn one by less than a pixel over the crop.
    """

    def __init__(self, crop_size: tuple[int, int], scale: tuple[float, float], p: float = 1.0) -> None:
        super().__init__(p=p)
        self.crop_size, self.scale = crop_size, scale

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """`window` (top, left, height, width) in the picture and the `place` in the crop that it is scaled to."""
        draw = self.py_random
        scale = draw.uniform(*self.scale)
        sides = [_side(size, crop, scale, draw) for size, crop in zip(params["shape"][:2], self.crop_size, strict=True)]
        (top, height, y, h), (left, width, x, w) = sides
        return {"window": (top, left, height, width), "place": (y, x, h, w)}

    def apply(self, img: np.ndarray, window: Sequence[int], place: Sequence[int], **_: Any) -> np.ndarray:
        # Bilinear takes 2x2 neighbours, which is enough down to half the size; below, it would skip pixels.
        shrinks = place[2] * 2 < window[2]
        return self._cut(img, window, place, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR, MEAN_COLOUR)

    def apply_to_mask(self, mask: np.ndarray, window: Sequence[int], place: Sequence[int], **_: Any) -> np.ndarray:
        # INTER_NEAREST samples at pixel corners, INTER_NEAREST_EXACT at centres, as the bilinear picture does.
        return self._cut(mask, window, place, cv2.INTER_NEAREST_EXACT, IGNORE)

    def _cut(self, array: np.ndarray, window: Sequence[int], place: Sequence[int], how: int, fill: Any) -> np.ndarray:
        top, left, height, width = window
        y, x, h, w = place
        result = np.empty(self.crop_size + array.shape[2:], array.dtype)
        if (h, w) != self.crop_size:
            result[0] = fill
            result[1:] = result[0]  # rows of bytes: fifty times faster than filling pixel by pixel
        inside = result[y : y + h, x : x + w]
        cut = array[top : top + height, left : left + width]
        if (height, width) == (h, w):
            inside[:] = cut
        else:
            cv2.resize(cut, (w, h), dst=inside, interpolation=how)
        return result


class ColourJitter(A.ImageOnlyTransform):
    """Brightness, contrast and saturation, each times a factor from 1 - strength to 1 + strength, in one matrix."""

    def __init__(self, strength: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        return {"matrix": random_colour_matrix(self.py_random, self.strength, data["image"])}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **_: Any) -> np.ndarray:
        return cv2.transform(img, matrix)


class Resize(A.ImageOnlyTransform):
    """The picture at `size` (height, width); the label stays as it is, because scores are taken at its own
    resolution.
    """

    def __init__(self, size: tuple[int, int], p: float = 1.0) -> None:
        super().__init__(p=p)
        self.size = size

    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        if img.shape[:2] == self.size:
            return img
        shrinks = self.size[0] * 2 < img.shape[0] or self.size[1] * 2 < img.shape[1]
        return cv2.resize(img, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def train_transform(
    crop_size: Sequence[int],
    *,
    scale: Sequence[float] = DEFAULT_SCALE,
    hflip: float = 0.5,
    color: float = 0.25,
) -> Augmentation:
    """Random scale and crop to (height, width), horizontal flip with probability `hflip`, colour of strength `color`.

    `scale=(1, 1)` crops only; `color=0` leaves colours alone. Raises LightsegError for values that cannot be.
    """
    height, width = _size("crop_size", crop_size)
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise LightsegError(f"scale is {list(scale)}: give two numbers, lowest and highest, greater than 0")
    if not 0 <= hflip <= 1:
        raise LightsegError(f"hflip is {hflip}: a probability lies in 0..1")
    if not 0 <= color < 1:
        raise LightsegError(f"color is {color}: the strength lies in 0..1, 1 excluded")
    steps: list[A.BasicTransform] = [RandomScaleCrop((height, width), (float(scale[0]), float(scale[1])))]
    if hflip:
        steps.append(A.HorizontalFlip(p=hflip))
    if color:
        steps.append(ColourJitter(color))
    return Augmentation(steps)


def eval_transform(size: Sequence[int] | None = None) -> Augmentation | None:
    """The picture at `size` (height, width), the label at its own resolution; None, which is full resolution, for
    None.
    """
    return None if size is None else Augmentation([Resize(_size("size", size))], is_check_shapes=False)


def _side(size: int, crop: int, scale: float, draw: random.Random) -> tuple[int, int, int, int]:
    """Along one side: start and length of the window in the picture, start and length of its place in the crop."""
    length = max(1, round(crop / scale))
    if length <= size:
        return draw.randint(0, size - length), length, 0, crop
    place = min(crop, max(1, round(size * scale)))
    return 0, size, draw.randint(0, crop - place), place


def _size(what: str, size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise LightsegError(f"{what} is {list(size)}: give two whole numbers, height and width in pixels")
    return int(size[0]), int(size[1])
