"""Scenes on disk in Cityscapes' raw layout: the embedded data set for semantic segmentation.

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
from lightseg.streets.dataset_folder import SPLITS, create_once, render_in_processes, scene_seed, write_png
from lightseg.streets.scene import Scene, render

VERSION = 2  # of the renderer: raise it with every change to the scene of a seed
# The evaluated classes that occur. The other four of Cityscapes' 19 (wall, fence, train, motorcycle) never do.
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
    """Write the data set to `root` unless it exists already, and return `root` as a Path.

    The files depend on the settings alone, not on `workers`. The data set is complete or not there.

    Args:
        train, val: number of images of each split.
        height, width: of the images in pixels, at least 32.
        workers: processes that render.

    Raises:
        DataError: impossible settings, or a `root` with a data set of other settings or other files, left unchanged.
    """
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "cityscapes",
        "seed": seed, "train": train, "val": val, "height": height, "width": width,
    }  # fmt: skip
    if train < 0 or val < 0 or train + val == 0 or seed < 0 or min(height, width) < 32:
        raise DataError(
            "a mini data set needs images of at least 32 x 32 and a seed of at least 0, "
            f"got seed={seed}, train={train}, val={val}, height={height}, width={width}"
        )

    def fill(folder: Path) -> None:
        for split in SPLITS:
            for kind in ("leftImg8bit", "gtFine"):
                (folder / kind / split / "mini").mkdir(parents=True)
        _render_all(folder, settings, max(1, min(workers, train + val)))

    return create_once(root, settings, fill)


def write_cityscapes_part(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Render every `workers`-th scene, from scene number `worker` on."""
    scenes = [(split, i) for split in SPLITS for i in range(settings[split])]
    for split, i in scenes[worker::workers]:
        scene = render(scene_seed(settings["seed"], split, i), settings["height"], settings["width"])
        write_scene(folder, split, i, scene)


def write_scene(folder: Path, split: str, index: int, scene: Scene) -> None:
    """Write image, labelIds and instanceIds of a scene as PNG."""
    name = f"mini_{index:06d}_000000"
    labels = folder / "gtFine" / split / "mini" / f"{name}_gtFine"
    write_png(folder / "leftImg8bit" / split / "mini" / f"{name}_leftImg8bit.png", scene.image[..., ::-1])
    write_png(Path(f"{labels}_labelIds.png"), scene.label_ids)
    write_png(Path(f"{labels}_instanceIds.png"), instance_ids(scene))


def instance_ids(scene: Scene) -> np.ndarray:
    """uint16 [H, W] as in Cityscapes: labelId * 1000 + n for classes with instances, the labelId for all others."""
    ids = scene.label_ids.astype(np.uint16)
    counts: dict[str, int] = {}
    for thing in scene.objects:
        if thing.name in HAVE_INSTANCES:
            n = counts.get(thing.name, 0)
            ids[scene.mask(thing)] = LABEL_IDS[thing.name] * 1000 + n
            counts[thing.name] = n + 1
    return ids


def _render_all(folder: Path, settings: dict[str, Any], workers: int) -> None:
    if workers == 1:
        write_cityscapes_part(folder, settings, 0, 1)
    else:
        render_in_processes(folder, settings, workers)
