"""Tiny class folders, and the words of a tiny run over them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # pictures of 32 pixels: a second thread only waits

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")


def write_classes(root: Path, names: tuple[str, ...] = NAMES, train: int = 3, val: int = 1) -> Path:
    """`root/{train,val}/<name>/<number>.jpg`: noise over a colour that is the class's, 40x48 or 48x40."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for index, name in enumerate(names):
            colour = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]])[index % 3] // (1 + index // 3)
            for number in range(count):
                size = (40, 48) if number % 2 else (48, 40)
                path = root / split / name / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = (colour + random.integers(-40, 40, (*size, 3))).clip(0, 255).astype(np.uint8)
                assert cv2.imwrite(str(path), pixels)
    return root


@pytest.fixture(scope="session")
def six_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 + 6 pictures of 6 classes; to be read only."""
    return write_classes(tmp_path_factory.mktemp("classes") / "six")


@pytest.fixture
def own_classes(tmp_path: Path) -> Path:
    """4 + 2 pictures of 2 classes that a test may spoil."""
    return write_classes(tmp_path / "own", NAMES[:2], train=2)


@pytest.fixture
def cls_words(six_classes: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a tiny classification run; more can be added, later ones replace earlier ones."""

    def make(*more: str) -> list[str]:
        base: dict[str, Any] = {
            "task": "cls",
            "data": "imagefolder",
            "data.root": six_classes,
            "data.batch_size": 4,
            "data.eval_batch_size": 4,
            "data.workers": 0,
            "data.augment.size": 32,
            "backbone": "mobilenetv3_small_050",
            "trainer.max_epochs": 2,
            "trainer.precision": "32-true",
            "schedule.warmup_steps": 0,
            "profile.runs": 1,
            "logger": "csv",
            "runs_dir": tmp_path / "runs",
        }
        for word in more:
            key, _, value = word.partition("=")
            base[key] = value
        return [f"{key}={value}" for key, value in base.items()]

    return make
