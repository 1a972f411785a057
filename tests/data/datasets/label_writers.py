"""The same labeled images, written as each tool writes them."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from lightseg.config.compose import compose, plain
from lightseg.data.datasets.rle import polygon_mask

CLASSES = ["bird", "cat", "dog"]
POINTS = ["left_ear", "nose", "right_ear"]


@dataclass
class Object:
    """box: x1, y1, x2, y2 px. polygon: around it. points: x, y, visibility of POINTS."""

    label: str
    box: list[int]
    points: list[tuple[int, int, int]]
    polygon: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box
        cut_x, cut_y = (x2 - x1) // 4, (y2 - y1) // 4
        self.polygon = [
            [x1 + cut_x, y1], [x2 - cut_x, y1], [x2, y1 + cut_y], [x2, y2 - cut_y], [x2 - cut_x, y2], [x1 + cut_x, y2],
            [x1, y2 - cut_y], [x1, y1 + cut_y],
        ]  # fmt: skip


@dataclass
class Scene:
    name: str
    image: np.ndarray
    objects: list[Object]

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[:2]


def make_scenes(count: int, *, height: int = 64, width: int = 128, seed: int = 0) -> list[Scene]:
    """Objects do not overlap: each has a cell of its own. All classes occur; an image has no object."""
    rng = np.random.default_rng(seed)
    scenes = []
    for number in range(count):
        objects = []
        for cell in range(0 if number == 1 else int(rng.integers(1, 4))):
            left = cell * (width // 4)
            x1, y1 = left + int(rng.integers(0, 6)), int(rng.integers(0, 10))
            x2, y2 = left + int(rng.integers(18, width // 4)), int(rng.integers(30, height))
            seen = [(int(rng.integers(x1, x2)), int(rng.integers(y1, y2)), int(v)) for v in rng.integers(1, 3, 3)]
            objects.append(Object(CLASSES[(number + cell) % 3], [x1, y1, x2, y2], seen))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        scenes.append(Scene(f"clip{number % 4}_{number:03}", image, objects))
    return scenes


def options_of(root: Path, task: str, *overrides: str) -> dict[str, Any]:
    """The `data` options of a command line."""
    return {**deepcopy(_composed(task, overrides)), "root": str(root)}


@cache
def _composed(task: str, overrides: tuple[str, ...]) -> Any:
    return plain(compose([f"task={task}", "data.root=/", *overrides]))["data"]


def save_image(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), scene.image[..., ::-1])


def write_coco(
    root: Path, splits: dict[str, list[Scene]], *, boxes: bool = True, outlines: bool = True, rle: bool = False
) -> None:
    """boxes: with `bbox` and `area`. outlines: with `segmentation`, RLE or polygons."""
    for split, scenes in splits.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id, scene in enumerate(scenes, start=1):
            save_image(root / split / f"{scene.name}.png", scene)
            height, width = scene.size
            images.append({"id": image_id, "file_name": f"{scene.name}.png", "height": height, "width": width})
            for entry in scene.objects:
                x1, y1, x2, y2 = entry.box
                annotation: dict[str, Any] = {
                    "id": len(annotations) + 1, "image_id": image_id, "category_id": CLASSES.index(entry.label) + 1,
                    "iscrowd": 0, "keypoints": [v for point in entry.points for v in point],
                }  # fmt: skip
                if outlines:
                    polygon = [v for point in entry.polygon for v in point]
                    annotation["segmentation"] = _rle(entry, scene.size) if rle else [polygon]
                if boxes:
                    annotation |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                annotations.append(annotation)
        categories = [{"id": n, "name": name, "keypoints": POINTS} for n, name in enumerate(CLASSES, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))


def _rle(entry: Object, size: tuple[int, int]) -> dict[str, Any]:
    """Uncompressed: runs of 0 and 1, column by column."""
    flat = polygon_mask([[float(v) for point in entry.polygon for v in point]], size).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return {"size": list(size), "counts": [0, *counts] if flat[0] else counts}


def write_panoptic(root: Path, splits: dict[str, list[Scene]]) -> None:
    """Segments of the classes and of `background`, which is a category here."""
    names = ["background", *CLASSES]
    for split, scenes in splits.items():
        images, annotations = [], []
        for image_id, scene in enumerate(scenes, start=1):
            save_image(root / split / f"{scene.name}.png", scene)
            ids = np.full(scene.size, 70000, np.int64)
            segments = [{"id": 70000, "category_id": 1}]
            for number, entry in enumerate(scene.objects, start=1):
                ids[polygon_mask([[float(v) for point in entry.polygon for v in point]], scene.size)] = 300 * number
                segments.append({"id": 300 * number, "category_id": names.index(entry.label) + 1})
            colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
            (root / f"panoptic_{split}").mkdir(exist_ok=True)
            assert cv2.imwrite(str(root / f"panoptic_{split}" / f"{scene.name}.png"), colors[..., ::-1])
            images.append({"id": image_id, "file_name": f"{scene.name}.png"})
            file = f"{scene.name}.png"
            annotations.append({"image_id": image_id, "file_name": file, "segments_info": segments})
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"panoptic_{split}.json").write_text(json.dumps(content))


def write_yolo(
    root: Path, splits: dict[str, list[Scene]], *, kind: str = "box", roboflow: bool = False, names: Any = None
) -> None:
    """kind: box, polygon or pose."""
    for split, scenes in splits.items():
        folder = "valid" if roboflow and split == "val" else split
        images, labels = (root / (f"{folder}/{k}" if roboflow else f"{k}/{folder}") for k in ("images", "labels"))
        labels.mkdir(parents=True, exist_ok=True)
        for scene in scenes:
            save_image(images / f"{scene.name}.png", scene)
            height, width = scene.size
            lines = []
            for entry in scene.objects:
                x1, y1, x2, y2 = entry.box
                values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
                if kind == "polygon":
                    values = [v for x, y in entry.polygon for v in (x / width, y / height)]
                elif kind == "pose":
                    values += [v for x, y, seen in entry.points for v in (x / width, y / height, seen)]
                lines.append(" ".join(map(repr, [CLASSES.index(entry.label), *values])))
            if lines:
                (labels / f"{scene.name}.txt").write_text("\n".join(lines) + "\n")
    paths = {split: f"images/{split}" for split in splits}
    if roboflow:
        paths = {split: f"../{'valid' if split == 'val' else split}/images" for split in splits}
    content: dict[str, Any] = {**paths, "nc": len(CLASSES), "names": names or CLASSES}
    if kind == "pose":
        content |= {"kpt_shape": [3, 3], "flip_idx": [2, 1, 0], "kpt_names": {0: POINTS}}
    (root / "data.yaml").write_text(yaml.safe_dump(content))


def write_voc(root: Path, splits: dict[str, list[Scene]], *, beside: bool = False) -> None:
    """beside: XML files beside the images, in a folder a split, without ImageSets."""
    for split, scenes in splits.items():
        for scene in scenes:
            images, labels = (root / split,) * 2 if beside else (root / "JPEGImages", root / "Annotations")
            save_image(images / f"{scene.name}.png", scene)
            labels.mkdir(parents=True, exist_ok=True)
            (labels / f"{scene.name}.xml").write_text(voc_xml(scene))
        if not beside:
            for kind in ("Main", "Segmentation"):
                (root / "ImageSets" / kind).mkdir(parents=True, exist_ok=True)
                (root / "ImageSets" / kind / f"{split}.txt").write_text("".join(f"{s.name}\n" for s in scenes))


def voc_xml(scene: Scene, *, size: bool = True, difficult: int = 0) -> str:
    height, width = scene.size
    objects = "".join(
        f"<object><name>{entry.label}</name><difficult>{difficult}</difficult><bndbox><xmin>{entry.box[0] + 1}</xmin>"
        f"<ymin>{entry.box[1] + 1}</ymin><xmax>{entry.box[2]}</xmax><ymax>{entry.box[3]}</ymax></bndbox></object>"
        for entry in scene.objects
    )
    sides = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{scene.name}.png</filename>{sides}{objects}</annotation>"


def write_voc_masks(root: Path, splits: dict[str, list[Scene]]) -> None:
    write_voc(root, splits)
    (root / "SegmentationClass").mkdir()
    for scene in (scene for scenes in splits.values() for scene in scenes):
        assert cv2.imwrite(str(root / "SegmentationClass" / f"{scene.name}.png"), mask_of(scene))


def write_folder(root: Path, splits: dict[str, list[Scene]]) -> None:
    for split, scenes in splits.items():
        for scene in scenes:
            save_image(root / "images" / split / f"{scene.name}.png", scene)
            (root / "masks" / split).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / "masks" / split / f"{scene.name}.png"), mask_of(scene))


def mask_of(scene: Scene) -> np.ndarray:
    """0 background, then the classes; drawn independently of the readers."""
    mask = np.zeros(scene.size, np.uint8)
    for entry in scene.objects:
        polygon = [[float(v) for point in entry.polygon for v in point]]
        mask[polygon_mask(polygon, scene.size)] = CLASSES.index(entry.label) + 1
    return mask


def write_labelme(root: Path, splits: dict[str, list[Scene]], *, kind: str = "box") -> None:
    for split, scenes in splits.items():
        for scene in scenes:
            save_image(root / split / f"{scene.name}.png", scene)
            (root / split / f"{scene.name}.json").write_text(json.dumps(labelme_json(scene, kind)))


def labelme_json(scene: Scene, kind: str = "box") -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    for group, entry in enumerate(scene.objects):
        x1, y1, x2, y2 = entry.box
        points = entry.polygon if kind == "polygon" else [[x2, y1], [x1, y2]]
        shape = "polygon" if kind == "polygon" else "rectangle"
        shapes.append({"label": entry.label, "points": points, "group_id": group, "shape_type": shape, "flags": {}})
        for name, (x, y, seen) in zip(POINTS, entry.points, strict=True) if kind == "pose" else ():
            flags = {"occluded": seen == 1}
            shapes.append({"label": name, "points": [[x, y]], "group_id": group, "shape_type": "point", "flags": flags})
    height, width = scene.size
    return {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{scene.name}.png", "imageData": None,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip


def write_cvat(root: Path, splits: dict[str, list[Scene]], *, kind: str = "box") -> None:
    for split, scenes in splits.items():
        images = []
        for number, scene in enumerate(scenes):
            save_image(root / "images" / f"{scene.name}.png", scene)
            height, width = scene.size
            shapes = "".join(_cvat_shapes(entry, kind, group) for group, entry in enumerate(scene.objects, start=1))
            head = f'<image id="{number}" name="{scene.name}.png" width="{width}" height="{height}">'
            images.append(f"{head}{shapes}</image>")
        labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
        meta = f"<meta><task><labels>{labels}</labels></task></meta>"
        text = f"<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>"
        (root / f"{split}.xml").write_text(text)


def _cvat_shapes(entry: Object, kind: str, group: int) -> str:
    same = f'label="{entry.label}" occluded="0" z_order="0"'
    if kind == "polygon":
        points = ";".join(f"{x}.00,{y}.00" for x, y in entry.polygon)
        return f'<polygon {same} points="{points}"></polygon>'
    if kind == "pose":
        points = "".join(
            f'<points label="{name}" occluded="{int(seen == 1)}" outside="0" points="{x},{y}"></points>'
            for name, (x, y, seen) in zip(POINTS, entry.points, strict=True)
        )
        return f"<skeleton {same}>{points}</skeleton>"
    x1, y1, x2, y2 = entry.box
    return f'<box {same} group_id="{group}" xtl="{x1}.00" ytl="{y1}.00" xbr="{x2}.00" ybr="{y2}.00"></box>'
