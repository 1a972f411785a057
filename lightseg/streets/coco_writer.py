"""Scenes on disk in COCO's format: the embedded data sets for detection and pose.

root/mini.json
root/images/{train,val}/000000000001.png
root/annotations/{instances,person_keypoints}_{train,val}.json

A box encloses the visible pixels of an object, and its area is their number. Hardly visible objects are in the image
without a box: fewer than 20 visible pixels, fewer than a tenth of the box, or a box narrower than 3 pixels.

The data set for pose has larger images with more people. As in COCO, hardly visible people have a box and no keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import DataError
from lightseg.streets.cityscapes_writer import VERSION
from lightseg.streets.dataset_folder import SPLITS, create_once, render_in_processes, scene_seed, write_png
from lightseg.streets.scene import Scene, SceneObject, render
from lightseg.streets.skeleton import JOINTS

# COCO's category ids; traffic sign and rider, which COCO lacks, have ids that COCO leaves free. As in COCO, with gaps.
CATEGORIES = {
    "person": 1, "bicycle": 2, "car": 3, "bus": 6, "truck": 8, "traffic light": 10, "traffic sign": 12, "rider": 26,
}  # fmt: skip
SUPERCATEGORIES = {"person": "person", "rider": "person", "traffic light": "outdoor", "traffic sign": "outdoor"}
SKELETON = [  # COCO's, keypoints counted from 1
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9], [8, 10], [9, 11],
    [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]  # fmt: skip
BOX_VERSION = 1  # raise it with every change to the annotations of a scene
MIN_AREA, MIN_SIDE, MIN_VISIBLE = 20, 3, 0.1  # px, px, fraction of the box
POSE_VERSION = 1  # raise it with every change to the three below
EXTRA_PEOPLE = 12  # in scenes of the data set for pose
# Keypoints are annotated from this area (px, COCO's limit of small objects) and number of visible keypoints on.
MIN_POSE_AREA, MIN_POSE_KEYPOINTS = 32**2, 6


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
    """Write the data set for detection to `root` unless it exists already, and return `root` as a Path.

    The files depend on the settings alone, not on `workers`. The data set is complete or not there.

    Args:
        train, val: number of images of each split.
        height, width: of the images in pixels, at least 32.
        workers: processes that render.

    Raises:
        DataError: impossible settings, or a `root` with a data set of other settings or other files, left unchanged.
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
    """As `write_coco`, for pose. Each image has about seven people with keypoints."""
    return _write_set(root, seed, train, val, height, width, workers, {"persons": POSE_VERSION})


def _write_set(
    root: str | Path, seed: int, train: int, val: int, height: int, width: int, workers: int, extra: dict[str, int]
) -> Path:
    root = Path(root)
    settings = {
        "generator": "lightseg.data.mini", "version": VERSION, "layout": "coco",
        "boxes": BOX_VERSION, "seed": seed, "train": train, "val": val, "height": height, "width": width, **extra,
    }  # fmt: skip
    if min(train, val) < 1 or seed < 0 or min(height, width) < 32:
        raise DataError(
            "a mini data set needs an image in each split, images of at least 32 x 32 and a seed of at least 0, "
            f"got seed={seed}, train={train}, val={val}, height={height}, width={width}"
        )

    def fill(folder: Path) -> None:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
        (folder / "annotations").mkdir()
        if workers == 1:
            write_coco_part(folder, settings, 0, 1)
        else:
            render_in_processes(folder, settings, max(1, min(workers, train + val)))
        _merge_parts(folder, settings)

    return create_once(root, settings, fill)


def write_coco_part(folder: Path, settings: dict[str, Any], worker: int, workers: int) -> None:
    """Render every `workers`-th scene, from scene number `worker` on, and write their annotations to one JSON file."""
    scenes = [(split, i) for split in SPLITS for i in range(settings[split])]
    for_pose = "persons" in settings
    annotated = []
    for split, i in scenes[worker::workers]:
        seed, extra_people = scene_seed(settings["seed"], split, i), EXTRA_PEOPLE if for_pose else 0
        scene = render(seed, settings["height"], settings["width"], extra_people)
        write_png(folder / "images" / split / file_name(split, i), scene.image[..., ::-1])
        of_image = [annotate(scene, thing) for thing in boxed_objects(scene)]
        if for_pose:
            of_image = [drop_hidden_keypoints(annotation) for annotation in of_image]
        annotated.append([split, i, of_image])
    (folder / f"part_{worker}.json").write_text(json.dumps(annotated))


def image_id(split: str, index: int) -> int:
    """As in COCO, ids are not consecutive and no id is in both splits."""
    return 3 * index + 1 + SPLITS.index(split)


def file_name(split: str, index: int) -> str:
    return f"{image_id(split, index):012d}.png"


def boxed_objects(scene: Scene) -> list[SceneObject]:
    """The objects of CATEGORIES that are visible enough to have a box."""
    kept = []
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box_xyxy
        area = np.count_nonzero(scene.mask(thing))
        box = (x1 - x0) * (y1 - y0)
        clear = min(x1 - x0, y1 - y0) >= MIN_SIDE and area >= max(MIN_AREA, MIN_VISIBLE * box)
        if thing.name in CATEGORIES and clear:
            kept.append(thing)
    return kept


def annotate(scene: Scene, thing: SceneObject) -> dict[str, Any]:
    """The COCO annotation of an object without its ids; people have keypoints."""
    x0, y0, x1, y1 = thing.box_xyxy
    annotation: dict[str, Any] = {
        "category": thing.name,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(np.count_nonzero(scene.mask(thing))),
    }
    if thing.keypoints_xy is not None and thing.visible is not None:
        points = []
        for (x, y), visible in zip(thing.keypoints_xy.tolist(), thing.visible.tolist(), strict=True):
            points += [round(x, 1), round(y, 1), visible] if visible else [0, 0, 0]
        annotation |= {"num_keypoints": int((thing.visible > 0).sum()), "keypoints": points}
    return annotation


def drop_hidden_keypoints(annotation: dict[str, Any]) -> dict[str, Any]:
    """The annotation, with all keypoints set to 0 where too little of the person is visible."""
    points = annotation.get("keypoints", [])
    few = points[2::3].count(2) < MIN_POSE_KEYPOINTS
    if "keypoints" in annotation and (annotation["area"] < MIN_POSE_AREA or few):
        annotation = {**annotation, "num_keypoints": 0, "keypoints": [0] * len(points)}
    return annotation


def _merge_parts(folder: Path, settings: dict[str, Any]) -> None:
    """Write the annotation files of the splits from the parts of the workers, and remove the parts."""
    annotated = []
    for part in folder.glob("part_*.json"):
        annotated += json.loads(part.read_text())
        part.unlink()
    for split in SPLITS:
        images, objects = [], []
        for index, of_image in sorted(scene[1:] for scene in annotated if scene[0] == split):
            size = {"height": settings["height"], "width": settings["width"]}
            images.append({"id": image_id(split, index), "file_name": file_name(split, index), **size})
            objects += [(image_id(split, index), annotation) for annotation in of_image]
        boxes, people = [], []
        for number, (image, annotation) in enumerate(objects, start=1):
            ids = {"id": number, "image_id": image}
            shared = {"bbox": annotation["bbox"], "area": annotation["area"], "iscrowd": 0}
            boxes.append({**ids, "category_id": CATEGORIES[annotation["category"]], **shared})
            if "keypoints" in annotation:  # riders are persons in this file, as in COCO
                points = {key: annotation[key] for key in ("num_keypoints", "keypoints")}
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
