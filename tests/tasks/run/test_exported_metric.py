"""Exported files score what their checkpoints score: a small run of every task, and its ONNX file."""

import json
from pathlib import Path

import pytest

import train
from benchmarks.export_metrics import FLOAT_ONNX, measure, page
from lightseg.cli import main as lightseg
from tests.conftest import only_run
from tests.tasks.conftest import NAMES, write_classes
from tests.tasks.persons import own_words

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

BY_HEART = ["ema.decay=0", "optimizer.lr=5e-3"]  # evaluated on what they were trained on: a figure far from 0
SPLIT = "data.split.val={images: train, annotations: train.json}"
MONITORS = {"seg": "val/mIoU", "cls": "val/top1", "det": "val/mAP", "pose": "val/AP"}
LEAST = {"seg": 0.1, "cls": 0.7, "det": 0.02, "pose": 0.2}


def epochs(number: int) -> list[str]:
    return [f"trainer.max_epochs={number}", f"trainer.check_val_every_n_epoch={number}"]


@pytest.fixture
def seg(words):
    return words("data.split={train: train, val: train}", "data.batch_size=3", *BY_HEART, *epochs(24))


@pytest.fixture
def cls(cls_words, tmp_path):
    root = write_classes(tmp_path / "three", NAMES[:3], train=8)
    plain = ["data.augment.color=0", "data.augment.scale=[0.9,1.0]", "data.batch_size=8"]
    return cls_words(f"data.root={root}", "data.split={train: train, val: train}", *plain, *BY_HEART, *epochs(24))


@pytest.fixture
def det(det_words, own_boxes):
    plain = ["data.augment.iou_crop=false", "data.augment.hflip=0", "data.batch_size=3"]
    return det_words("data=coco", f"data.root={own_boxes}", SPLIT, *plain, *BY_HEART, *epochs(35))


@pytest.fixture
def pose(pose_words, own_persons):
    plain = ["data.augment.scale=[0.9,1.1]", "data.augment.rotation=0", "data.augment.half_body=0"]
    own = [*own_words(own_persons), SPLIT, "data.augment.hflip=0", "data.batch_size=7"]
    return pose_words(*own, *plain, *BY_HEART, *epochs(20))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["seg", "cls", "det", "pose"])
def test_an_onnx_file_scores_what_its_checkpoint_scores(task, request, tmp_path):
    assert train.main(request.getfixturevalue(task)) == 0
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    trained = json.loads((checkpoint.parents[1] / "record.json").read_text())
    assert trained["metrics"][MONITORS[task]] > LEAST[task]
    assert lightseg(["export", str(checkpoint)]) == 0
    assert train.main(["mode=test", f"ckpt={checkpoint.with_suffix('.onnx')}", f"runs_dir={tmp_path / 'test'}"]) == 0
    exported = json.loads((only_run(tmp_path / "test") / "record.json").read_text())
    assert exported["metrics"].keys() == trained["metrics"].keys()
    for key, value in trained["metrics"].items():
        assert exported["metrics"][key] == pytest.approx(value, abs=1e-3), key  # 0.1 points of 100
    assert exported["cost"]["madds"] == trained["cost"]["madds"]


@pytest.mark.slow
def test_the_benchmarks_page(cls, tmp_path):
    assert train.main(cls) == 0
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    run = measure(checkpoint, (FLOAT_ONNX,), compared=8)
    found = run["files"][FLOAT_ONNX[0]]
    assert found["value"] == pytest.approx(run["eager"], abs=1e-3)
    assert found["max_difference"] <= 1e-3 and found["agreement"] > 0.99
    text = page([run], [Path("best.ckpt")], "here")
    assert f"| {run['metric']} | {100 * run['eager']:.2f} |" in text and "1 of 1 within 0.1 points" in text
