"""Scenes on disk in Cityscapes' raw layout, made by several processes and shown to the world all at once.

root/mini.json
root/leftImg8bit/{train,val}/mini/mini_000000_000000_leftImg8bit.png
root/gtFine/{train,val}/mini/mini_000000_000000_gtFine_{labelIds,instanceIds}.png
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.data.mini.canvas import HAVE_INSTANCES, LABEL_IDS
from lightseg.data.mini.scene import Scene, render
from lightseg.errors import DataError

VERSION = 2  # of the world: raise it with every change to what a seed looks like
# The evaluated classes that occur; the others of Cityscapes' 19 (wall, fence, train, motorcycle) never do.
CLASSES = (
    "road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person",
    "rider", "car", "truck", "bus", "bicycle",
)  # fmt: skip
SPLITS = ("train", "val")


def write_cityscapes(
    root: str | Path,
    *,
    seed: int = 0,
    train: int = 400,
    val: int = 80,
    height: int = 128,
    width: int = 256,
    workers: int = 2,
) -> Path:
    """Make the data set at `root` unless it is there already, and return `root` as a Path.

    The files depend on the settings alone, not on `workers`. The set appears whole or not at all: it is drawn in a
    folder beside `root` and renamed, and several processes may do so at once. A `root` with a set of other
    settings, or with something else in it, is left alone: DataError.
    """
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "cityscapes",
        "seed": seed, "train": train, "val": val, "height": height, "width": width,
    }  # fmt: skip
    if train < 0 or val < 0 or train + val == 0 or seed < 0 or min(height, width) < 32:
        raise DataError(
            "a mini data set needs pictures of at least 32 x 32 and a seed of at least 0, "
            f"got seed={seed}, train={train}, val={val}, height={height}, width={width}"
        )
    if _is_there(root, settings):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".tmp", dir=root.parent))
    try:
        for split in SPLITS:
            for kind in ("leftImg8bit", "gtFine"):
                (temporary / kind / split / "mini").mkdir(parents=True)
        _draw_all(temporary, settings, max(1, min(workers, train + val)))
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


def write_share(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Draw every `workers`-th scene, and stop when the process that asked for them is gone."""
    parent = os.getppid()
    scenes = [(split, i) for split in SPLITS for i in range(settings[split])]
    for split, i in scenes[worker::workers]:
        if os.getppid() != parent:
            return
        scene = render(scene_seed(settings["seed"], split, i), settings["height"], settings["width"])
        write_scene(folder, split, i, scene)


def scene_seed(seed: int, split: str, index: int) -> int:
    """Seeds of different sets and splits never meet: sets are 2^32 apart, splits 2^31."""
    return (seed << 32) + (SPLITS.index(split) << 31) + index


def write_scene(folder: Path, split: str, index: int, scene: Scene) -> None:
    name = f"mini_{index:06d}_000000"
    labels = folder / "gtFine" / split / "mini" / f"{name}_gtFine"
    _write_png(folder / "leftImg8bit" / split / "mini" / f"{name}_leftImg8bit.png", scene.image[..., ::-1])
    _write_png(Path(f"{labels}_labelIds.png"), scene.label_ids)
    _write_png(Path(f"{labels}_instanceIds.png"), instance_ids(scene))


def instance_ids(scene: Scene) -> np.ndarray:
    """uint16 [H, W] as in Cityscapes: labelId * 1000 + n for things, the labelId itself for the rest."""
    ids = scene.label_ids.astype(np.uint16)
    counts: dict[str, int] = {}
    for thing in scene.objects:
        if thing.name in HAVE_INSTANCES:
            n = counts.get(thing.name, 0)
            ids[scene.mask(thing)] = LABEL_IDS[thing.name] * 1000 + n
            counts[thing.name] = n + 1
    return ids


def _write_png(path: Path, pixels: np.ndarray) -> None:
    # Level 1: a third of the default's time for a tenth more bytes.
    ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise DataError(f"OpenCV could not encode {path}")
    path.write_bytes(data.tobytes())  # unlike cv2.imwrite, this raises when the disk is full


def _draw_all(folder: Path, settings: dict[str, Any], workers: int) -> None:
    """Fresh interpreters, this one's own threads and `__main__` left out of it: neither fork nor spawn is safe under
    torch and pytest.
    """
    if workers == 1:
        write_share(folder, settings, 0, 1)
        return
    command = [sys.executable, "-m", "lightseg.data.mini", "--share", str(folder), json.dumps(settings)]
    path = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes: list[subprocess.Popen] = []
    try:
        for worker in range(workers):
            processes.append(
                subprocess.Popen(
                    [*command, str(worker), str(workers)],
                    env=environment,
                    stderr=subprocess.PIPE,
                    stdin=subprocess.DEVNULL,
                    text=True,
                )
            )
        for process in processes:
            _, error = process.communicate()
            if process.returncode:
                reason = error.strip().splitlines()[-1] if error.strip() else f"exit code {process.returncode}"
                raise DataError(f"drawing the mini data set in {folder.parent} failed: {reason}")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


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
