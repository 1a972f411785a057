"""What a resumed run may change takes effect; every other change is refused in one line, and nothing is written."""

import csv
import math
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

import train
from lightseg.errors import LightsegError
from tests.conftest import only_run, seg_words
from tests.nets import SHALLOW
from tests.tasks.runs import run, signal_at


@pytest.fixture(scope="module")
def two_epochs(mini_seg, tmp_path_factory):
    """The folder of a run, to be copied."""
    runs = tmp_path_factory.mktemp("two_epochs")
    run(seg_words(mini_seg, runs, "trainer.max_epochs=2", "trainer.log_every_n_steps=1"))
    return only_run(runs)


@pytest.fixture
def finished(two_epochs, tmp_path):
    """The folder of a run of two epochs, which a test may go on with."""
    return Path(shutil.copytree(two_epochs, tmp_path / "runs" / "seg" / "mini_seg" / SHALLOW / two_epochs.name))


def test_more_epochs_train_at_the_rate_of_the_longer_schedule(finished, capsys):
    assert train.main([f"resume={finished}", "trainer.max_epochs=4"]) == 0
    assert "the schedule of the learning rate has 12 steps instead of 6" in capsys.readouterr().out
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (3, 12)
    (state,) = checkpoint["lr_schedulers"]
    assert state["t_initial"] == 12
    with open(finished / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == list(range(12))


def test_the_rate_after_an_extension(words, tmp_path, monkeypatch):
    """Poly over 12 steps: the seventh step has (1 - 6/12)^0.9 of the rate, not 0."""
    from tasks.base import Task

    rates = {}
    step = Task.training_step

    def record_rate(self, batch, index):
        rates[self.global_step] = self.trainer.optimizers[0].param_groups[0]["lr"]
        return step(self, batch, index)

    monkeypatch.setattr(Task, "training_step", record_rate)
    run(words("trainer.max_epochs=2", "optimizer.lr=0.01"))
    assert train.main([f"resume={only_run(tmp_path / 'runs')}", "trainer.max_epochs=4"]) == 0
    assert [rates[i] for i in (0, 3)] == pytest.approx([0.01, 0.01 * 0.5**0.9])
    assert [rates[i] for i in (6, 9)] == pytest.approx([0.01 * 0.5**0.9, 0.01 * 0.25**0.9])


def test_a_schedule_that_restarts(words, tmp_path, monkeypatch, capsys):
    """Cosine over the 12 steps that are left, and no second restart where that part is resumed."""
    run(words("trainer.max_epochs=2", "optimizer.lr=0.01", "schedule.name=cosine", "trainer.log_every_n_steps=1"))
    folder = only_run(tmp_path / "runs")
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        signal_at(patched, "training_step", 4, signal.SIGTERM)
        train.main([f"resume={folder}", "resume_schedule=restart", "trainer.max_epochs=6"])
    assert "has 12 steps instead of 6, from step 6 on" in capsys.readouterr().out
    assert train.main([f"resume={folder}"]) == 0
    with open(folder / "metrics.csv", newline="") as file:
        rates = [float(row["lr/head"]) for row in csv.DictReader(file) if row["lr/head"]]
    cosine = [0.01 * (1 + math.cos(math.pi * step / total)) / 2 for total in (6, 12) for step in range(total)]
    assert rates == pytest.approx(cosine)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1], b"cut"])
def test_a_last_checkpoint_of_something_else(finished, capsys, content):
    last = finished / "checkpoints" / "last.ckpt"
    last.write_bytes(content) if isinstance(content, bytes) else torch.save(content, last)
    before = last.read_bytes()
    assert train.main([f"resume={finished}", "trainer.max_epochs=3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(last) in error and last.read_bytes() == before


CANNOT_CHANGE = (
    *("optimizer.lr=1", "optimizer.name=sgd", "seed=3", "data.batch_size=3", "output_stride=32", "ema.decay=0.5"),
    *("backbone=mobilenetv2", "head.name=raspp", "data=camvid", "freeze_bn=true", "pretrained=true", "task=cls"),
    *("schedule.power=2", "data.augment.crop_size=[32,32]"),
)


def test_what_cannot_change_is_refused(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    for override in CANNOT_CHANGE:
        assert train.main([f"resume={finished}", override]) == 2, override
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and override.split("=")[0] in error
    assert train.main([f"resume={finished}", "trainer.max_epochs=1"]) == 2
    assert "is less than the 2 epochs that the run has finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_the_values_of_the_run_may_be_repeated(finished):
    saved = yaml.safe_load((finished / "config.yaml").read_text())
    same = [f"optimizer.lr={saved['optimizer']['lr']}", f"backbone={SHALLOW}", f"seed={saved['seed']}"]
    assert train.main([f"resume={finished}", "data.workers=1", "evaluation.flip=true", *same]) == 0
    assert yaml.safe_load((finished / "config.yaml").read_text())["evaluation"]["flip"] is True


def best_of(folder):
    """The best value of the monitor in a run's last checkpoint, and the path that is saved with it."""
    callbacks = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for state in callbacks.values() if state.get("monitor") == "val/mIoU")
    return float(state["best_model_score"]), state["best_model_path"]


def test_a_moved_run_keeps_its_best_checkpoint_where_a_later_epoch_is_worse(finished, tmp_path, monkeypatch):
    from tasks.segmentation import SegmentationTask

    best, _ = best_of(finished)
    weights = (finished / "checkpoints" / "best.ckpt").read_bytes()
    moved = finished.rename(tmp_path / "moved")
    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", lambda self: self.log("val/mIoU", best / 2))

    def stop(*_: object) -> None:
        raise LightsegError("trained")

    monkeypatch.setattr("tasks.run.execute.evaluate", stop)
    assert train.main([f"resume={moved}", "trainer.max_epochs=3"]) == 2
    assert best_of(moved) == (best, str(moved / "checkpoints" / "best.ckpt"))
    assert (moved / "checkpoints" / "best.ckpt").read_bytes() == weights
