"""The augmentation of 16-bit images is that of the same images of 8 bit, but for rounding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightseg.data.io.pixels import PixelFormat
from lightseg.data.transforms import classification, detection, pose, segmentation

BOXES, LABELS = np.array([[10, 10, 60, 70]], np.float32), np.zeros(1, np.int64)
PERSON = {
    "box": BOXES[0], "keypoints": np.zeros((4, 2), np.float32), "visible": np.zeros(4, np.int64), "area": 1.0,
    "swap": np.arange(4), "lower": np.zeros(4, bool),
}  # fmt: skip
TRANSFORMS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "seg": (lambda form: segmentation.train_transform((64, 64), pixels=form), {"mask": np.zeros((96, 120), np.uint8)}),
    "cls": (lambda form: classification.train_transform(64, pixels=form), {}),
    "det": (lambda form: detection.train_transform((64, 64), pixels=form), {"boxes": BOXES, "labels": LABELS}),
    "pose": (lambda form: pose.train_transform((64, 48), photometric=0.4, pixels=form), PERSON),
}


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    blocks = rng.integers(10, 246, (12, 15, 3)).repeat(8, 0).repeat(8, 1)
    return (blocks + rng.integers(-9, 9, (96, 120, 3))).astype(np.uint8)


@pytest.mark.parametrize("task", TRANSFORMS)
def test_every_training_transform(task: str, image: np.ndarray) -> None:
    build, more = TRANSFORMS[task]
    eight, sixteen = build(PixelFormat()), build(PixelFormat(3, None, "uint16", (0, 65535)))
    for seed in range(20):
        a = eight(seed, image=image.copy(), **more)["image"]
        b = sixteen(seed, image=image.astype(np.uint16) * 257, **more)["image"]
        assert b.dtype == np.uint16
        assert np.abs(a - b / 257).max() < 2.5  # levels of 255; OpenCV rounds between steps


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("task", TRANSFORMS)
def test_other_channels_move_as_three_do(task: str, channels: int, image: np.ndarray) -> None:
    build, more = TRANSFORMS[task]
    same = np.repeat(image[..., :1], channels, 2)
    result = build(PixelFormat(channels))(3, image=same, **more)["image"]
    assert result.shape[2] == channels and result.dtype == np.uint8
    if channels > 1:
        inner = result[16:48, 16:40]  # padding differs by channel
        assert (inner == inner[..., :1]).mean() > 0.5


def test_the_evaluation_of_classifiers(image: np.ndarray) -> None:
    transform = classification.eval_transform(64, 0.875, "bilinear")
    a = transform(0, image=image)["image"]
    b = transform(0, image=image.astype(np.uint16) * 257)["image"]
    assert np.abs(a - b / 257).max() <= 1
    assert transform(0, image=image[..., [0, 1, 2, 0, 1]])["image"].shape == (64, 64, 5)
