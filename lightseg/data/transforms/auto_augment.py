"""RandAugment and TrivialAugment on uint8 [H, W, 3], with a generator of random numbers as an argument.

RandAugment (Cubuk et al., arXiv:1909.13719) has timm's operations, magnitudes and probabilities. Its geometric
operations (rotation, shears, translations) are OpenCV's bilinear warps with the same matrices, instead of Pillow's with
randomly bilinear or bicubic interpolation: 0.3 ms against 1.0 or 2.3 ms for 224x224. TrivialAugment (Müller & Hutter,
arXiv:2103.10158) is torchvision's.
"""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_choices, rand_augment_ops

from lightseg.data.io.pixels import MEAN_COLOR

MAX_MAGNITUDE = 31


class RandAugment:
    """`count` of timm's fifteen operations of increasing strength (`inc1`), each with probability 0.5.

    magnitude: 0..31, with timm's noise (`mstd0.5`). timm limits it to 10 without `mmax`; here the limit is 31.
    """

    def __init__(self, magnitude: float, count: int = 2) -> None:
        self.count = count
        self.operations = rand_augment_ops(
            magnitude,
            prob=0.5,
            hparams={"magnitude_std": 0.5, "magnitude_max": MAX_MAGNITUDE, "img_mean": MEAN_COLOR},
            transforms=rand_augment_choices("", increasing=True),
        )
        for operation in self.operations:
            if operation.name in _INVERSE:
                operation.aug_fn = partial(_warp, operation.name)
            elif operation.name == "PosterizeIncreasing":
                operation.level_fn = _bits_kept

    def __call__(self, rng: random.Random, image: np.ndarray) -> np.ndarray:
        result = Image.fromarray(image)
        with _python_seeded(rng.getrandbits(64)):  # the operations use Python's global generator
            for _ in range(self.count):
                result = random.choice(self.operations)(result)
        return np.array(result)


class TrivialAugment:
    """torchvision's TrivialAugmentWide, bilinear as in torchvision's recipes."""

    def __init__(self) -> None:
        from torchvision.transforms import InterpolationMode, v2

        self.operation = v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)

    def __call__(self, rng: random.Random, image: np.ndarray) -> np.ndarray:
        generator = torch.default_generator  # torchvision uses it
        state = generator.get_state()
        generator.manual_seed(rng.getrandbits(63))
        try:
            return np.array(self.operation(Image.fromarray(image)))
        finally:
            generator.set_state(state)


def _rotation(degrees: float, width: int, height: int) -> list[list[float]]:
    """Counterclockwise about the center."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return [[cos, -sin, x - x * cos + y * sin], [sin, cos, y - x * sin - y * cos]]


def _shift(fraction: float) -> float:
    """At most 0.75: timm's 0.45 of the side at magnitude 10 would move the image out of view from magnitude 23 on."""
    return max(-0.75, min(0.75, fraction))


# matrices from positions in the result to positions in the image, pixel edges at whole numbers; amount: timm's level
_INVERSE = {
    "Rotate": _rotation,
    "ShearX": lambda amount, width, height: [[1, amount, 0], [0, 1, 0]],
    "ShearY": lambda amount, width, height: [[1, 0, 0], [amount, 1, 0]],
    "TranslateXRel": lambda amount, width, height: [[1, 0, _shift(amount) * width], [0, 1, 0]],
    "TranslateYRel": lambda amount, width, height: [[1, 0, 0], [0, 1, _shift(amount) * height]],
}


def _warp(name: str, image: Image.Image, amount: float, *, fillcolor: Sequence[int], resample: object) -> Image.Image:
    matrix = np.array(_INVERSE[name](amount, *image.size), np.float64)
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV has whole numbers at pixel centers
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(np.asarray(image), matrix, image.size, flags=flags, borderValue=tuple(fillcolor))
    return Image.fromarray(warped)


def _bits_kept(magnitude: float, hparams: dict) -> tuple[int]:
    """4 to 1. timm's rule gives 0 from magnitude 10 on: a black image, and an error in Pillow 13."""
    return (max(1, 4 - int(magnitude / 10 * 4)),)


@contextmanager
def _python_seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
