"""Sweeps over a train.py that is quick: see fake_train.py."""

import json
import sys
from pathlib import Path

import pytest

from tasks.launch import launchers

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).with_name("fake_train.py")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with a line for each run that was started; all of them are quick ones."""
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("CALLS", str(path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(launchers, "TRAIN", [sys.executable, str(FAKE)])
    return path


def started(calls: Path) -> list[str]:
    """`seed=0 begun`, in order."""
    return [" ".join(line.split()[1:3]) for line in calls.read_text().splitlines()]


def records(runs: Path) -> dict[str, dict]:
    """The metrics of every record, by hash and seed; two of one run would be one too many."""
    found: dict[str, dict] = {}
    for path in runs.glob("*/*/*/*/record.json"):
        content = json.loads(path.read_text())
        key = f"{content['config_hash']}-{content['seed']}"
        assert key not in found
        found[key] = content["metrics"]
    return found
