"""Detection runs that are evaluated again, interrupted and resumed, or shared by two processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import only_run
from tests.tasks.conftest import figures, judged
from tests.tasks.runs import assert_exported_scores_alike, killed_and_resumed, run

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_it_learns_and_evaluation_only_and_an_onnx_file_give_the_same_figures(det_words, own_boxes, tmp_path):
    record = run(
        det_words("data=coco", f"data.root={own_boxes}", "data.split.val={images: train, annotations: train.json}",
                  "data.batch_size=3", "data.augment.iou_crop=false",
                  "data.augment.hflip=0", "trainer.max_epochs=50", "trainer.check_val_every_n_epoch=50",
                  "optimizer.lr=3e-3", "ema.decay=0")
    )  # fmt: skip
    assert record["metrics"]["val/mAP50"] > 0.7 and record["metrics"]["val/mAP"] > 0.1
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    again = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}", "evaluation.predictions=true"])
    assert again["metrics"] == pytest.approx(record["metrics"], abs=1e-6)
    assert again["config"]["head"] == record["config"]["head"]
    results = only_run(tmp_path / "again") / "predictions" / "results.json"
    assert judged(own_boxes / "train.json", results) == figures(record)
    # other decoding: what the record says is what was done
    few = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'few'}", "evaluation.predictions=true",
               "head.detections_per_image=1"])  # fmt: skip
    assert few["config"]["head"]["detections_per_image"] == 1
    results = json.loads((only_run(tmp_path / "few") / "predictions" / "results.json").read_text())
    assert len(results) == len({one["image_id"] for one in results}) == 6
    assert few["metrics"]["val/AR100"] == few["metrics"]["val/AR1"] < record["metrics"]["val/AR100"]
    assert_exported_scores_alike(checkpoint, record, tmp_path / "onnx")


@pytest.mark.slow
def test_killed_and_resumed_ends_like_the_uninterrupted_run(det_words, tmp_path):
    options = ["trainer.max_epochs=4", "trainer.log_every_n_steps=1", "ema.decay=0.9",
               "data.augment.multi_scale=[0.6,1.4]", "data.augment.mosaic=0.5"]  # fmt: skip
    whole = run(det_words(*options, f"runs_dir={tmp_path / 'whole'}"))
    resumed = killed_and_resumed(det_words(*options, f"runs_dir={tmp_path / 'cut'}"))
    assert resumed["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
    logged = [(only_run(tmp_path / name) / "metrics.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert logged[0] == logged[1]


@pytest.mark.slow
def test_two_processes_leave_one_record_of_every_image_once(det_words, mini_det, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    words = det_words("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "data.batch_size=3",
                      "data.eval_batch_size=1", "evaluation.predictions=true", "trainer.max_epochs=4",
                      "logger=wandb", "logger.mode=offline")  # fmt: skip
    command = [sys.executable, "train.py", *words]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    folder = only_run(tmp_path / "runs")
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4  # an epoch is one batch of three in each process
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["val/AR100"] > 0
    results = folder / "predictions" / "results.json"
    assert judged(mini_det / "annotations" / "instances_val.json", results) == figures(record)
    one = run(["mode=test", f"ckpt={folder / 'checkpoints' / 'best.ckpt'}", f"runs_dir={tmp_path / 'one'}",
               "trainer.devices=1", "trainer.strategy=auto"])  # fmt: skip
    assert one["metrics"] == pytest.approx(record["metrics"], abs=1e-4)
