"""How a mini data set comes to be on disk: drawn by several processes, and shown to the world all at once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.errors import DataError

SPLITS = ("train", "val")


def make_once(root: Path, settings: dict[str, Any], draw: Callable[[Path], None]) -> Path:
    """Let `draw` fill a folder that becomes `root`, unless the set with these settings is there already.

    The set appears whole or not at all: it is drawn in a folder beside `root` and renamed, and several processes may
    do so at once. A `root` with a set of other settings, or with something else in it, is left alone: DataError.
    """
    if _is_there(root, settings):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".tmp", dir=root.parent))
    try:
        draw(temporary)
        (temporary / "mini.json").write_text(json.dumps(settings, indent=2) + "\n")
        temporary.chmod(0o755)  # mkdtemp's folder is its owner's alone
        try:
            if root.is_dir() and not any(root.iterdir()):
                root.rmdir()  # Windows does not rename onto an empty folder
            temporary.rename(root)
        except OSError:
            if not _is_there(root, settings):  # otherwise another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def draw_in_processes(folder: Path, settings: dict[str, Any], workers: int) -> None:
    """`python -m lightseg.streets --share` for each of several workers.

    Fresh interpreters, this one's own threads and `__main__` left out of it: neither fork nor spawn is safe under
    torch and pytest. Their stdin is a pipe that nobody writes to: it ends when this process does, however it ends, and
    they end with it.
    """
    command = [sys.executable, "-m", "lightseg.streets", "--share", str(folder), json.dumps(settings)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes: list[subprocess.Popen] = []
    stdin, alive = os.pipe()
    try:
        for worker in range(workers):
            processes.append(
                subprocess.Popen(
                    [*command, str(worker), str(workers)],
                    env=environment,
                    stderr=subprocess.PIPE,
                    stdin=stdin,
                    text=True,
                )
            )
        for process in processes:
            _, error = process.communicate()
            if process.returncode:
                reason = error.strip().splitlines()[-1] if error.strip() else f"exit code {process.returncode}"
                raise DataError(f"drawing the mini data set in {folder.parent} failed: {reason}")
    finally:
        os.close(stdin)
        os.close(alive)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def scene_seed(seed: int, split: str, index: int) -> int:
    """Seeds of different sets and splits never meet: sets are 2^32 apart, splits 2^31."""
    return (seed << 32) + (SPLITS.index(split) << 31) + index


def write_png(path: Path, pixels: np.ndarray) -> None:
    # Level 1: a third of the default's time for a tenth more bytes.
    ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise DataError(f"OpenCV could not encode {path}")
    path.write_bytes(data.tobytes())  # unlike cv2.imwrite, this raises when the disk is full


def _is_there(root: Path, settings: dict[str, Any]) -> bool:
    """Whether root holds the set with these settings; DataError if it holds anything else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise DataError(f"{root} is a file: give data.root a folder for the mini data set")
    try:
        found = json.loads((root / "mini.json").read_text())
    except FileNotFoundError:
        if any(root.iterdir()):
            raise DataError(f"{root} is not empty and holds no mini data set: choose another data.root") from None
        return False
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root / 'mini.json'} cannot be read ({error}): delete {root} or choose another data.root"
        ) from error
    differing = [
        f"{key}={found.get(key) if isinstance(found, dict) else None} (now {value})"
        for key, value in settings.items()
        if not isinstance(found, dict) or found.get(key) != value
    ]
    if differing:
        raise DataError(
            f"{root} holds a mini data set with {', '.join(differing)}: delete that folder or choose another data.root"
        )
    return True


def _remove_leftovers(root: Path) -> None:
    """Folders that killed runs left behind an hour ago or longer."""
    for folder in root.parent.glob(f".{root.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 3600:
                shutil.rmtree(folder, ignore_errors=True)
