"""Runs that a signal, `max_steps` or `max_time` ends within an epoch, resumed: equal to a run that was not stopped."""

import csv
import json
import signal
from pathlib import Path

import pytest
import torch

import train
from lightseg.cli import main
from tests.conftest import only_run, seg_words
from tests.tasks.runs import run, signal_at

EPOCH = 3  # steps: 6 images in batches of 2


def stop(words: list[str], number: int) -> int:
    """The exit code of a run that is stopped by a signal."""
    before = signal.getsignal(number)
    try:
        code = train.main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    assert signal.getsignal(number) is before
    return code


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return sorted(
            ({k: v for k, v in row.items() if v} for row in csv.DictReader(file)), key=lambda r: int(r["step"])
        )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_equal_runs(first: Path, second: Path) -> None:
    assert rows(first) == rows(second)
    for name in ("last", "best"):
        one, other = (
            torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for folder in (first, second)
        )
        assert one["global_step"] == other["global_step"] and one["epoch"] == other["epoch"]
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key


OPTIONS = (
    "trainer.max_epochs=2",
    "ema.decay=0.9",
    "trainer.log_every_n_steps=1",
    "drop_path_rate=0.1",
    "schedule.warmup_steps=2",
)


@pytest.fixture(scope="module")
def whole(mini_seg, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    run(seg_words(mini_seg, runs, *OPTIONS))
    return only_run(runs)


@pytest.mark.parametrize(
    ("method", "call", "number", "code", "step"),
    [
        pytest.param("training_step", 1, signal.SIGTERM, 143, 1, id="first-step"),
        pytest.param("training_step", 5, signal.SIGUSR1, 138, 5, id="second-epoch"),
        pytest.param("training_step", 6, signal.SIGHUP, 129, 6, id="last-step"),
        pytest.param("validation_step", 2, signal.SIGTERM, 143, 3, id="evaluation"),
        pytest.param("test_step", 1, signal.SIGTERM, 143, None, id="final-evaluation"),
    ],
)
def test_a_stopped_run_resumed_is_the_run_that_was_not_stopped(
    words, tmp_path, whole, monkeypatch, capsys, method, call, number, code, step
):
    with monkeypatch.context() as patched:
        signal_at(patched, method, call, number)
        assert stop(words(*OPTIONS, f"runs_dir={tmp_path / 'cut'}"), number) == code
    folder = only_run(tmp_path / "cut")
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"resume={folder}" in line and (f"saved at step {step} " in line if step else "finished epochs" in line)
    assert not (folder / "record.json").exists()
    assert main(["train", f"resume={folder}"]) == 0
    assert_equal_runs(whole, folder)


def test_ctrl_c_saves_and_exits_with_130_and_twice_ends_at_once(words, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        signal_at(patched, "training_step", 2, signal.SIGINT)
        assert stop(words(f"runs_dir={tmp_path / 'once'}"), signal.SIGINT) == 130
    assert "interrupted; saved at step 2 (continue with resume=" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        signal_at(patched, "training_step", 2, signal.SIGINT)
        signal_at(patched, "on_train_batch_start", 2, signal.SIGINT)
        assert stop(words(f"runs_dir={tmp_path / 'twice'}"), signal.SIGINT) == 130
    assert "interrupted; no step was saved in " in capsys.readouterr().err


def test_max_steps_within_an_epoch_then_more(words, tmp_path, capsys):
    """Learning rates follow the run's length: a constant rate, so that both runs have the same."""
    options = [*OPTIONS, "schedule.name=constant", "ema.decay=0"]
    run(words(*options, f"runs_dir={tmp_path / 'long'}"))
    run(words(*options, "trainer.max_steps=4", f"runs_dir={tmp_path / 'short'}"))
    folder = only_run(tmp_path / "short")
    assert "after step 3 of 4 nothing was validated: best.ckpt is of step 3" in capsys.readouterr().out
    training = json.loads((folder / "record.json").read_text())["training"]
    assert training == {"epochs": 1, "steps": 4, "validated_step": 3, "stopped": None}
    assert main(["train", f"resume={folder}", "trainer.max_steps=-1"]) == 0
    assert_equal_runs(only_run(tmp_path / "long"), folder)


def test_accumulated_batches_are_finished_before_a_stop(words, tmp_path, monkeypatch):
    options = ["trainer.accumulate_grad_batches=2", "data.batch_size=1", f"runs_dir={tmp_path / 'cut'}"]
    signal_at(monkeypatch, "training_step", 3, signal.SIGTERM)
    assert stop(words(*options), signal.SIGTERM) == 143
    checkpoint = torch.load(only_run(tmp_path / "cut") / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 4


@pytest.mark.slow
def test_workers_of_a_resumed_run_read_its_epoch(words, tmp_path):
    """Lightning lets them begin before it knows the epoch of the checkpoint."""
    options = ["trainer.max_epochs=2", "trainer.log_every_n_steps=1", "data.workers=2", "schedule.name=constant"]
    run(words(*options, "trainer.max_epochs=3", f"runs_dir={tmp_path / 'long'}"))
    run(words(*options, f"runs_dir={tmp_path / 'short'}"))
    folder = only_run(tmp_path / "short")
    assert main(["train", f"resume={folder}", "trainer.max_epochs=3"]) == 0
    assert_equal_runs(only_run(tmp_path / "long"), folder)
