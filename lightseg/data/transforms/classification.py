"""Augmentation for classification: random resized crop and what is added to it; resize and centre crop to evaluate.

`transform(seed, image=uint8 [H, W, 3]) -> {"image": uint8 [size, size, 3]}`, with the randomness of that seed and no
other. Evaluation is Pillow's antialiased resize, to the bit what timm and torchvision do: a published top-1 holds for
that resize alone. Training uses OpenCV, which is several times faster and differs by less than a grey level or two.

Random resized crop: Szegedy et al., arXiv:1409.4842, as torchvision and timm draw it. Random erasing: Zhong et al.,
arXiv:1708.04896, filled with random bytes (the paper's RE-R), which is before normalisation what timm's `pixel` mode is
after it. RandAugment and TrivialAugment: see `auto_augment`.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from PIL import Image

from lightseg.data.transforms.auto_augment import MAX_MAGNITUDE, RandAugment, TrivialAugment
from lightseg.data.transforms.color import random_colour_matrix
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
    """Random resized crop to `size` x `size`, then `steps`, each drawing from the same generator."""

    def __init__(self, size: int, scale: tuple[float, float], ratio: tuple[float, float], steps: Sequence[Step]):
        self.size, self.scale, self.ratio, self.steps = size, scale, ratio, list(steps)

    def __call__(self, seed: int, *, image: np.ndarray) -> dict[str, np.ndarray]:
        draw = random.Random(seed)
        top, left, height, width = random_window(draw, image.shape[:2], self.scale, self.ratio)
        window = image[top : top + height, left : left + width]
        # Bilinear takes 2x2 neighbours, which is enough down to half the size; below, it would skip pixels.
        how = cv2.INTER_AREA if min(height, width) > 2 * self.size else cv2.INTER_LINEAR
        image = cv2.resize(window, (self.size, self.size), interpolation=how)
        for step in self.steps:
            image = step(draw, image)
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
) -> TrainTransform:
    """What a training picture goes through, in this order.

    size: side of the result in pixels.
    scale, ratio: lowest and highest share of the picture's area, and width / height, of the crop; (1, 1) and (1, 1)
        with a square picture is a plain resize.
    hflip: probability of a flip.
    color: strength of the colour jitter. As in timm it rests where RandAugment or TrivialAugment is on, which change
        colours themselves.
    randaugment: magnitude, 0 = off: 2 operations, each with probability 0.5, as timm's `rand-m9-mstd0.5-inc1` for 9.
        Magnitudes above 10 go on growing, as EfficientNetV2's 15 and 20 ask for (timm: `mmax31`).
    trivialaugment: one operation of any strength, torchvision's TrivialAugmentWide.
    erasing: probability of erasing a rectangle.

    Raises LightsegError for values that cannot be.
    """
    _check_size(size)
    for name, value in (("hflip", hflip), ("erasing", erasing)):
        if not 0 <= value <= 1:
            raise LightsegError(f"{name} is {value}: a probability lies in 0..1")
    if not 0 <= color < 1:
        raise LightsegError(f"color is {color}: the strength lies in 0..1, 1 excluded")
    if not 0 <= randaugment <= MAX_MAGNITUDE:
        raise LightsegError(f"randaugment is {randaugment}: the magnitude lies in 0..{MAX_MAGNITUDE}, 0 = off")
    if randaugment and trivialaugment:
        raise LightsegError("randaugment and trivialaugment are both on: choose one")
    steps: list[Step] = []
    if hflip:
        steps.append(partial(flip, hflip))
    if randaugment:
        steps.append(RandAugment(randaugment))
    elif trivialaugment:
        steps.append(TrivialAugment())
    elif color:
        steps.append(partial(jitter, color))
    if erasing:
        steps.append(partial(erase, erasing))
    return TrainTransform(size, _range("scale", scale, 1.0), _range("ratio", ratio, math.inf), steps)


class EvalTransform:
    """The shorter side resized to size / crop_pct (rounded down), then the middle `size` x `size`."""

    def __init__(self, size: int, crop_pct: float, interpolation: str) -> None:
        self.size, self.shorter, self.how = size, math.floor(size / crop_pct), INTERPOLATIONS[interpolation]

    def __call__(self, seed: int, *, image: np.ndarray) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        longer = int(self.shorter * max(height, width) / min(height, width))
        new = (self.shorter, longer) if height <= width else (longer, self.shorter)
        if new != (height, width):
            image = np.array(Image.fromarray(image).resize(new[::-1], self.how))
        top, left = (round((side - self.size) / 2) for side in new)
        return {"image": image[top : top + self.size, left : left + self.size]}


def eval_transform(size: int, crop_pct: float = 0.875, interpolation: str = "bicubic") -> EvalTransform:
    """What timm's `create_transform` makes of the same three values of a net's configuration (crop mode `center`).

    Raises LightsegError for values that cannot be.
    """
    _check_size(size)
    if not 0 < crop_pct <= 1:
        raise LightsegError(f"crop_pct is {crop_pct}: the share of the shorter side that is kept lies in 0..1, not 0")
    if interpolation not in INTERPOLATIONS:
        raise LightsegError(f"interpolation={interpolation}: {nearest(interpolation, INTERPOLATIONS)}")
    return EvalTransform(size, crop_pct, interpolation)


def random_window(
    draw: random.Random, shape: Sequence[int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random share of the picture: up to ten draws until one fits, else the middle."""
    height, width = shape
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * draw.uniform(*scale)
        aspect = math.exp(draw.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return draw.randint(0, height - h), draw.randint(0, width - w), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    return (height - h) // 2, (width - w) // 2, h, w


def flip(probability: float, draw: random.Random, image: np.ndarray) -> np.ndarray:
    return cv2.flip(image, 1) if draw.random() < probability else image


def jitter(strength: float, draw: random.Random, image: np.ndarray) -> np.ndarray:
    return cv2.transform(image, random_colour_matrix(draw, strength, image))


def erase(probability: float, draw: random.Random, image: np.ndarray) -> np.ndarray:
    """A rectangle of 2 to 33 % of the area filled, in place, with random bytes; ten draws until one fits."""
    if draw.random() >= probability:
        return image
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * draw.uniform(*ERASED_AREA)
        ratio = math.exp(draw.uniform(*map(math.log, ERASED_RATIO)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top, left = draw.randint(0, height - h), draw.randint(0, width - w)
            image[top : top + h, left : left + w] = np.frombuffer(draw.randbytes(3 * h * w), np.uint8).reshape(h, w, 3)
            break
    return image


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise LightsegError(f"size is {size!r}: give the side of the square picture in whole pixels")


def _range(name: str, values: Sequence[float], most: float) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1] <= most:
        limit = "" if most == math.inf else f" and at most {most:g}"
        raise LightsegError(f"{name} is {list(values)}: give two numbers, lowest and highest, greater than 0{limit}")
    return float(values[0]), float(values[1])
