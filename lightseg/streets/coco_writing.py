"""Scenes of the procedural world as COCO data: the embedded data sets for detection and pose.

root/mini.json
root/images/{train,val}/000000000001.png
root/annotations/{instances,person_keypoints}_{train,val}.json

A box is that of the pixels that can be seen, its area their number. Things of which little is left to see (fewer than
20 pixels, less than a tenth of their own box, or a box narrower than 3 pixels) are in the picture without a box.

The set for pose has larger pictures with more people in them, and as in COCO, points are only given of people of whom
enough can be seen: the others have a box and no keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import DataError
from lightseg.streets.making import SPLITS, draw_in_processes, make_once, scene_seed, write_png
from lightseg.streets.scene import Scene, SceneObject, render
from lightseg.streets.skeleton import JOINTS
from lightseg.streets.writing import VERSION

# COCO's ids for what COCO has, ids that COCO leaves free for the two that it has not: with gaps, as there.
CATEGORIES = {
    "person": 1, "bicycle": 2, "car": 3, "bus": 6, "truck": 8, "traffic light": 10, "traffic sign": 12, "rider": 26,
}  # fmt: skip
SUPERCATEGORIES = {"person": "person", "rider": "person", "traffic light": "outdoor", "traffic sign": "outdoor"}
SKELETON = [  # COCO's, counted from 1
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9], [8, 10], [9, 11],
    [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]  # fmt: skip
BOXES = 1  # raise it with every change to what of a world is written down
LEAST_AREA, LEAST_SIDE, LEAST_SEEN = 20, 3, 0.1  # px, px, share of the box
PERSONS = 1  # raise it with every change to the three below
PASSERS = 12  # more people than in other scenes
POSE_AREA, POSE_POINTS = 32**2, 6  # px (COCO's border of small things) and points seen: with less, none are given


def write_coco(
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
    return _write_set(root, seed, train, val, height, width, workers, {})


def write_persons(
    root: str | Path,
    *,
    seed: int = 0,
    train: int = 230,
    val: int = 38,
    height: int = 256,
    width: int = 512,
    workers: int = 2,
) -> Path:
    """As `write_coco`, for pose. `train` and `val` count pictures; each has about seven people with keypoints."""
    return _write_set(root, seed, train, val, height, width, workers, {"persons": PERSONS})


def _write_set(
    root: str | Path, seed: int, train: int, val: int, height: int, width: int, workers: int, kind: dict[str, int]
) -> Path:
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "coco",
        "boxes": BOXES, "seed": seed, "train": train, "val": val, "height": height, "width": width, **kind,
    }  # fmt: skip
    if min(train, val) < 1 or seed < 0 or min(height, width) < 32:
        raise DataError(
            "a mini data set needs a picture in each split, pictures of at least 32 x 32 and a seed of at least 0, "
            f"got seed={seed}, train={train}, val={val}, height={height}, width={width}"
        )

    def draw(folder: Path) -> None:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
        (folder / "annotations").mkdir()
        if workers == 1:
            write_coco_share(folder, settings, 0, 1)
        else:
            draw_in_processes(folder, settings, max(1, min(workers, train + val)))
        _join_shares(folder, settings)

    return make_once(root, settings, draw)


def write_coco_share(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Draw every `workers`-th scene and note what is in it."""
    scenes = [(split, i) for split in SPLITS for i in range(settings[split])]
    for_pose = "persons" in settings
    notes = []
    for split, i in scenes[worker::workers]:
        seed, passers = scene_seed(settings["seed"], split, i), PASSERS if for_pose else 0
        scene = render(seed, settings["height"], settings["width"], passers)
        write_png(folder / "images" / split / file_name(split, i), scene.image[..., ::-1])
        described = [describe(scene, thing) for thing in boxed_things(scene)]
        if for_pose:
            described = [without_hidden_points(note) for note in described]
        notes.append([split, i, described])
    (folder / f"share_{worker}.json").write_text(json.dumps(notes))


def image_id(split: str, index: int) -> int:
    """As in COCO: not in one row, and no id in both splits."""
    return 3 * index + 1 + SPLITS.index(split)


def file_name(split: str, index: int) -> str:
    return f"{image_id(split, index):012d}.png"


def boxed_things(scene: Scene) -> list[SceneObject]:
    """Of the classes, what can be seen well enough to ask for a box."""
    kept = []
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box_xyxy
        area = np.count_nonzero(scene.mask(thing))
        box = (x1 - x0) * (y1 - y0)
        clear = min(x1 - x0, y1 - y0) >= LEAST_SIDE and area >= max(LEAST_AREA, LEAST_SEEN * box)
        if thing.name in CATEGORIES and clear:
            kept.append(thing)
    return kept


def describe(scene: Scene, thing: SceneObject) -> dict[str, Any]:
    """An annotation without its ids; with keypoints where the world has them."""
    x0, y0, x1, y1 = thing.box_xyxy
    note: dict[str, Any] = {
        "category": thing.name,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(np.count_nonzero(scene.mask(thing))),
    }
    if thing.keypoints_xy is not None and thing.visible is not None:
        points = []
        for (x, y), visible in zip(thing.keypoints_xy.tolist(), thing.visible.tolist(), strict=True):
            points += [round(x, 1), round(y, 1), visible] if visible else [0, 0, 0]
        note |= {"num_keypoints": int((thing.visible > 0).sum()), "keypoints": points}
    return note


def without_hidden_points(note: dict[str, Any]) -> dict[str, Any]:
    """The annotation, its keypoints taken back where too little of the person can be seen."""
    points = note.get("keypoints", [])
    if "keypoints" in note and (note["area"] < POSE_AREA or points[2::3].count(2) < POSE_POINTS):
        note = {**note, "num_keypoints": 0, "keypoints": [0] * len(points)}
    return note


def _join_shares(folder: Path, settings: dict[str, Any]) -> None:
    notes = []
    for share in folder.glob("share_*.json"):
        notes += json.loads(share.read_text())
        share.unlink()
    for split in SPLITS:
        images, things = [], []
        for index, described in sorted(note[1:] for note in notes if note[0] == split):
            where = {"height": settings["height"], "width": settings["width"]}
            images.append({"id": image_id(split, index), "file_name": file_name(split, index), **where})
            things += [(image_id(split, index), thing) for thing in described]
        boxes, people = [], []
        for number, (image, thing) in enumerate(things, start=1):
            ids = {"id": number, "image_id": image}
            shared = {"bbox": thing["bbox"], "area": thing["area"], "iscrowd": 0}
            boxes.append({**ids, "category_id": CATEGORIES[thing["category"]], **shared})
            if "keypoints" in thing:  # riders are persons here, as in COCO
                points = {key: thing[key] for key in ("num_keypoints", "keypoints")}
                people.append({**ids, "category_id": CATEGORIES["person"], **shared, **points})
        categories = [
            {"supercategory": SUPERCATEGORIES.get(name, "vehicle"), "id": number, "name": name}
            for name, number in CATEGORIES.items()
        ]
        person = {**categories[0], "keypoints": list(JOINTS), "skeleton": SKELETON}
        _write(folder / f"annotations/instances_{split}.json", images, boxes, categories)
        _write(folder / f"annotations/person_keypoints_{split}.json", images, people, [person])


def _write(path: Path, images: Sequence[dict], annotations: Sequence[dict], categories: Sequence[dict]) -> None:
    info = {"description": "street scenes of lightseg.streets", "version": str(VERSION)}
    content = {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
