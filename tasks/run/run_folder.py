"""Run folders: `<runs_dir>/<task>/<data>/<backbone>/<time>`. Imports no torch: sweeps read many folders."""

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
except ImportError:  # Windows: a run in progress is not noticed by others
    fcntl = None  # type: ignore[assignment]

CLAIM = ".running"
ACTIVE = "{}: this run is active in another process: wait for it, or end that process first"


def parent_of(config: dict[str, Any]) -> Path:
    """The parent of the run folders of this task, data and backbone."""
    name = Path(str(config["backbone"]))
    # an architecture file without its suffix; in other names a dot is part of the name
    backbone = (name.stem if catalog.is_arch(str(name)) else name.name).replace(":", "_") or "backbone"
    return Path(config["runs_dir"]) / config["task"] / config["data"]["name"] / backbone


def run_folder(config: dict[str, Any]) -> Path:
    """Create a new run folder, or return the one that is resumed."""
    if config["resume"] is not None:
        folder = Path(config["resume"])
        if not last_checkpoint(folder).is_file():
            raise LightsegError(
                f"resume={folder}: it has no checkpoints/last.ckpt (no epoch was finished); start a new run"
            )
        return folder
    parent, stamp = parent_of(config), datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):  # runs may start within the same second
        folder = parent / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise LightsegError(f"runs_dir={config['runs_dir']}: cannot create {folder}: {error.strerror}") from error
    raise LightsegError(f"{parent} has too many runs of this second: try again")


def last_checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def save_config(config: dict[str, Any], folder: Path) -> None:
    """Write `config.yaml` of the run, in its first process. A resumed run replaces it."""
    if distributed.rank():
        return
    try:
        write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise LightsegError(f"cannot write {folder / 'config.yaml'}: {error.strerror}") from error


# -- claim of a folder by a running process ----------------------------------------------------------------------------


def claim(folder: Path) -> IO[str]:
    """Mark the folder as used by a running process, until the file is closed or the process ends.

    It is a POSIX lock, which data loader workers do not inherit. Only the first process of a run takes it.
    """
    try:
        file = open(folder / CLAIM, "a")  # noqa: SIM115  # stays open as long as the run lasts
    except OSError as error:
        raise LightsegError(f"cannot write {folder / CLAIM}: {error.strerror}") from error
    if distributed.rank() == 0 and not _lock(file):
        file.close()
        raise LightsegError(ACTIVE.format(folder))
    return file


def refuse_running(folder: Path) -> None:
    """Raise LightsegError, before data and model are made, if a run is active in another process."""
    if is_running(folder):
        raise LightsegError(ACTIVE.format(folder))


def release(claimed: IO[str]) -> None:
    """Release the claim of a run that has its record."""
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
    """Whether the lock was acquired. Also True where locks are not supported."""
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True


# -- existing runs of a configuration ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExistingRuns:
    """The runs of a configuration.

    finished: (folder, record) of the newest finished run. unfinished: folders without a record and without a running
    process, newest first. running: the newest folder with a running process.
    """

    finished: tuple[Path, dict[str, Any]] | None
    unfinished: list[Path]
    running: Path | None

    @property
    def resumable(self) -> Path | None:
        return next((folder for folder in self.unfinished if last_checkpoint(folder).is_file()), None)


def find_runs(config: dict[str, Any]) -> ExistingRuns:
    """Look for runs of this configuration and seed below its `runs_dir`."""
    run_identity, parent = identity(config), parent_of(config)
    finished, unfinished, running = None, [], None
    # in mode=test the backbone is the checkpoint's
    parents = [parent] if config["backbone"] is not None else [p for p in parent.parent.glob("*") if p.is_dir()]
    folders = sorted((f for p in parents if p.is_dir() for f in p.iterdir() if f.is_dir()), reverse=True)
    for folder in folders:
        content = read_record(folder)
        if content is not None:
            # a record of another schema is a finished run, but not a result for this sweep
            same_schema = content.get("schema") == record.SCHEMA
            if finished is None and same_schema and _same(content.get("config"), run_identity):
                finished = (folder, content)
        elif _same(_read_config(folder), run_identity):
            if is_running(folder):
                running = running or folder
            else:
                unfinished.append(folder)
    return ExistingRuns(finished, unfinished, running)


def remove_dead(folder: Path) -> None:
    """Remove an unfinished run that cannot be resumed, because no epoch was finished."""
    if not last_checkpoint(folder).is_file() and not (folder / "record.json").exists():
        shutil.rmtree(folder, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run. None for a missing or incomplete record."""
    try:
        content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    parts = ("metrics", "config", "cost")
    complete = isinstance(content, dict) and all(isinstance(content.get(part), dict) for part in parts)
    return content if complete else None


def _read_config(folder: Path) -> Any:
    with contextlib.suppress(Exception):  # an unreadable file is not a run
        return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return None


def _same(config: Any, run_identity: str) -> bool:
    try:
        return identity(config) == run_identity
    except (TypeError, KeyError, ValueError):
        return False
