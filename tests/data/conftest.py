"""Tiny data sets in the real layouts, written by the tests themselves."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

# label ids as they occur in real files: evaluated classes, ignored ones, and the borders
LABEL_IDS = np.array([0, 1, 3, 4, 7, 7, 8, 11, 17, 21, 23, 24, 26, 29, 33], np.uint8)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two cities, train 5 and val 2 pictures of 24x32, test 2 without labels."""
    random = np.random.default_rng(0)
    for split, city, count in (("train", "aachen", 3), ("train", "ulm", 2), ("val", "bonn", 2), ("test", "bern", 2)):
        for frame in range(count):
            name = f"{city}_{frame:06}_000019"
            save(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", noise(random, 24, 32, 3))
            if split != "test":
                blocks = random.choice(LABEL_IDS, (6, 8)).repeat(4, 0).repeat(4, 1)
                save(tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", blocks)
                save(tmp_path / "gtFine" / split / city / f"{name}_gtFine_color.png", noise(random, 24, 32, 3))
                save(tmp_path / "gtCoarse" / split / city / f"{name}_gtCoarse_labelIds.png", blocks * 0 + 7)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/ with 6 JPEGs (one in a folder of its own), masks/ with ids 0..2 and 11 as ignored, 24x32."""
    random = np.random.default_rng(1)
    for name in ("a", "b", "c", "d", "e", "more/f"):
        save(tmp_path / "images" / f"{name}.jpg", noise(random, 24, 32, 3))
        save(tmp_path / "masks" / f"{name}.png", random.choice(np.array([0, 1, 2, 11], np.uint8), (24, 32)))
    return tmp_path


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)


@pytest.fixture
def save_picture() -> Callable[[Path, np.ndarray], None]:
    """Writes uint8 [H, W] or RGB [H, W, 3] to a path, making its folders."""
    return save
