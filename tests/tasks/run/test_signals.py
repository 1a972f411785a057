"""Signals to the processes of a run, as a terminal or a scheduler sends them: exit code, one line, no process left, and
a run that is resumed as if it had not been stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from tests.conftest import only_run
from tests.tasks.runs import run

ROOT = Path(__file__).parents[3]
TWO_PROCESSES = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu"]


def stopped(words: list[str], runs: Path, number: int, *, group: bool) -> tuple[int, str]:
    """Exit code and stderr of a run that gets a signal in its second epoch, alone or with its workers."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *words, f"runs_dir={runs}"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},  # sums of another order are other numbers
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list(runs.glob("*/*/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, number)
    _, error = process.communicate(timeout=120)
    assert ends(process.pid), "a process of the run is left"
    return process.returncode, error


def ends(group: int, seconds: float = 20) -> bool:
    """Whether no process of the group is left."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "number", "code", "line"),
    [
        ("seg", signal.SIGINT, 130, "interrupted; "),
        ("cls", signal.SIGTERM, 143, "terminated; "),
        ("det", signal.SIGUSR1, 138, "stopped; "),
        ("pose", signal.SIGHUP, 129, "the terminal was closed; "),
    ],
)
def test_a_signal_to_the_run_and_its_workers(
    words, cls_words, det_words, pose_words, tmp_path, task, number, code, line
):
    make = {"seg": words, "cls": cls_words, "det": det_words, "pose": pose_words}[task]
    options = make("trainer.max_epochs=3", "data.workers=2", "data.batch_size=2", "trainer.log_every_n_steps=1")
    options = [word for word in options if not word.startswith("runs_dir=")]
    whole = run([*options, f"runs_dir={tmp_path / 'whole'}"])
    exit_code, error = stopped(options, tmp_path / "cut", number, group=True)
    assert exit_code == code, error
    assert error.splitlines()[-1].startswith(line) and "Traceback" not in error, error
    folder = only_run(tmp_path / "cut")
    assert not (folder / "record.json").exists()
    assert train.main([f"resume={folder}"]) == 0
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
    assert (folder / "metrics.csv").read_text() == (only_run(tmp_path / "whole") / "metrics.csv").read_text()


@pytest.mark.slow
def test_a_signal_to_the_first_of_two_processes_stops_both(words, tmp_path):
    options = words("trainer.max_epochs=4", "data.batch_size=1", *TWO_PROCESSES)
    options = [word for word in options if not word.startswith("runs_dir=")]
    exit_code, error = stopped(options, tmp_path / "cut", signal.SIGTERM, group=False)
    assert exit_code == 143 and "terminated; saved at step" in error, error
    folder = only_run(tmp_path / "cut")
    step = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert 3 <= step < 12
    subprocess.run([sys.executable, "train.py", f"resume={folder}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 12
    assert (folder / "record.json").is_file()
