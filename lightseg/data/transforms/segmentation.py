"""Augmentation for segmentation: random scale, crop, flip and color jitter; for evaluation, the uncropped image.

`transform(seed, image=[H, W, C], mask=uint8 [H, W])` returns the same keys, random by that seed alone; the mask
may be missing.

Scale 0.5 to 2, crop and flip are the recipe of DeepLab (Chen et al., arXiv:1706.05587, section 4.1) and later networks
on Cityscapes and Pascal VOC. Here scale and crop are a single step, which resizes only the window of the crop.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat, mirrored, resized
from lightseg.data.transforms.checks import check_probabilities, check_strength, checked_range, checked_size
from lightseg.data.transforms.color import random_color_matrix

IGNORE = 255
DEFAULT_SCALE = (0.5, 2.0)

Arrays = dict[str, np.ndarray]  # `image` and, where there are labels, `mask`
Step = Callable[[random.Random, Arrays], Arrays]


class Augmentation:
    """A chain of steps with a generator of random numbers that depends on the seed alone."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)

    def __call__(self, seed: int, **arrays: np.ndarray) -> Arrays:
        rng = random.Random(seed)
        rng.random()  # skips a number, so that runs of earlier versions can be reproduced
        for step in self.steps:
            arrays = step(rng, arrays)
        return arrays


class RandomScaleCrop:
    """A window of a random scale and position, resized to `crop_size`.

    crop_size: (height, width) of the result.
    scale: (lowest, highest) size of the scaled image as a multiple of the original's, sampled uniformly.

    fill: the value of padding in each channel.

    A scaled image that is smaller than the crop is at a random position in it; the rest is `fill` and IGNORE, as in
    DeepLab's recipe. The window has whole pixels, so its scale differs from the sampled one by less than a pixel over
    the crop.
    """

    def __init__(
        self, crop_size: tuple[int, int], scale: tuple[float, float], fill: Sequence[float] = MEAN_COLOR
    ) -> None:
        self.crop_size, self.scale, self.fill = crop_size, scale, fill

    def __call__(self, rng: random.Random, arrays: Arrays) -> Arrays:
        scale = rng.uniform(*self.scale)
        shape = arrays["image"].shape[:2]
        sides = [_side(size, crop, scale, rng) for size, crop in zip(shape, self.crop_size, strict=True)]
        (top, height, y, h), (left, width, x, w) = sides
        window, target = (top, left, height, width), (y, x, h, w)
        # Bilinear interpolation reads 2x2 neighbors: enough down to half the size; below, it would skip pixels.
        interpolation = cv2.INTER_AREA if h * 2 < height else cv2.INTER_LINEAR
        result = {"image": self._cut(arrays["image"], window, target, interpolation, self.fill)}
        if "mask" in arrays:
            # INTER_NEAREST samples at pixel corners, INTER_NEAREST_EXACT at centers, like bilinear interpolation.
            result["mask"] = self._cut(arrays["mask"], window, target, cv2.INTER_NEAREST_EXACT, IGNORE)
        return result

    def _cut(
        self, array: np.ndarray, window: Sequence[int], target: Sequence[int], interpolation: int, fill: Any
    ) -> np.ndarray:
        top, left, height, width = window
        y, x, h, w = target
        result = np.empty(self.crop_size + array.shape[2:], array.dtype)
        if (h, w) != self.crop_size:
            result[0] = fill
            result[1:] = result[0]  # rows of bytes: fifty times faster than filling pixel by pixel
        inside = result[y : y + h, x : x + w]
        cut = array[top : top + height, left : left + width]
        if (height, width) == (h, w):
            inside[:] = cut
        elif array.ndim == 3 and array.shape[2] != 3:
            inside[:] = resized(cut, (w, h), interpolation)
        else:
            cv2.resize(cut, (w, h), dst=inside, interpolation=interpolation)
        return result


class RandomFlip:
    """A horizontal flip with a probability."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, rng: random.Random, arrays: Arrays) -> Arrays:
        if self.probability < 1 and rng.random() >= self.probability:
            return arrays
        return {key: mirrored(array) for key, array in arrays.items()}


class ColorJitter:
    """Brightness, contrast and saturation, each times a factor from 1 - strength to 1 + strength."""

    def __init__(self, strength: float, low: float = 0.0) -> None:
        self.strength, self.low = strength, low

    def __call__(self, rng: random.Random, arrays: Arrays) -> Arrays:
        image = arrays["image"]
        return {**arrays, "image": cv2.transform(image, random_color_matrix(rng, self.strength, image, self.low))}


class Resize:
    """The image at `size` (height, width). The mask keeps its resolution, in which predictions are evaluated."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, rng: random.Random, arrays: Arrays) -> Arrays:
        image = arrays["image"]
        if image.shape[:2] == self.size:
            return arrays
        shrinks = self.size[0] * 2 < image.shape[0] or self.size[1] * 2 < image.shape[1]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return {**arrays, "image": resized(image, self.size[::-1], interpolation)}


def train_transform(
    crop_size: Sequence[int],
    *,
    scale: Sequence[float] = DEFAULT_SCALE,
    hflip: float = 0.5,
    color: float = 0.25,
    pixels: PixelFormat | None = None,
) -> Augmentation:
    """Random scale and crop to (height, width), flip with probability `hflip`, color jitter of strength `color`.

    `scale=(1, 1)` crops only; `color=0` does not change colors, which images of other than 3 channels do not have.
    pixels: of the images; None: uint8 RGB. Raises LightsegError for values out of range.
    """
    pixels = pixels or PixelFormat()
    size, scales = checked_size(crop_size, "crop_size"), checked_range("scale", scale)
    steps: list[Step] = [RandomScaleCrop(size, scales, pixels.fill)]
    check_probabilities(hflip=hflip)
    check_strength("color", color)
    if hflip:
        steps.append(RandomFlip(hflip))
    if color and pixels.channels == 3:
        steps.append(ColorJitter(color, pixels.value_range[0]))
    return Augmentation(steps)


def eval_transform(size: Sequence[int] | None = None) -> Augmentation | None:
    """The image at `size` (height, width), the mask at its own resolution. None: full resolution."""
    return None if size is None else Augmentation([Resize(checked_size(size))])


def _side(size: int, crop: int, scale: float, rng: random.Random) -> tuple[int, int, int, int]:
    """Along a side: start and length of the window in the image, and of its pixels in the crop."""
    length = max(1, round(crop / scale))
    if length <= size:
        return rng.randint(0, size - length), length, 0, crop
    covered = min(crop, max(1, round(size * scale)))
    return 0, size, rng.randint(0, crop - covered), covered
