"""Exported files score what their checkpoints score: a run that learns its images by heart, and its ONNX file.

Detection's is in test_detection_again.py, pose's in test_pose.py: their runs by heart show more than this.
"""

from pathlib import Path

import pytest

from benchmarks.export_metrics import FLOAT_ONNX, measure, page
from tests.conftest import only_run
from tests.tasks.conftest import NAMES, write_classes
from tests.tasks.runs import assert_exported_scores_alike, run

BY_HEART = [  # evaluated on what they were trained on: a figure far from that of any constant prediction
    *("ema.decay=0", "optimizer.lr=5e-3", "data.augment.color=0", "data.split={train: train, val: train}"),
    *("trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40"),
]


@pytest.mark.slow
def test_segmentation(words, tmp_path):
    record = run(words("data.batch_size=3", "data.augment.scale=[1.0,1.0]", *BY_HEART))
    assert record["metrics"]["val/pixel_accuracy"] > 0.6 and record["metrics"]["val/mIoU"] > 0.2
    assert_exported_scores_alike(only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt", record, tmp_path / "test")


@pytest.mark.slow
def test_classification_and_the_benchmarks_page(cls_words, tmp_path):
    root = write_classes(tmp_path / "three", NAMES[:3], train=8)
    record = run(cls_words(f"data.root={root}", "data.augment.scale=[0.9,1.0]", "data.batch_size=8", *BY_HEART))
    assert record["metrics"]["val/top1"] > 0.9
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    assert_exported_scores_alike(checkpoint, record, tmp_path / "test")
    measured = measure(checkpoint, (FLOAT_ONNX,), compared=8)
    file = measured["files"][FLOAT_ONNX[0]]
    assert file["value"] == pytest.approx(measured["eager"], abs=1e-3)
    assert file["max_difference"] <= 1e-3 and file["agreement"] > 0.99
    text = page([measured], [Path("best.ckpt")], "here")
    assert f"| {measured['metric']} | {100 * measured['eager']:.2f} |" in text and "1 of 1 within 0.1 points" in text
