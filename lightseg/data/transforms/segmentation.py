"""Augmentation: random scale, crop, flip and color for training; the whole image for evaluation.

`transform(seed, image=uint8 [H, W, 3], mask=uint8 [H, W])` gives the same keys back, changed with the randomness of
that seed and no other; the mask may be missing.

Scale 0.5 to 2, crop and flip are the recipe that DeepLab (Chen et al., arXiv:1706.05587, section 4.1) and the
networks after it were trained with on Cityscapes and Pascal VOC. Here scale and crop are one step, which resizes
only the window that the crop keeps, and all of the color is one 3x4 matrix, which OpenCV applies to bytes in a
tenth of a millisecond.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from lightseg.data.transforms.color import MEAN_COLOUR, random_colour_matrix
from lightseg.errors import LightsegError

IGNORE = 255
DEFAULT_SCALE = (0.5, 2.0)

Arrays = dict[str, np.ndarray]  # `image` and, where there are labels, `mask`
Step = Callable[[random.Random, Arrays], Arrays]


class Augmentation:
    """A chain of steps that draw from one generator, which the seed alone determines."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)

    def __call__(self, seed: int, **arrays: np.ndarray) -> Arrays:
        draw = random.Random(seed)
        draw.random()  # keeps the numbers of earlier runs, whose chain drew one for itself first
        for step in self.steps:
            arrays = step(draw, arrays)
        return arrays


class RandomScaleCrop:
    """Cuts a window at a random scale and position and gives it as `crop_size`, resizing nothing else.

    crop_size: (height, width) of the result.
    scale: (lowest, highest) size of the scaled image as a multiple of its own; drawn uniformly.
    Where the scaled image is smaller than the crop, it lies at a random position in it and the rest is MEAN_COLOUR
    and IGNORE, as in DeepLab's recipe; so any crop works on any image.

    The window has whole pixels, so its real scale differs from the drawn one by less than a pixel over the crop.
    """

    def __init__(self, crop_size: tuple[int, int], scale: tuple[float, float]) -> None:
        self.crop_size, self.scale = crop_size, scale

    def __call__(self, draw: random.Random, arrays: Arrays) -> Arrays:
        scale = draw.uniform(*self.scale)
        shape = arrays["image"].shape[:2]
        sides = [_side(size, crop, scale, draw) for size, crop in zip(shape, self.crop_size, strict=True)]
        (top, height, y, h), (left, width, x, w) = sides
        window, place = (top, left, height, width), (y, x, h, w)
        # Bilinear takes 2x2 neighbours, which is enough down to half the size; below, it would skip pixels.
        how = cv2.INTER_AREA if h * 2 < height else cv2.INTER_LINEAR
        result = {"image": self._cut(arrays["image"], window, place, how, MEAN_COLOUR)}
        if "mask" in arrays:
            # INTER_NEAREST samples at pixel corners, INTER_NEAREST_EXACT at centers, as the bilinear image does.
            result["mask"] = self._cut(arrays["mask"], window, place, cv2.INTER_NEAREST_EXACT, IGNORE)
        return result

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


class RandomFlip:
    """Left and right exchanged with a probability."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, draw: random.Random, arrays: Arrays) -> Arrays:
        if self.probability < 1 and draw.random() >= self.probability:
            return arrays
        return {key: cv2.flip(array, 1) for key, array in arrays.items()}


class ColourJitter:
    """Brightness, contrast and saturation, each times a factor from 1 - strength to 1 + strength, in one matrix."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, draw: random.Random, arrays: Arrays) -> Arrays:
        image = arrays["image"]
        return {**arrays, "image": cv2.transform(image, random_colour_matrix(draw, self.strength, image))}


class Resize:
    """The image at `size` (height, width); the label stays as it is, because scores are taken at its own
    resolution.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, draw: random.Random, arrays: Arrays) -> Arrays:
        image = arrays["image"]
        if image.shape[:2] == self.size:
            return arrays
        shrinks = self.size[0] * 2 < image.shape[0] or self.size[1] * 2 < image.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return {**arrays, "image": cv2.resize(image, self.size[::-1], interpolation=how)}


def train_transform(
    crop_size: Sequence[int],
    *,
    scale: Sequence[float] = DEFAULT_SCALE,
    hflip: float = 0.5,
    color: float = 0.25,
) -> Augmentation:
    """Random scale and crop to (height, width), horizontal flip with probability `hflip`, color of strength `color`.

    `scale=(1, 1)` crops only; `color=0` leaves colors alone. Raises LightsegError for values that cannot be.
    """
    height, width = _size("crop_size", crop_size)
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise LightsegError(f"scale is {list(scale)}: give two numbers, lowest and highest, greater than 0")
    if not 0 <= hflip <= 1:
        raise LightsegError(f"hflip is {hflip}: a probability lies in 0..1")
    if not 0 <= color < 1:
        raise LightsegError(f"color is {color}: the strength lies in 0..1, 1 excluded")
    steps: list[Step] = [RandomScaleCrop((height, width), (float(scale[0]), float(scale[1])))]
    if hflip:
        steps.append(RandomFlip(hflip))
    if color:
        steps.append(ColourJitter(color))
    return Augmentation(steps)


def eval_transform(size: Sequence[int] | None = None) -> Augmentation | None:
    """The image at `size` (height, width), the label at its own resolution; None, which is full resolution, for
    None.
    """
    return None if size is None else Augmentation([Resize(_size("size", size))])


def _side(size: int, crop: int, scale: float, draw: random.Random) -> tuple[int, int, int, int]:
    """Along one side: start and length of the window in the image, start and length of what it covers of the crop."""
    length = max(1, round(crop / scale))
    if length <= size:
        return draw.randint(0, size - length), length, 0, crop
    place = min(crop, max(1, round(size * scale)))
    return 0, size, draw.randint(0, crop - place), place


def _size(what: str, size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise LightsegError(f"{what} is {list(size)}: give two whole numbers, height and width in pixels")
    return int(size[0]), int(size[1])
