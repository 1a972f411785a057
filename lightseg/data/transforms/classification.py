"""Augmentation for classification: random resized crop with further steps; for evaluation, resize and center crop.

`transform(seed, image=[H, W, C]) -> {"image": [size, size, C]}`, random by that seed alone. Evaluation uses
Pillow's antialiased resize, bit for bit equal to timm and torchvision: published top-1 accuracies hold for that resize
only. Training uses OpenCV, which is several times faster and differs by a gray level or two.

Random resized crop: Szegedy et al., arXiv:1409.4842, sampled as in torchvision and timm. Random erasing: Zhong et al.,
arXiv:1708.04896, filled with random bytes (the paper's RE-R), which before normalization is what timm's `pixel` mode is
after it. RandAugment and TrivialAugment: see `auto_augment`.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from PIL import Image

from lightseg.data.io.pixels import PixelFormat, mirrored, resized
from lightseg.data.transforms.auto_augment import MAX_MAGNITUDE, RandAugment, TrivialAugment
from lightseg.data.transforms.checks import check_probabilities, check_strength, checked_range
from lightseg.data.transforms.color import random_color_matrix
from lightseg.errors import LightsegError, nearest

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)

Step = Callable[[random.Random, np.ndarray], np.ndarray]


class TrainTransform:
    """Random resized crop to `size` x `size`, then `steps`, which all use the same generator of random numbers."""

    def __init__(self, size: int, scale: tuple[float, float], ratio: tuple[float, float], steps: Sequence[Step]):
        self.size, self.scale, self.ratio, self.steps = size, scale, ratio, list(steps)

    def __call__(self, seed: int, *, image: np.ndarray) -> dict[str, np.ndarray]:
        rng = random.Random(seed)
        top, left, height, width = random_window(rng, image.shape[:2], self.scale, self.ratio)
        window = image[top : top + height, left : left + width]
        # Bilinear interpolation reads 2x2 neighbors: enough down to half the size; below, it would skip pixels.
        interpolation = cv2.INTER_AREA if min(height, width) > 2 * self.size else cv2.INTER_LINEAR
        image = resized(window, (self.size, self.size), interpolation)
        for step in self.steps:
            image = step(rng, image)
        return {"image": image}


def train_transform(
    size: int,
    *,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    hflip: float = 0.5,
    color: float = 0.4,
    randaugment: float = 0.0,
    trivialaugment: bool = False,
    erasing: float = 0.0,
    pixels: PixelFormat | None = None,
) -> TrainTransform:
    """The augmentation of training images, in the order of the arguments.

    size: side of the result in pixels.
    scale, ratio: (lowest, highest) fraction of the image's area, and width / height, of the crop. With (1, 1) and
        (1, 1), a square image is only resized.
    hflip: probability of a horizontal flip.
    color: strength of the color jitter. As in timm, there is none with RandAugment or TrivialAugment, which change
        colors too.
    randaugment: magnitude, 0 = off: 2 operations, each with probability 0.5, as timm's `rand-m9-mstd0.5-inc1` for 9.
        Magnitudes above 10 are stronger still, as in EfficientNetV2 with 15 and 20 (timm: `mmax31`).
    trivialaugment: one operation of a random strength, torchvision's TrivialAugmentWide.
    erasing: probability of erasing a rectangle.
    pixels: of the images; None: uint8 RGB. Without 3 channels there is no color jitter.

    Raises LightsegError for values out of range.
    """
    _check_size(size)
    check_probabilities(hflip=hflip, erasing=erasing)
    check_strength("color", color)
    if not 0 <= randaugment <= MAX_MAGNITUDE:
        raise LightsegError(f"randaugment is {randaugment}: the magnitude lies in 0..{MAX_MAGNITUDE}, 0 = off")
    if randaugment and trivialaugment:
        raise LightsegError("randaugment and trivialaugment are both on: choose one")
    pixels = pixels or PixelFormat()
    if (randaugment or trivialaugment) and (pixels.channels != 3 or pixels.dtype != "uint8"):
        name = "randaugment" if randaugment else "trivialaugment"
        raise LightsegError(
            f"data.augment.{name} is for 3 channels of 8 bit, not for {pixels.channels} of {pixels.dtype}: leave it out"
        )
    steps: list[Step] = []
    if hflip:
        steps.append(partial(flip, hflip))
    if randaugment:
        steps.append(RandAugment(randaugment))
    elif trivialaugment:
        steps.append(TrivialAugment())
    elif color and pixels.channels == 3:
        steps.append(partial(jitter, color, low=pixels.value_range[0]))
    if erasing:
        steps.append(partial(erase, erasing, limits=pixels.value_range))
    return TrainTransform(size, checked_range("scale", scale, 1.0), checked_range("ratio", ratio), steps)


class EvalTransform:
    """The shorter side resized to size / crop_pct (rounded down), then a center crop of `size` x `size`."""

    def __init__(self, size: int, crop_pct: float, interpolation: str) -> None:
        self.size, self.shorter = size, math.floor(size / crop_pct)
        self.interpolation = INTERPOLATIONS[interpolation]

    def __call__(self, seed: int, *, image: np.ndarray) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        longer = int(self.shorter * max(height, width) / min(height, width))
        new = (self.shorter, longer) if height <= width else (longer, self.shorter)
        if new != (height, width):
            image = _resized(image, new, self.interpolation)
        top, left = (round((side - self.size) / 2) for side in new)
        return {"image": image[top : top + self.size, left : left + self.size]}


def eval_transform(size: int, crop_pct: float = 0.875, interpolation: str = "bicubic") -> EvalTransform:
    """Equal to timm's `create_transform` of the same values of a net's configuration (crop mode `center`).

    Raises LightsegError for values out of range.
    """
    _check_size(size)
    if not 0 < crop_pct <= 1:
        raise LightsegError(f"crop_pct is {crop_pct}: the kept fraction of the shorter side lies in 0..1, 0 excluded")
    if interpolation not in INTERPOLATIONS:
        raise LightsegError(f"interpolation={interpolation}: {nearest(interpolation, INTERPOLATIONS)}")
    return EvalTransform(size, crop_pct, interpolation)


def random_window(
    rng: random.Random, shape: Sequence[int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random part of the image: up to ten trials, then the center."""
    height, width = shape
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    return (height - h) // 2, (width - w) // 2, h, w


def flip(probability: float, rng: random.Random, image: np.ndarray) -> np.ndarray:
    return mirrored(image) if rng.random() < probability else image


def jitter(strength: float, rng: random.Random, image: np.ndarray, *, low: float = 0.0) -> np.ndarray:
    return cv2.transform(image, random_color_matrix(rng, strength, image, low))


def _resized(image: np.ndarray, size: tuple[int, int], interpolation: Image.Resampling) -> np.ndarray:
    """By Pillow; other than uint8 RGB channel by channel, in float32 where values are not uint8."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize(size[::-1], interpolation))
    planes = []
    for channel in range(image.shape[2]):
        plane = np.ascontiguousarray(image[..., channel])
        plane = plane if image.dtype == np.uint8 else plane.astype(np.float32)
        planes.append(np.array(Image.fromarray(plane).resize(size[::-1], interpolation)))
    result = np.stack(planes, 2)
    if image.dtype == np.uint16:
        result = result.round().clip(0, 65535)
    return result.astype(image.dtype, copy=False)


def erase(
    probability: float, rng: random.Random, image: np.ndarray, *, limits: Sequence[float] = (0, 255)
) -> np.ndarray:
    """Fills a rectangle of 2 to 33 % of the area with random values within `limits`, in place. Up to ten trials."""
    if rng.random() >= probability:
        return image
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(*ERASED_AREA)
        ratio = math.exp(rng.uniform(*map(math.log, ERASED_RATIO)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top, left = rng.randint(0, height - h), rng.randint(0, width - w)
            shape = (h, w, image.shape[2])
            noise: np.ndarray = np.frombuffer(rng.randbytes(math.prod(shape)), np.uint8).reshape(shape)
            if image.dtype != np.uint8:
                noise = limits[0] + noise.astype(np.float32) / 255 * (limits[1] - limits[0])
            image[top : top + h, left : left + w] = noise
            break
    return image


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise LightsegError(f"size is {size!r}: give the side of the square image in whole pixels")
