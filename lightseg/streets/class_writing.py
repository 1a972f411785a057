"""Things of the procedural world cut out by class, as an ImageFolder: the embedded data set for classification.

root/mini.json
root/{train,val}/{bicycle,bus,car,person,rider,traffic_light,traffic_sign,truck}/000000.png

A cut is a square around a thing's visible pixels with a margin of 15 % of its longer side, so it shows what stands
behind and beside it too; it is taken where the thing is whole, not too small and not mostly covered. Riders and
bicycles are cut out of each other's company as they are: what the square is centred on decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.errors import DataError
from lightseg.streets.making import SPLITS, draw_in_processes, make_once, scene_seed, write_png
from lightseg.streets.scene import Scene, SceneObject, render
from lightseg.streets.writing import VERSION

CUTS = 1  # raise it with every change to what is cut out of a world
# Cityscapes' name -> folder
CLASS_FOLDERS = {
    "bicycle": "bicycle", "bus": "bus", "car": "car", "person": "person", "rider": "rider",
    "traffic light": "traffic_light", "traffic sign": "traffic_sign", "truck": "truck",
}  # fmt: skip
MARGIN = 0.15
LEAST_SEEN, MOST_COVERED = 0.3, 0.4  # shares of the box: a bicycle fills little of its own
TOGETHER = {"rider": "bicycle", "bicycle": "rider"}  # does not count as covered by it
LEAST_HEIGHT = 0.375  # of the picture's size: 24 of 64 px
SCENE = 2  # height of a scene as a multiple of the picture's size
SHARD = 25  # pictures a class that come from one sequence of scenes


def write_imagefolder(
    root: str | Path, *, seed: int = 0, train: int = 2000, val: int = 400, size: int = 64, workers: int = 2
) -> Path:
    """Make the data set at `root` unless it is there already, and return `root` as a Path.

    train, val: pictures of all classes together; each class has equally many, up to one. size: their side in pixels.
    The files depend on the settings alone, not on `workers`. The set appears whole or not at all; a `root` with a set
    of other settings, or with something else in it, is left alone: DataError.
    """
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "imagefolder",
        "cuts": CUTS, "seed": seed, "train": train, "val": val, "size": size,
    }  # fmt: skip
    classes = len(CLASS_FOLDERS)
    if min(train, val) < classes or seed < 0 or not 32 <= size <= 512:
        raise DataError(
            f"a mini data set for classification needs at least {classes} pictures a split (one a class), sizes of "
            f"32 to 512 and a seed of at least 0, got seed={seed}, train={train}, val={val}, size={size}"
        )

    def draw(folder: Path) -> None:
        for split in SPLITS:
            for name in CLASS_FOLDERS.values():
                (folder / split / name).mkdir(parents=True)
        if workers == 1:
            write_class_share(folder, settings, 0, 1)
        else:
            draw_in_processes(folder, settings, max(1, min(workers, len(_shards(settings)))))

    return make_once(root, settings, draw)


def write_class_share(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Draw every `workers`-th shard."""
    size = settings["size"]
    for split, shard, missing in _shards(settings)[worker::workers]:
        index = shard << 16  # of the scene
        while any(missing.values()):
            height = SCENE * size
            scene = render(scene_seed(settings["seed"], split, index), height, 2 * height)
            for thing in whole_things(scene, LEAST_HEIGHT * size):
                if missing[thing.name]:
                    missing[thing.name] -= 1
                    number = shard * SHARD + missing[thing.name]
                    path = folder / split / CLASS_FOLDERS[thing.name] / f"{number:06d}.png"
                    write_png(path, cut_out(scene, thing, size)[..., ::-1])
            index += 1


def whole_things(scene: Scene, least_height: float) -> Iterator[SceneObject]:
    """What can be seen well enough to be told what it is."""
    height, width = scene.instances.shape
    names = {thing.instance: thing.name for thing in scene.objects}
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box_xyxy
        if y1 - y0 < least_height or min(x0, y0) == 0 or x1 == width or y1 == height:
            continue
        box = scene.instances[y0:y1, x0:x1]
        counts = np.bincount(box.ravel(), minlength=256)
        companion = TOGETHER.get(thing.name)
        covered = sum(counts[i] for i, name in names.items() if i != thing.instance and name != companion)
        if counts[thing.instance] >= LEAST_SEEN * box.size and covered <= MOST_COVERED * box.size:
            yield thing


def cut_out(scene: Scene, thing: SceneObject, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3]: the square around the thing, moved inwards where it would leave the scene."""
    height, width = scene.instances.shape
    x0, y0, x1, y1 = thing.box_xyxy
    side = min(height, round(max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN)))
    left = min(max(0, (x0 + x1 - side) // 2), width - side)
    top = min(max(0, (y0 + y1 - side) // 2), height - side)
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(scene.image[top : top + side, left : left + side], (size, size), interpolation=how)


def _shards(settings: dict[str, Any]) -> list[tuple[str, int, dict[str, int]]]:
    """(split, number, pictures a class); each has its own scenes, so any process can draw any of them."""
    shards = []
    for split in SPLITS:
        share, more = divmod(settings[split], len(CLASS_FOLDERS))
        wanted = {name: share + (i < more) for i, name in enumerate(CLASS_FOLDERS)}
        for number in range(-(-max(wanted.values()) // SHARD)):
            quota = {name: min(max(0, count - number * SHARD), SHARD) for name, count in wanted.items()}
            shards.append((split, number, quota))
    return shards
