"""Labels of LabelMe: a JSON file an image, with shapes in pixels.

    root/train/0001.jpg    root/train/0001.json

Rectangles, polygons and circles are objects. Points are keypoints named by their label, of the object with the same
`group_id`, or of the image's only object; they are occluded where their flag `occluded` is true. Images without a JSON
file are left out, and counted.

Source: github.com/wkentaro/labelme, its JSON files.
"""

import math
from pathlib import Path
from typing import Any

from lightseg.data.datasets.folder import IMAGE_ENDINGS
from lightseg.data.datasets.json_fields import load_json, number, table
from lightseg.data.datasets.labeled import (
    LabeledImage,
    LabeledObject,
    Labels,
    dataset_of,
    fill_sizes,
    find_image,
    split_entry,
)
from lightseg.data.io.walk import files_below
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError

_CORNERS = 64  # of the polygon of a circle


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options."""
    return dataset_of(read_labels, options, split, transform)


def read_labels(options: dict[str, Any], split: str) -> Labels:
    """A split's labels. `data.split.<split>` is a folder below data.root; `.` is data.root itself."""
    folder = Path(options["root"]) / str(split_entry(options, split))
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder of images and JSON files; set data.split, as in {{train: ., val: 0.2}}"
        )
    labels, files = Labels(folder), sorted(files_below(folder))
    for name in files:
        if name.lower().endswith(".json"):
            image = _read_image(folder / name, labels)
            if image is not None:
                labels.images.append(image)
    labeled = {image.path for image in labels.images}
    for name in files:
        if name.lower().endswith(IMAGE_ENDINGS) and folder / name not in labeled:
            labels.left_out.add("have no JSON file and are left out", name, of="images")
    fill_sizes(labels.images, oriented=options.get("boxes_on", "shown") == "shown")
    return labels


def _read_image(file: Path, labels: Labels) -> LabeledImage | None:
    """None for JSON of another kind."""
    content = load_json(file)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        labels.left_out.add("are no JSON of LabelMe (no list `shapes`) and are left out", str(file), of="files")
        return None
    named = str(content.get("imagePath") or "").replace("\\", "/")
    beside = [file.with_suffix(ending) for ending in IMAGE_ENDINGS]
    candidates = [file.parent / named, file.parent / named.rpartition("/")[2], *beside]
    path = find_image([path for path in candidates if path != file.parent], file, named)
    height, width = (int(number(content.get(f"image{side}")) or 0) for side in ("Height", "Width"))
    return LabeledImage(path, (height, width), _objects(shapes, file, labels), file)


def _objects(shapes: list[Any], file: Path, labels: Labels) -> list[LabeledObject]:
    objects: list[tuple[Any, LabeledObject]] = []
    points: list[tuple[Any, str, str, tuple[float, float, float]]] = []
    for index, shape in enumerate(shapes, start=1):
        where = f"{file} shape {index}"
        fields = shape if isinstance(shape, dict) else {}
        listed = fields.get("points")
        corners, good = table(listed if isinstance(listed, list) and listed else [[]], 2)
        label, kind, group = fields.get("label"), fields.get("shape_type") or "polygon", fields.get("group_id")
        if label is None or not good.all():
            labels.left_out.add("have no label, or no points of two numbers", where)
            continue
        labeled = LabeledObject(str(label), where)
        if kind == "point" and len(corners) == 1:
            occluded = isinstance(fields.get("flags"), dict) and bool(fields["flags"].get("occluded"))
            points.append((group, where, str(label), (*corners[0].tolist(), 1.0 if occluded else 2.0)))
            continue
        if kind == "rectangle" and len(corners) in (2, 4):
            labeled.box = [*corners.min(0).tolist(), *corners.max(0).tolist()]
        elif kind == "circle" and len(corners) == 2:
            labeled.polygons = [_circle(corners[0].tolist(), math.dist(*corners.tolist()))]
        elif kind in ("polygon", "rotation", "oriented_rectangle"):
            labeled.polygons = [corners.ravel().tolist()]
        else:
            labels.left_out.add(f"are of type {kind!r}, which is no object", where)
            continue
        objects.append((group, labeled))
    for group, where, label, point in points:
        owners = [labeled for own, labeled in objects if own == group and group is not None]
        owners = owners or ([objects[0][1]] if len(objects) == 1 else [])
        if len(owners) != 1 or label in owners[0].keypoints:
            labels.left_out.add("are points of no object: give it and its points a group_id of their own", where)
        else:
            owners[0].keypoints[label] = point
    return [labeled for _, labeled in objects]


def _circle(center: list[float], radius: float) -> list[float]:
    angles = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    return [v for a in angles for v in (center[0] + radius * math.cos(a), center[1] + radius * math.sin(a))]
