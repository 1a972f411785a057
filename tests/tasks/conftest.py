"""Tiny class folders and tiny COCO data, of boxes and of keypoints, and the words of a tiny run over them."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightseg.model import Model
from tasks.base import Task
from tests.nets import SHALLOW
from tests.tasks.persons import write_figures

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
    """18 + 6 images of 6 classes; to be read only."""
    return write_classes(tmp_path_factory.mktemp("classes") / "six")


@pytest.fixture
def own_classes(tmp_path: Path) -> Path:
    """4 + 2 images of 2 classes that a test may spoil."""
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
            "backbone": SHALLOW,
            "trainer.max_epochs": 1,
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


@pytest.fixture
def sizes(monkeypatch) -> list[list[tuple[int, ...]]]:
    """One list an epoch of training: (height, width) of the batches that the model took."""
    epochs: list[list[tuple[int, ...]]] = []
    start, forward = Task.on_train_epoch_start, Model.forward

    def on_train_epoch_start(task):
        start(task)
        epochs.append([])

    def model_forward(model, images, **options):
        if model.training:
            epochs[-1].append(tuple(images.shape[-2:]))
        return forward(model, images, **options)

    monkeypatch.setattr(Task, "on_train_epoch_start", on_train_epoch_start)
    monkeypatch.setattr(Model, "forward", model_forward)
    return epochs


# -- detection ---------------------------------------------------------------------------------------------------------

CATEGORIES = {3: "red hat", 44: "unicorn", 90: "kite"}  # ids with gaps; of the unicorn there is no image
COLOURS = {3: (30, 30, 220), 90: (220, 160, 20)}


def write_boxes(root: Path, train: int = 6, val: int = 3) -> Path:
    """Somebody's own COCO data: `root/{train,val}/<number>.jpg` of two sizes with a plain rectangle or two (every
    fourth image has none), `root/<split>.json` with image and annotation ids that are neither sorted nor in a row."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            height, width = (64, 96) if number % 2 else (90, 60)
            pixels = random.integers(100, 130, (height, width, 3), dtype=np.uint8)
            image_id = 1000 - 7 * number
            images.append({"id": image_id, "file_name": f"{number}.jpg", "height": height, "width": width})
            for category in (3, 90)[: 0 if number % 4 == 3 else 1 + number % 2]:
                w, h = random.integers(16, 40, 2).tolist()
                x, y = random.integers(0, width - w), random.integers(0, height - h)
                pixels[y : y + h, x : x + w] = COLOURS[category]
                annotations.append(
                    {
                        "id": 11 * len(annotations) + 5, "image_id": image_id, "category_id": category,
                        "bbox": [int(x), int(y), w, h], "area": w * h, "iscrowd": 0,
                    }
                )  # fmt: skip
            path = root / split / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)
        categories = [{"id": i, "name": name} for i, name in CATEGORIES.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def mini_det(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The procedural world as COCO data: 6 + 3 images of 64x96; to be read only."""
    from lightseg.streets import write_coco

    root = tmp_path_factory.mktemp("mini") / "mini_det"
    return write_coco(root, seed=0, train=6, val=3, height=64, width=96, workers=1)


@pytest.fixture
def own_boxes(tmp_path: Path) -> Path:
    """6 + 3 images with rectangles that a test may spoil."""
    return write_boxes(tmp_path / "own")


@pytest.fixture
def det_words(mini_det: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a tiny detection run; more can be added, later ones replace earlier ones."""

    def make(*more: str) -> list[str]:
        base: dict[str, Any] = {
            "task": "det",
            "data": "mini_det",
            "data.root": mini_det,
            "data.size": "[64,96]",
            "data.count": "{train: 6, val: 3}",
            "data.batch_size": 2,
            "data.eval_batch_size": 2,
            "data.workers": 0,
            "data.augment.size": "[64,96]",
            "data.eval.size": "[64,96]",
            "backbone": SHALLOW,
            "head.extra_channels": "[64,32,32,32]",
            "trainer.max_epochs": 1,
            "trainer.precision": "32-true",
            "schedule.warmup_steps": 0,
            "profile.runs": 1,
            "logger": "csv",
            "runs_dir": tmp_path / "runs",
        }
        for word in more:
            key, _, value = word.partition("=")
            base[key] = value
        if base["data"] == "coco":  # somebody's own: `data.root` is among the words
            del base["data.size"], base["data.count"]
            for split in ("train", "val"):
                base.setdefault(f"data.split.{split}", f"{{images: {split}, annotations: {split}.json}}")
        return [f"{key}={value}" for key, value in base.items()]

    return make


FIGURES = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100")  # COCOeval's order


def judged(annotations: Path, results: Path) -> dict[str, float | None]:
    """pycocotools' own figures of a results file; None where there is no object."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = dict(zip(FIGURES, evaluation.stats.tolist(), strict=False))
    return {f"val/{key}": None if value == -1 else pytest.approx(value, abs=1e-6) for key, value in stats.items()}


def figures(record: dict) -> dict[str, float | None]:
    return {f"val/{key}": record["metrics"][f"val/{key}"] for key in FIGURES}


# -- pose --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mini_pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The procedural world with keypoints: 4 + 2 images of 128x256 with some 15 + 5 persons; to be read only."""
    from lightseg.streets import write_persons

    root = tmp_path_factory.mktemp("mini") / "mini_pose"
    return write_persons(root, seed=1, train=4, val=2, height=128, width=256, workers=1)


@pytest.fixture
def own_persons(tmp_path: Path) -> Path:
    """6 + 3 images with figures of a skeleton of their own, that a test may spoil."""
    return write_figures(tmp_path / "own")


@pytest.fixture
def pose_words(mini_pose: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a tiny pose run; more can be added, later ones replace earlier ones."""

    def make(*more: str) -> list[str]:
        base: dict[str, Any] = {
            "task": "pose",
            "data": "mini_pose",
            "data.root": mini_pose,
            "data.size": "[128,256]",
            "data.count": "{train: 4, val: 2}",
            "data.world_seed": 1,
            "data.batch_size": 4,
            "data.eval_batch_size": 2,
            "data.workers": 0,
            "data.augment.size": "[64,48]",
            "data.eval.size": "[64,48]",
            "backbone": SHALLOW,
            "evaluation.flip": "false",
            "trainer.max_epochs": 1,
            "trainer.precision": "32-true",
            "schedule.warmup_steps": 0,
            "profile.runs": 1,
            "logger": "csv",
            "logger.images": 2,
            "runs_dir": tmp_path / "runs",
        }
        for word in more:
            key, _, value = word.partition("=")
            base[key] = value
        if base["data"] == "coco_pose":  # somebody's own: `data.root` is among the words
            del base["data.size"], base["data.count"], base["data.world_seed"]
            for split in ("train", "val"):
                base.setdefault(f"data.split.{split}", f"{{images: {split}, annotations: {split}.json}}")
        return [f"{key}={value}" for key, value in base.items()]

    return make
