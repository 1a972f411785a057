"""Tiny data sets in the real layouts, written by the tests themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lightseg.data.datasets.coco_keypoints import CocoKeypoints

# label ids as they occur in real files: evaluated classes, ignored ones, and the borders
LABEL_IDS = np.array([0, 1, 3, 4, 7, 7, 8, 11, 17, 21, 23, 24, 26, 29, 33], np.uint8)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two cities, train 5 and val 2 images of 24x32, test 2 without labels."""
    rng = np.random.default_rng(0)
    for split, city, count in (("train", "aachen", 3), ("train", "ulm", 2), ("val", "bonn", 2), ("test", "bern", 2)):
        for frame in range(count):
            name = f"{city}_{frame:06}_000019"
            save(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", noise(rng, 24, 32, 3))
            if split != "test":
                blocks = rng.choice(LABEL_IDS, (6, 8)).repeat(4, 0).repeat(4, 1)
                save(tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", blocks)
                save(tmp_path / "gtFine" / split / city / f"{name}_gtFine_color.png", noise(rng, 24, 32, 3))
                save(tmp_path / "gtCoarse" / split / city / f"{name}_gtCoarse_labelIds.png", blocks * 0 + 7)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/ with 6 JPEGs (one in a subfolder), masks/ with ids 0..2 and 11 as ignored, 24x32."""
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c", "d", "e", "more/f"):
        save(tmp_path / "images" / f"{name}.jpg", noise(rng, 24, 32, 3))
        save(tmp_path / "masks" / f"{name}.png", rng.choice(np.array([0, 1, 2, 11], np.uint8), (24, 32)))
    return tmp_path


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)


@pytest.fixture
def save_image() -> Callable[[Path, np.ndarray], None]:
    """Writes uint8 [H, W] or RGB [H, W, 3] to a path and creates its folders."""
    return save


@pytest.fixture
def robots() -> dict[str, Any]:
    """Three images of 40x60 (height x width): two people, a crowd, a person without keypoints; nobody; one person."""

    def annotation(number: int, image: int, bbox: list[float], keypoints: list[float], **more: Any) -> dict[str, Any]:
        count = sum(visible > 0 for visible in keypoints[2::3])
        shared = {"category_id": 4, "area": bbox[2] * bbox[3] / 2, "iscrowd": 0, "num_keypoints": count}
        return {"id": number, "image_id": image, "bbox": bbox, "keypoints": keypoints, **shared, **more}

    return {
        "images": [
            {"id": image, "file_name": file, "height": 40, "width": 60}
            for image, file in ((900, "a.png"), (7, "more/b.png"), (33, "c.png"))
        ],
        "annotations": [
            annotation(50, 33, [10, 5, 20.5, 30], [20, 8, 2, 12, 20, 2, 0, 0, 0]),
            annotation(12, 900, [0, 0, 60, 40], [0] * 9, iscrowd=1),
            annotation(31, 900, [1.25, 2, 8, 19], [5, 4, 2, 3.5, 9, 1, 8, 9, 2]),
            annotation(13, 900, [30, 20, 4, 4], [0] * 9),
            annotation(11, 900, [30, 10, 20, 25], [40, 12, 2, 33, 20, 2, 47, 21, 1]),
        ],
        "categories": [
            {"id": 4, "name": "robot", "keypoints": ["nose", "left_hand", "right_hand"], "skeleton": [[1, 2], [1, 3]]},
            {"id": 2, "name": "tree"},
        ],
    }  # fmt: skip


@pytest.fixture
def write_robots(tmp_path: Path, robots: dict[str, Any]) -> Callable[..., CocoKeypoints]:
    """Writes the images and the annotations (or others) and reads them."""
    rng = np.random.default_rng(0)
    for file in ("a.png", "more/b.png", "c.png"):
        save(tmp_path / "images" / file, noise(rng, 40, 60, 3))

    def make(content: Any = None, **options: Any) -> CocoKeypoints:
        (tmp_path / "points.json").write_text(json.dumps(robots if content is None else content))
        return CocoKeypoints(tmp_path, images="images", annotations="points.json", **options)

    return make
