"""What benchmarks have in common that train: runs of train.py, and results that are kept.

The same command goes on after an interruption: a run whose record is there is not begun again, and `Kept` gives back
what its file has.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(words: Sequence[str], folder: Path) -> tuple[Path, dict[str, Any]]:
    """`python train.py <words>`, with its runs in `folder` and no other there.

    Returns:
        The run's folder and its record, those of an earlier call if there are.
    """
    if not list(folder.rglob("record.json")):
        command = [sys.executable, "train.py", *words, f"runs_dir={folder}", "logger=csv"]
        print(f"python {shlex.join(command[1:])}", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode:
            sys.exit("that run failed: its error is above")
    (path,) = folder.rglob("record.json")
    return path.parent, json.loads(path.read_text(encoding="utf-8"))


def record_of(words: Sequence[str]) -> dict[str, Any]:
    """The record of a run of which nothing else is kept."""
    with tempfile.TemporaryDirectory() as folder:
        return run(words, Path(folder))[1]


class Kept:
    """Results by what they are of, in a JSON file (None: only until the end)."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path and path.is_file() else {}

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The result of `key`, made and written down unless it is there."""
        if key not in self.results:
            self.results[key] = make()
            if self.path:
                self.path.write_text(json.dumps(self.results, indent=1), encoding="utf-8")
        return self.results[key]
