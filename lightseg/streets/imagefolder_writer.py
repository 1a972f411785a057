"""Crops of the objects in rendered scenes as an ImageFolder: the embedded data set for classification.

root/mini.json
root/{train,val}/{bicycle,bus,car,person,rider,traffic_light,traffic_sign,truck}/000000.png

A crop is a square around the visible pixels of an object, with a margin of 15 % of its longer side, so it contains
background. Objects at the border of the scene, small objects and mostly covered objects are left out. Crops of riders
contain their bicycles and the other way round: the class is that of the object at the center.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.errors import DataError
from lightseg.streets.cityscapes_writer import VERSION
from lightseg.streets.dataset_folder import SPLITS, create_once, render_in_processes, scene_seed, write_png
from lightseg.streets.scene import Scene, SceneObject, render

CROP_VERSION = 1  # raise it with every change to the crops of a scene
# Cityscapes' name -> folder
CLASS_FOLDERS = {
    "bicycle": "bicycle", "bus": "bus", "car": "car", "person": "person", "rider": "rider",
    "traffic light": "traffic_light", "traffic sign": "traffic_sign", "truck": "truck",
}  # fmt: skip
MARGIN = 0.15
MIN_VISIBLE, MAX_COVERED = 0.3, 0.4  # fractions of the box; a bicycle fills little of its box
COMPANIONS = {"rider": "bicycle", "bicycle": "rider"}  # an object does not count as covered by its companion
MIN_HEIGHT = 0.375  # of an object, as a fraction of the image size: 24 of 64 px
SCENE_SCALE = 2  # height of a scene as a multiple of the image size
SHARD = 25  # images per class that come from one sequence of scenes


def write_imagefolder(
    root: str | Path, *, seed: int = 0, train: int = 2000, val: int = 400, size: int = 64, workers: int = 2
) -> Path:
    """Write the data set to `root` unless it exists already, and return `root` as a Path.

    The files depend on the settings alone, not on `workers`. The data set is complete or not there.

    Args:
        train, val: number of images of each split, all classes together. Class sizes differ by at most 1.
        size: side of the square images in pixels, 32 to 512.
        workers: processes that render.

    Raises:
        DataError: impossible settings, or a `root` with a data set of other settings or other files, left unchanged.
    """
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "imagefolder",
        "cuts": CROP_VERSION, "seed": seed, "train": train, "val": val, "size": size,
    }  # fmt: skip
    classes = len(CLASS_FOLDERS)
    if min(train, val) < classes or seed < 0 or not 32 <= size <= 512:
        raise DataError(
            f"a mini data set for classification needs at least {classes} images per split (one per class), sizes of "
            f"32 to 512 and a seed of at least 0, got seed={seed}, train={train}, val={val}, size={size}"
        )

    def fill(folder: Path) -> None:
        for split in SPLITS:
            for name in CLASS_FOLDERS.values():
                (folder / split / name).mkdir(parents=True)
        if workers == 1:
            write_imagefolder_part(folder, settings, 0, 1)
        else:
            render_in_processes(folder, settings, max(1, min(workers, len(_shards(settings)))))

    return create_once(root, settings, fill)


def write_imagefolder_part(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Render every `workers`-th shard, from shard number `worker` on."""
    size = settings["size"]
    for split, shard, missing in _shards(settings)[worker::workers]:
        index = shard << 16  # of the scene
        while any(missing.values()):
            height = SCENE_SCALE * size
            scene = render(scene_seed(settings["seed"], split, index), height, 2 * height)
            for thing in clear_objects(scene, MIN_HEIGHT * size):
                if missing[thing.name]:
                    missing[thing.name] -= 1
                    number = shard * SHARD + missing[thing.name]
                    path = folder / split / CLASS_FOLDERS[thing.name] / f"{number:06d}.png"
                    write_png(path, crop_object(scene, thing, size)[..., ::-1])
            index += 1


def clear_objects(scene: Scene, min_height: float) -> Iterator[SceneObject]:
    """The objects that can be recognized: at least `min_height` px high, inside the scene, not mostly covered."""
    height, width = scene.instances.shape
    names = {thing.instance: thing.name for thing in scene.objects}
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box_xyxy
        if y1 - y0 < min_height or min(x0, y0) == 0 or x1 == width or y1 == height:
            continue
        box = scene.instances[y0:y1, x0:x1]
        counts = np.bincount(box.ravel(), minlength=256)
        companion = COMPANIONS.get(thing.name)
        covered = sum(counts[i] for i, name in names.items() if i != thing.instance and name != companion)
        if counts[thing.instance] >= MIN_VISIBLE * box.size and covered <= MAX_COVERED * box.size:
            yield thing


def crop_object(scene: Scene, thing: SceneObject, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3]: the square around the object, moved inwards where it would leave the scene."""
    height, width = scene.instances.shape
    x0, y0, x1, y1 = thing.box_xyxy
    side = min(height, round(max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN)))
    left = min(max(0, (x0 + x1 - side) // 2), width - side)
    top = min(max(0, (y0 + y1 - side) // 2), height - side)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(scene.image[top : top + side, left : left + side], (size, size), interpolation=interpolation)


def _shards(settings: dict[str, Any]) -> list[tuple[str, int, dict[str, int]]]:
    """(split, number, images per class) of each shard. Shards share no scene, so any process can render any shard."""
    shards = []
    for split in SPLITS:
        per_class, remainder = divmod(settings[split], len(CLASS_FOLDERS))
        counts = {name: per_class + (i < remainder) for i, name in enumerate(CLASS_FOLDERS)}
        for number in range(-(-max(counts.values()) // SHARD)):
            quota = {name: min(max(0, count - number * SHARD), SHARD) for name, count in counts.items()}
            shards.append((split, number, quota))
    return shards
