"""Runs of the real train.py: whole, and killed and resumed."""

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
from lightseg.cli import main as lightseg
from tasks.base import Task
from tests.conftest import only_run

ROOT = Path(__file__).parents[2]


def run(words: list[str]) -> dict:
    """The record of the one run in its `runs_dir`, in this process."""
    assert train.main(words) == 0
    return json.loads((only_run(runs_dir(words)) / "record.json").read_text())


def killed_and_resumed(words: list[str]) -> dict:
    """The record of a run that a process of its own began, that was killed once its first epoch was saved, and that
    this process went on with."""
    command = [sys.executable, "train.py", *words]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums of another order are other numbers
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            checkpoints = list(runs_dir(words).glob("*/*/*/*/checkpoints/last.ckpt"))
            if checkpoints and torch.load(checkpoints[0], weights_only=True)["epoch"] >= 0:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    folder = only_run(runs_dir(words))
    assert not (folder / "record.json").exists()  # killed before its end, or this test would show nothing
    assert train.main([f"resume={folder}"]) == 0
    return json.loads((folder / "record.json").read_text())


def signal_at(monkeypatch, method: str, call: int, number: int) -> None:
    """Send the process a signal in the call (from 1) of a method of Task. The method then does its work."""
    calls, original = [0], getattr(Task, method)

    def wrapped(self, *args):
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), number)
        return original(self, *args)

    monkeypatch.setattr(Task, method, wrapped)


def assert_exported_scores_alike(checkpoint: Path, record: dict, runs: Path) -> None:
    """The ONNX file of a run's checkpoint scores what the run's record says."""
    assert lightseg(["export", str(checkpoint)]) == 0
    exported = run(["mode=test", f"ckpt={checkpoint.with_suffix('.onnx')}", f"runs_dir={runs}"])
    assert exported["metrics"].keys() == record["metrics"].keys()
    for key, value in record["metrics"].items():
        assert exported["metrics"][key] == pytest.approx(value, abs=1e-3), key  # 0.1 points of 100
    assert exported["cost"]["madds"] == record["cost"]["madds"]


def runs_dir(words: list[str]) -> Path:
    (found,) = (word.split("=", 1)[1] for word in words if word.startswith("runs_dir="))
    return Path(found)
