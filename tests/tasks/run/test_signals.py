"""Signals of schedulers and of the keyboard: exit code, one line, and a run that can be resumed."""

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

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "interrupted; finished epochs are saved"), (signal.SIGTERM, 143, "terminated; finished")],
)
def test_exit_code_and_line_of_a_signal(words, tmp_path, number, code, line):
    command = [sys.executable, "train.py", *words("trainer.max_epochs=200", "data.workers=1")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "runs").glob("*/*/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.splitlines()[-1].startswith(line) and "Traceback" not in error, error
    folder = only_run(tmp_path / "runs")
    assert not (folder / "record.json").exists()
    done = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] + 1
    assert train.main([f"resume={folder}", f"trainer.max_epochs={done + 1}"]) == 0
