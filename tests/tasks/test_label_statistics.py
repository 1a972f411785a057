"""What label statistics refuse, and print, before a training."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lightseg.config.compose import compose, plain
from lightseg.errors import DataError
from tasks.data import DataModule
from tasks.run.class_weights import balanced_weights, with_class_weights
from tasks.run.progressive import Progressive


@pytest.fixture
def masks_of_0_and_255(tmp_path: Path) -> Path:
    mask = np.zeros((8, 8), np.uint8)
    mask[:3] = 255
    for split in ("train", "val"):
        for number in range(2):
            for folder, pixels in (("images", np.zeros((8, 8, 3), np.uint8)), ("masks", mask)):
                path = tmp_path / folder / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    return tmp_path


def data_of(root: Path, **values: Any) -> DataModule:
    config = plain(compose({"data": "folder", "data.root": str(root), **values}))
    return DataModule(config["data"], 0, Progressive(config["schedule"], 1))


def test_masks_of_0_and_255_are_refused_and_with_the_cure_counted(masks_of_0_and_255: Path):
    with pytest.raises(DataError, match=r"because 255 is ignored: set data\.classes={wall: 0, door: 255} data\.ignore"):
        data_of(masks_of_0_and_255, **{"data.classes": ["wall", "door"]}).check()
    data = data_of(masks_of_0_and_255, **{"data.classes": {"wall": 0, "door": 255, "roof": 7}, "data.ignore": []})
    data.check()
    lines = data.describe().splitlines()
    assert "  train: the masks of 2 images of 3 classes, 38 % door to 62 % wall" in lines
    warning = "warning: no pixel of roof in the masks: nothing is learned of them; see data.classes, where it is a key"
    assert [line for line in lines if warning in line] == [f"  train: {warning}"]  # not again for val


def test_class_weights_auto_are_numbers_of_the_training_masks(masks_of_0_and_255: Path):
    classes = {"wall": 0, "door": 255, "roof": 7}
    data = data_of(masks_of_0_and_255, **{"data.classes": classes, "data.ignore": []})
    config = plain(compose({"loss.class_weights": "auto"}))
    trained = with_class_weights(config, data)
    # 1 / ln(1.02 + 0.625) = 2.0090, 1 / ln(1.02 + 0.375) = 3.0039; their mean is 2.5064
    assert trained["loss"]["class_weights"] == pytest.approx([0.8015, 1.1985, 0], abs=2e-4)
    assert trained["replaced"] == {"loss.class_weights": "auto"} and config["loss"]["class_weights"] == "auto"
    assert with_class_weights({**config, "mode": "test"}, data)["loss"]["class_weights"] is None
    assert balanced_weights(np.array([5, 5])) == [1, 1]


def test_a_balanced_sampler_has_every_class_equally_often(tmp_path: Path):
    for split in ("train", "val"):
        for name, count in (("ants", 9), ("bees", 3)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(tmp_path / split / name / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    overrides = {"task": "cls", "data": "imagefolder", "data.root": str(tmp_path), "data.sampler": "balanced"}
    config = plain(compose({**overrides, "data.batch_size": 4, "data.workers": 0, "data.augment.size": 32}))
    config["data"]["eval"] = {"size": 32, "crop_pct": 1.0, "interpolation": "bilinear"}
    data = DataModule(config["data"], 0, Progressive(config["schedule"], 1))
    labels = [label for batch in data.train_dataloader() for label in batch["labels"].tolist()]
    assert sorted(labels) == [0] * 6 + [1] * 6
    assert sorted(label for batch in data.val_dataloader() for label in batch["labels"].tolist()) == [0] * 9 + [1] * 3
