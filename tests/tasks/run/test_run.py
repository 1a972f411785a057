"""Whole runs through the real train.py on a few tiny images."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.data.datasets.cityscapes import Cityscapes
from lightseg.profile.machine import processor
from tests.conftest import only_run
from tests.tasks.runs import killed_and_resumed, run

TOP_LEVEL = {
    *("schema", "task", "data", "backbone", "head", "setting", "metrics", "protocol", "cost", "config", "config_hash"),
    *("accelerator", "seed", "started", "wall_s", "versions", "git", "data_fingerprint", "input", "training"),
}


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_one_command_trains_evaluates_and_records(words, tmp_path, mini_seg, capsys):
    record = run(words("backbone=mobilenetv3_small_050", "trainer.max_epochs=2", "trainer.log_every_n_steps=1"))
    folder = only_run(tmp_path / "runs")
    assert set(record) == TOP_LEVEL
    assert (record["task"], record["data"], record["backbone"]) == ("seg", "mini_seg", "mobilenetv3_small_050")
    assert record["cost"]["params"] > 1e5 and record["cost"]["madds"] > 1e6 and record["cost"]["latency_ms"] > 0
    assert record["setting"]["trainer.max_epochs"] == 2 and record["protocol"]["images"] == 3
    logged = rows(folder)
    assert len([row for row in logged if row["train/loss"]]) == 6  # 3 steps, 2 epochs
    rates = [float(row["lr/head"]) for row in logged if row["lr/head"]]
    assert rates == [float(row["lr/backbone"]) for row in logged if row["lr/backbone"]]
    assert rates == pytest.approx([4e-3 * (1 - step / 6) ** 0.9 for step in range(6)])  # poly, without a warm-up
    assert {row["epoch"] for row in logged if row["val/mIoU"]} == {"0", "1"}
    final = [float(row["final/val/mIoU"]) for row in logged if row["final/val/mIoU"]]
    assert final == pytest.approx([record["metrics"]["val/mIoU"]])
    for name in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "images/val.png"):
        assert (folder / name).is_file(), name
    # the figure in the record is the checkpoint's, counted by hand
    model, data = load_model(folder / "checkpoints" / "best.ckpt"), Cityscapes(mini_seg, "val")
    confusion = np.zeros((19, 19), np.int64)
    for sample in (data[i] for i in range(len(data))):
        image, mask = sample["image"][None].contiguous(), sample["mask"].numpy()
        with torch.no_grad():
            prediction = model.head.decode(model(image), mask.shape)[0].numpy()
        np.add.at(confusion, (mask[mask < 255], prediction[mask < 255]), 1)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    assert record["metrics"]["val/mIoU"] == pytest.approx((confusion.diagonal() / union)[union > 0].mean(), abs=1e-6)
    assert str(folder / "record.json") in capsys.readouterr().out


@pytest.mark.slow
def test_two_runs_with_one_seed_are_the_same(words, tmp_path):
    options = ["ema.decay=0.9", "drop_path_rate=0.2", "trainer.max_epochs=1"]
    first = run(words(*options, f"runs_dir={tmp_path / 'a'}"))
    second = run(words(*options, f"runs_dir={tmp_path / 'b'}", "data.workers=2"))
    other = run(words(*options, f"runs_dir={tmp_path / 'c'}", "seed=1"))
    assert first["metrics"] == second["metrics"] != other["metrics"]
    assert first["config_hash"] == other["config_hash"]


@pytest.mark.slow
def test_killed_and_resumed_ends_like_the_uninterrupted_run(words, tmp_path):
    options = [
        "trainer.max_epochs=4",
        "ema.decay=0.9",
        "head.dropout=0.2",
        "drop_path_rate=0.1",
        "trainer.log_every_n_steps=1",
    ]
    whole = run(words(*options, f"runs_dir={tmp_path / 'whole'}"))
    resumed = killed_and_resumed(words(*options, f"runs_dir={tmp_path / 'cut'}"))
    assert resumed["metrics"].keys() == whole["metrics"].keys()
    for key, value in whole["metrics"].items():
        assert resumed["metrics"][key] == pytest.approx(value, abs=1e-6), key
    losses = [
        [(row["step"], float(row["train/loss"])) for row in rows(only_run(tmp_path / name)) if row["train/loss"]]
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]  # nothing lost from metrics.csv, nothing twice
    assert resumed["config_hash"] == whole["config_hash"]


def test_evaluation_only_with_another_protocol_and_predictions(words, tmp_path):
    trained = run(words("evaluation.checkpoint=last", "trainer.max_epochs=1"))
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt"
    plain = run_test(checkpoint, tmp_path / "plain")
    assert plain["metrics"]["val/mIoU"] == pytest.approx(trained["metrics"]["val/mIoU"], abs=1e-6)
    flipped = run_test(checkpoint, tmp_path / "flip", "evaluation.flip=true", "evaluation.scales=[0.5,1.0]",
                       "evaluation.predictions=true")  # fmt: skip
    assert flipped["protocol"]["flip"] is True and flipped["protocol"]["scales"] == [0.5, 1.0]
    assert flipped["metrics"] != plain["metrics"]
    written = sorted((only_run(tmp_path / "flip") / "predictions").glob("*.png"))
    assert len(written) == 3
    ids = set(np.unique(np.asarray(Image.open(written[0]))))
    assert ids <= {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}


def run_test(checkpoint: Path, runs: Path, *more: str) -> dict:
    return run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={runs}", *more])


def test_a_folder_of_images_and_masks(words, tmp_path):
    """CamVid's layout with other names, through the plain folder reader."""
    root = tmp_path / "camvid"
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(4):
            for folder, image in (
                (split, random.integers(0, 256, (40, 60, 3), dtype=np.uint8)),
                (f"{split}annot", random.integers(0, 12, (40, 60), dtype=np.uint8)),
            ):
                path = root / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    base = [
        w for w in words("trainer.max_epochs=1", f"data.root={root}") if not w.startswith(("data.size", "data.count"))
    ]
    record = run([*base, "data=camvid", "head.name=raspp", "evaluation.predictions=true"])
    assert record["data"] == "camvid" and record["head"] == "raspp"
    assert len(list((only_run(tmp_path / "runs") / "predictions").glob("*.png"))) == 4


@pytest.mark.parametrize(
    "options",
    [
        ["optimizer.name=sgd", "schedule.name=cosine", "schedule.warmup_steps=2", "trainer.accumulate_grad_batches=2",
         "loss.ohem=0.7", "loss.dice=0.5", "loss.label_smoothing=0.1", "output_stride=8", "logger=tensorboard"],
        pytest.param(
            ["optimizer.name=rmsproptf", "schedule.name=step", "freeze_bn=true", "optimizer.backbone_lr_mult=0.1",
             "channels_last=false", "output_stride=32"], marks=pytest.mark.slow,
        ),
        pytest.param(
            ["schedule.name=constant", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0",
             "data.cache=true", "trainer.max_epochs=1"], marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_every_knob_runs(words, options):
    record = run(words("trainer.max_epochs=2", *options))
    assert 0 <= record["metrics"]["val/mIoU"] <= 1


def test_the_record_states_what_was_done_not_what_was_asked(words, tmp_path, capsys):
    options = ("trainer.limit_test_batches=1", "trainer.limit_val_batches=0", "trainer.precision=16-mixed")
    record = run(words(*options, "trainer.max_epochs=1"))
    protocol = record["protocol"]
    assert (protocol["images"], protocol["partial_of"]) == (2, 3)
    assert protocol["checkpoint"] == "last"  # no epoch was validated, so there is no best one
    assert protocol["precision"] == "bf16-mixed"  # Lightning has no 16-mixed on a CPU
    assert record["accelerator"] == {"type": "cpu", "name": processor(), "count": 1}
    assert main(["leaderboard", str(tmp_path / "runs")]) == 2
    assert "of a partial evaluation: 2 of 3 samples" in capsys.readouterr().err
