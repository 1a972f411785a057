"""RandAugment and TrivialAugment on uint8 [H, W, 3], driven by a generator that is handed in.

RandAugment: Cubuk et al., arXiv:1909.13719, timm's operations, magnitudes and probabilities. The five that move pixels
(rotation, shears, translations) are OpenCV's bilinear warps by the same matrices instead of Pillow's, bilinear or
bicubic by chance: 0.3 ms against 1.0 or 2.3 for 224x224. TrivialAugment: Müller & Hutter, arXiv:2103.10158,
torchvision's.
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

from lightseg.data.transforms.color import MEAN_COLOUR

MAX_MAGNITUDE = 31


class RandAugment:
    """`count` of timm's fifteen operations of growing strength (`inc1`), each with probability 0.5.

    magnitude: 0..31, with timm's noise (`mstd0.5`). timm cuts it at 10 unless told `mmax`; here 31 is the limit.
    """

    def __init__(self, magnitude: float, count: int = 2) -> None:
        self.count = count
        self.operations = rand_augment_ops(
            magnitude,
            prob=0.5,
            hparams={"magnitude_std": 0.5, "magnitude_max": MAX_MAGNITUDE, "img_mean": MEAN_COLOUR},
            transforms=rand_augment_choices("", increasing=True),
        )
        for operation in self.operations:
            if operation.name in _INVERSE:
                operation.aug_fn = partial(_warp, operation.name)
            elif operation.name == "PosterizeIncreasing":
                operation.level_fn = _bits_kept

    def __call__(self, draw: random.Random, image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image)
        with _python_seeded(draw.getrandbits(64)):  # the operations draw from Python's global generator
            for _ in range(self.count):
                picture = random.choice(self.operations)(picture)
        return np.array(picture)


class TrivialAugment:
    """torchvision's TrivialAugmentWide, bilinear as in its own recipes."""

    def __init__(self) -> None:
        from torchvision.transforms import InterpolationMode, v2

        self.operation = v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)

    def __call__(self, draw: random.Random, image: np.ndarray) -> np.ndarray:
        generator = torch.default_generator  # torchvision draws from it
        state = generator.get_state()
        generator.manual_seed(draw.getrandbits(63))
        try:
            return np.array(self.operation(Image.fromarray(image)))
        finally:
            generator.set_state(state)


def _rotation(degrees: float, width: int, height: int) -> list[list[float]]:
    """Counterclockwise about the middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return [[cos, -sin, x - x * cos + y * sin], [sin, cos, y - x * sin - y * cos]]


def _shift(share: float) -> float:
    """timm's 0.45 of the side at magnitude 10 would leave nothing of the picture from 23 on; it stops at 0.75."""
    return max(-0.75, min(0.75, share))


# from a place in the result to the one in the picture, pixel edges at whole numbers; `amount` as timm's levels give it
_INVERSE = {
    "Rotate": _rotation,
    "ShearX": lambda amount, width, height: [[1, amount, 0], [0, 1, 0]],
    "ShearY": lambda amount, width, height: [[1, 0, 0], [amount, 1, 0]],
    "TranslateXRel": lambda amount, width, height: [[1, 0, _shift(amount) * width], [0, 1, 0]],
    "TranslateYRel": lambda amount, width, height: [[1, 0, 0], [0, 1, _shift(amount) * height]],
}


def _warp(name: str, picture: Image.Image, amount: float, *, fillcolor: Sequence[int], resample: object) -> Image.Image:
    matrix = np.array(_INVERSE[name](amount, *picture.size), np.float64)
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV has whole numbers at pixel centres
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(np.asarray(picture), matrix, picture.size, flags=how, borderValue=tuple(fillcolor))
    return Image.fromarray(warped)


def _bits_kept(magnitude: float, hparams: dict) -> tuple[int]:
    """4 down to 1. timm's rule gives 0 from magnitude 10 on: a black picture, and an error in Pillow 13."""
    return (max(1, 4 - int(magnitude / 10 * 4)),)


@contextmanager
def _python_seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
