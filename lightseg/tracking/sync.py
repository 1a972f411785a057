"""Uploads the W&B runs that were trained offline, with W&B's own `wandb sync`."""

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
AT_ONCE = 200  # folders a command: far below what a command line may hold


@dataclass(frozen=True)
class OfflineRuns:
    """Folders `<run>/wandb/offline-run-<time>-<id>`, by run and the oldest first: a resumed run has one a start."""

    waiting: tuple[Path, ...]
    unfinished: tuple[Path, ...]  # of runs without a record.json: they may still be training
    uploaded: int


def offline_runs(folders: Iterable[str | Path]) -> OfflineRuns:
    """What is below the folders; linked folders are not entered.

    Raises:
        LightsegError: a folder is not there.
    """
    waiting, unfinished, uploaded = [], [], 0
    places: dict[Path, None] = {}  # each once, in this order
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise LightsegError(f"{folder} is not a folder: give the runs_dir of your runs")
        places |= dict.fromkeys(_offline_folders(folder.absolute()))
    for place in places:
        logs = list(place.glob("*.wandb"))
        if logs and all(_mark(log).exists() for log in logs):
            uploaded += 1
        elif logs and (place.parents[1] / "record.json").is_file():
            waiting.append(place)
        elif logs:
            unfinished.append(place)
    return OfflineRuns(tuple(waiting), tuple(unfinished), uploaded)


def upload(places: Iterable[Path]) -> None:
    """`wandb sync` on each folder; what it says goes to the terminal.

    Raises:
        LightsegError: W&B is not installed, not logged in or not reached, or some of the runs are not uploaded.
    """
    if importlib.util.find_spec("wandb") is None:
        raise LightsegError("uploading needs wandb: pip install wandb")
    require_online("which runs would be uploaded")
    places = list(places)
    for start in range(0, len(places), AT_ONCE):
        words = [sys.executable, "-m", "wandb", "sync", *map(str, places[start : start + AT_ONCE])]
        subprocess.run(words, check=False)
    missing = [place for place in places if not all(_mark(log).exists() for log in place.glob("*.wandb"))]
    if missing:
        raise LightsegError(
            f"{len(missing)} of {len(places)} runs are not uploaded ({missing[0]}{', ...' if missing[1:] else ''}): "
            "wandb says why above; the same command tries them again"
        )


def _offline_folders(folder: Path) -> Iterator[Path]:
    """W&B's folders begin with the time: sorted by name they are in the order of the run's starts."""
    for place, names, _ in os.walk(folder):
        names.sort()
        if Path(place).name == "wandb":
            yield from (Path(place) / name for name in names if name.startswith(PREFIX))
            names.clear()


def _mark(log: Path) -> Path:
    """The file that `wandb sync` leaves beside a log it has sent."""
    return log.with_suffix(".wandb.synced")
