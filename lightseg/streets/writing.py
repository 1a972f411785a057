"""Scenes on disk in Cityscapes' raw layout, made by several processes and shown to the world all at once.

root/mini.json
root/leftImg8bit/{train,val}/mini/mini_000000_000000_leftImg8bit.png
root/gtFine/{train,val}/mini/mini_000000_000000_gtFine_{labelIds,instanceIds}.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import DataError
from lightseg.streets.canvas import HAVE_INSTANCES, LABEL_IDS
from lightseg.streets.making import SPLITS, draw_in_processes, make_once, scene_seed, write_png
from lightseg.streets.scene import Scene, render

VERSION = 2  # of the world: raise it with every change to what a seed looks like
# The evaluated classes that occur; the others of Cityscapes' 19 (wall, fence, train, motorcycle) never do.
CLASSES = (
    "road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person",
    "rider", "car", "truck", "bus", "bicycle",
)  # fmt: skip


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

    The files depend on the settings alone, not on `workers`. The set appears whole or not at all; a `root` with a set
    of other settings, or with something else in it, is left alone: DataError.
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

    def draw(folder: Path) -> None:
        for split in SPLITS:
            for kind in ("leftImg8bit", "gtFine"):
                (folder / kind / split / "mini").mkdir(parents=True)
        _draw_all(folder, settings, max(1, min(workers, train + val)))

    return make_once(root, settings, draw)


def write_share(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Draw every `workers`-th scene."""
    scenes = [(split, i) for split in SPLITS for i in range(settings[split])]
    for split, i in scenes[worker::workers]:
        scene = render(scene_seed(settings["seed"], split, i), settings["height"], settings["width"])
        write_scene(folder, split, i, scene)


def write_scene(folder: Path, split: str, index: int, scene: Scene) -> None:
    name = f"mini_{index:06d}_000000"
    labels = folder / "gtFine" / split / "mini" / f"{name}_gtFine"
    write_png(folder / "leftImg8bit" / split / "mini" / f"{name}_leftImg8bit.png", scene.image[..., ::-1])
    write_png(Path(f"{labels}_labelIds.png"), scene.label_ids)
    write_png(Path(f"{labels}_instanceIds.png"), instance_ids(scene))


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


def _draw_all(folder: Path, settings: dict[str, Any], workers: int) -> None:
    if workers == 1:
        write_share(folder, settings, 0, 1)
    else:
        draw_in_processes(folder, settings, workers)
