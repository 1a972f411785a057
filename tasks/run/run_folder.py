"""Run folders: `<runs_dir>/<task>/<data>/<backbone>/<time>`. Nothing here imports torch: a sweep looks into many."""

import contextlib
import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from lightseg import record
from lightseg.atomic_io import write_text
from lightseg.catalog import backbones as catalog
from lightseg.config.sweep import identity
from lightseg.errors import LightsegError

from . import distributed

try:
    import fcntl
except ImportError:  # Windows: a run that goes on is not seen by others
    fcntl = None  # type: ignore[assignment]

CLAIM = ".running"


def parent_of(config: dict[str, Any]) -> Path:
    """Where the run folders of this task, data and backbone lie."""
    name = Path(str(config["backbone"]))
    # an architecture's path without its suffix; of all other names what follows a dot belongs to them
    backbone = (name.stem if catalog.is_arch(str(name)) else name.name).replace(":", "_") or "backbone"
    return Path(config["runs_dir"]) / config["task"] / config["data"]["name"] / backbone


def run_folder(config: dict[str, Any]) -> Path:
    """A new folder, or the one that is resumed."""
    if config["resume"] is not None:
        folder = Path(config["resume"])
        if not last_checkpoint(folder).is_file():
            raise LightsegError(
                f"resume={folder}: it has no checkpoints/last.ckpt (no epoch was finished); start it again"
            )
        return folder
    parent, stamp = parent_of(config), datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):  # two runs may start within one second
        folder = parent / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise LightsegError(f"runs_dir={config['runs_dir']}: cannot make {folder}: {error.strerror}") from error
    raise LightsegError(f"{parent} is full of runs of this second")


def last_checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def save_config(config: dict[str, Any], folder: Path) -> None:
    """`config.yaml` of the run, by its first process; a resumed run has it with the new values."""
    if distributed.rank():
        return
    try:
        write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise LightsegError(f"cannot write {folder / 'config.yaml'}: {error.strerror}") from error


# -- which run goes on in a folder -------------------------------------------------------------------------------------


def claim(folder: Path) -> IO[str]:
    """Mark the folder as that of a run that goes on, until the file is closed or the process ends, however it ends.

    A lock of POSIX: data-loading workers do not inherit it. Other processes of the same run need none.
    """
    try:
        file = open(folder / CLAIM, "a")  # noqa: SIM115  # it is open as long as the run lasts
    except OSError as error:
        raise LightsegError(f"cannot write {folder / CLAIM}: {error.strerror}") from error
    if distributed.rank() == 0 and not _lock(file):
        file.close()
        raise LightsegError(f"{folder}: this run goes on in another process: wait for it, or end that one first")
    return file


def release(claimed: IO[str]) -> None:
    """The run is over and has its record."""
    with contextlib.suppress(OSError):
        Path(claimed.name).unlink(missing_ok=True)
    claimed.close()


def is_running(folder: Path) -> bool:
    """Whether another process has claimed the folder."""
    try:
        with open(folder / CLAIM, "r+") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file: IO[str]) -> bool:
    """True where locks cannot be had, too."""
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True


# -- what there is of a run --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What one configuration has left so far: the newest of each.

    finished: (folder, record); unfinished: folders without a record that no process works on, the newest first;
    running: one on which one does.
    """

    finished: tuple[Path, dict[str, Any]] | None
    unfinished: list[Path]
    running: Path | None

    @property
    def resumable(self) -> Path | None:
        return next((folder for folder in self.unfinished if last_checkpoint(folder).is_file()), None)


def find(config: dict[str, Any]) -> Found:
    """Look for runs of this configuration and seed below its `runs_dir`."""
    wanted, parent = identity(config), parent_of(config)
    finished, unfinished, running = None, [], None
    # the backbone of mode=test is the checkpoint's
    parents = [parent] if config["backbone"] is not None else [p for p in parent.parent.glob("*") if p.is_dir()]
    folders = sorted((f for p in parents if p.is_dir() for f in p.iterdir() if f.is_dir()), reverse=True)
    for folder in folders:
        content = read_record(folder)
        if content is not None:
            # a record of another schema is somebody's result, though not one to stand in this sweep
            if finished is None and content.get("schema") == record.SCHEMA and _same(content.get("config"), wanted):
                finished = (folder, content)
        elif _same(_read_config(folder), wanted):
            if is_running(folder):
                running = running or folder
            else:
                unfinished.append(folder)
    return Found(finished, unfinished, running)


def remove_dead(folder: Path) -> None:
    """An unfinished run with nothing to go on with: no epoch was finished."""
    if not last_checkpoint(folder).is_file() and not (folder / "record.json").exists():
        shutil.rmtree(folder, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run; None for one that is not there or not whole."""
    try:
        content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    parts = ("metrics", "config", "cost")
    whole = isinstance(content, dict) and all(isinstance(content.get(part), dict) for part in parts)
    return content if whole else None


def _read_config(folder: Path) -> Any:
    with contextlib.suppress(Exception):  # whatever is wrong with it, it is no run of ours
        return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return None


def _same(config: Any, wanted: str) -> bool:
    try:
        return identity(config) == wanted
    except (TypeError, KeyError, ValueError):
        return False
