"""Upload of the W&B runs that were trained offline, with `wandb sync`."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightseg.errors import LightsegError
from lightseg.tracking.account import require_online

PREFIX = "offline-run-"
MAX_FOLDERS = 200  # per command: far below the limit of a command line


@dataclass(frozen=True)
class OfflineRuns:
    """Folders `<run>/wandb/offline-run-<time>-<id>`, by run, oldest first. A resumed run has one for each start."""

    waiting: tuple[Path, ...]
    unfinished: tuple[Path, ...]  # of runs without a record.json: they may still be training
    uploaded: int


def offline_runs(folders: Iterable[str | Path]) -> OfflineRuns:
    """The offline runs below the folders. Symbolic links are not followed.

    Raises:
        LightsegError: a folder does not exist.
    """
    waiting, unfinished, uploaded = [], [], 0
    runs: dict[Path, None] = {}  # an ordered set
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise LightsegError(f"{folder} is not a folder: give the runs_dir of your runs")
        runs |= dict.fromkeys(_offline_folders(folder.absolute()))
    for run in runs:
        logs = list(run.glob("*.wandb"))
        if logs and all(_mark(log).exists() for log in logs):
            uploaded += 1
        elif logs and (run.parents[1] / "record.json").is_file():
            waiting.append(run)
        elif logs:
            unfinished.append(run)
    return OfflineRuns(tuple(waiting), tuple(unfinished), uploaded)


def upload(runs: Iterable[Path]) -> None:
    """Run `wandb sync` on each folder. Its output goes to the terminal.

    Raises:
        LightsegError: W&B is not installed, not logged in or not reached, or some of the runs are not uploaded.
    """
    if importlib.util.find_spec("wandb") is None:
        raise LightsegError("uploading needs wandb: pip install wandb")
    require_online("which runs would be uploaded")
    runs = list(runs)
    for start in range(0, len(runs), MAX_FOLDERS):
        command = [sys.executable, "-m", "wandb", "sync", *map(str, runs[start : start + MAX_FOLDERS])]
        subprocess.run(command, check=False)
    missing = [run for run in runs if not all(_mark(log).exists() for log in run.glob("*.wandb"))]
    if missing:
        raise LightsegError(
            f"{len(missing)} of {len(runs)} runs are not uploaded ({missing[0]}{', ...' if missing[1:] else ''}): "
            "see the messages of wandb above; the same command tries again"
        )


def _offline_folders(folder: Path) -> Iterator[Path]:
    """W&B's folders, whose names begin with the time: sorted, they are in the order of the starts."""
    for parent, names, _ in os.walk(folder):
        names.sort()
        if Path(parent).name == "wandb":
            yield from (Path(parent) / name for name in names if name.startswith(PREFIX))
            names.clear()


def _mark(log: Path) -> Path:
    """The file that `wandb sync` leaves beside a log it has sent."""
    return log.with_suffix(".wandb.synced")
