"""A tiny detection set with everything that `lightseg data` looks for, and a Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lightseg.inspection.report import DataReport

HOSTILE = "</script><img src=x onerror=window.harm=1>"


def scene(number: int) -> np.ndarray:
    """A smooth random image, uint8 [120, 160, 3]."""
    small = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def write_boxes(root: Path, split: str, images: list[np.ndarray], boxes: dict[int, list[list[float]]]) -> None:
    (root / split).mkdir(parents=True, exist_ok=True)
    entries, annotations = [], []
    for number, image in enumerate(images):
        cv2.imwrite(str(root / split / f"{number}.jpg"), image)
        entries.append({"id": number, "file_name": f"{number}.jpg", "height": 120, "width": 160})
        for box in boxes.get(number, [[10, 10, 60, 50], [40, 30, 100, 60]]):
            category = 1 + len(annotations) % 2
            annotations.append({"id": len(annotations), "image_id": number, "category_id": category, "bbox": box})
    categories = [{"id": 1, "name": "bird"}, {"id": 2, "name": HOSTILE}, {"id": 3, "name": "boat"}]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (root / f"{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 + 4 images. In train, 5 is truncated, 7 has no box, 8 one of no area, 9 one under a pixel. In val, 0 is
    train's 0, darker and compressed, and 1 a copy of train's 1."""
    root = tmp_path_factory.mktemp("birds")
    train = [scene(number) for number in range(12)]
    special: dict[int, list[list[float]]] = {7: [], 8: [[5, 5, 0, 9]], 9: [[5, 5, 0.3, 70]]}
    write_boxes(root, "train", train, special)
    write_boxes(root, "val", [train[0], train[1], scene(100), scene(101)], {})
    cv2.imwrite(str(root / "val" / "0.jpg"), cv2.convertScaleAbs(train[0], alpha=0.7), [cv2.IMWRITE_JPEG_QUALITY, 40])
    broken = root / "train" / "5.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    return root


@pytest.fixture(scope="session")
def options(birds: Path) -> dict[str, Any]:
    """Overrides for `lightseg.inspect_data`."""
    split = {name: {"images": name, "annotations": f"{name}.json"} for name in ("train", "val")}
    return {"data": "coco", "data.root": str(birds), "data.split": split, "data.augment.size": [60, 80]}


@pytest.fixture(scope="session")
def report(options: dict[str, Any]) -> DataReport:
    import lightseg

    return lightseg.inspect_data(options)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all tests of the page."""
    from tests.leaderboard.browser import chromium

    yield from chromium(tmp_path_factory.mktemp("profile"))
