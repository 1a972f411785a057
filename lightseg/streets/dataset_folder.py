"""The folder of a generated data set: rendered by several worker processes and created atomically."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.errors import DataError

SPLITS = ("train", "val")


def create_once(root: Path, settings: dict[str, Any], fill: Callable[[Path], None]) -> Path:
    """Let `fill` write a folder that becomes `root`, unless the data set with these settings exists already.

    The data set is written to a temporary folder beside `root`, which is then renamed: it is complete or not there.
    Several processes may do so at once.

    Raises:
        DataError: `root` holds a data set with other settings, or other files. It is left unchanged.
    """
    if _exists(root, settings):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".tmp", dir=root.parent))
    try:
        fill(temporary)
        (temporary / "mini.json").write_text(json.dumps(settings, indent=2) + "\n")
        temporary.chmod(0o755)  # mkdtemp's folder is its owner's alone
        try:
            if root.is_dir() and not any(root.iterdir()):
                root.rmdir()  # Windows does not rename onto an empty folder
            temporary.rename(root)
        except OSError:
            if not _exists(root, settings):  # otherwise another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _python_path() -> dict[str, str]:
    """PYTHONPATH for a process that imports this lightseg. None for an installed lightseg: PYTHONPATH goes before the
    standard library, and old packages in site-packages have its names (`typing`, which cityscapesscripts brings)."""
    library = str(Path(__file__).parents[2])
    if library in (sysconfig.get_path("purelib"), *site.getsitepackages(), site.getusersitepackages()):
        return {}
    return {"PYTHONPATH": os.pathsep.join([library, *filter(None, [os.environ.get("PYTHONPATH")])])}


def render_in_processes(folder: Path, settings: dict[str, Any], workers: int) -> None:
    """Run `python -m lightseg.streets --worker` in `workers` processes, each of which writes its part to `folder`.

    Each is a fresh interpreter, because neither fork nor spawn is safe under torch and pytest. Its stdin is a pipe to
    which nobody writes. The pipe closes when this process ends, for whatever reason, and the workers end with it.

    Raises:
        DataError: a worker failed; the message is the last line of its stderr.
    """
    command = [sys.executable, "-m", "lightseg.streets", "--worker", str(folder), json.dumps(settings)]
    environment = {**os.environ, **_python_path(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes: list[subprocess.Popen] = []
    stdin, write_end = os.pipe()
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
                raise DataError(f"rendering the mini data set in {folder.parent} failed: {reason}")
    finally:
        os.close(stdin)
        os.close(write_end)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def scene_seed(seed: int, split: str, index: int) -> int:
    """The seed of a scene. Seeds of different data sets and splits are disjoint: sets are 2^32 apart, splits 2^31."""
    return (seed << 32) + (SPLITS.index(split) << 31) + index


def write_png(path: Path, pixels: np.ndarray) -> None:
    """`pixels`: [H, W] or BGR [H, W, 3], uint8 or uint16. Raises OSError when the disk is full."""
    # Level 1: a third of the default's time for a tenth more bytes.
    ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise DataError(f"OpenCV could not encode {path}")
    path.write_bytes(data.tobytes())  # cv2.imwrite does not report a full disk


def _exists(root: Path, settings: dict[str, Any]) -> bool:
    """Whether `root` holds the data set with these settings. DataError if it holds anything else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise DataError(f"{root} is a file: give data.root a folder for the mini data set")
    try:
        present = json.loads((root / "mini.json").read_text())
    except FileNotFoundError:
        if any(root.iterdir()):
            raise DataError(f"{root} is not empty and holds no mini data set: choose another data.root") from None
        return False
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root / 'mini.json'} cannot be read ({error}): delete {root} or choose another data.root"
        ) from error
    differing = [
        f"{key}={present.get(key) if isinstance(present, dict) else None} (now {value})"
        for key, value in settings.items()
        if not isinstance(present, dict) or present.get(key) != value
    ]
    if differing:
        raise DataError(
            f"{root} holds a mini data set with {', '.join(differing)}: delete that folder or choose another data.root"
        )
    return True


def _remove_leftovers(root: Path) -> None:
    """Remove the temporary folders that killed processes left an hour ago or earlier."""
    for folder in root.parent.glob(f".{root.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 3600:
                shutil.rmtree(folder, ignore_errors=True)
