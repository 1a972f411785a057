"""Labels of CVAT: an XML file of its format "CVAT for images 1.1", which is read element by element.

    root/annotations.xml    root/images/0001.jpg

Boxes, polygons and ellipses are objects; skeletons are objects with keypoints. Shapes of type `points` are the
keypoints point_1, point_2, ... of the object with the same `group_id`, or of the image's only object. Occluded points
have visibility 1, points that are `outside` 0. Later shapes lie on earlier ones, by their z_order.

Source: docs.cvat.ai/docs/manual/advanced/formats/format-cvat.
"""

import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from lightseg.data.datasets.label_files import read_xml
from lightseg.data.datasets.labeled import (
    LabeledImage,
    LabeledObject,
    Labels,
    dataset_of,
    fill_sizes,
    find_image,
    split_entry,
)
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError

_SHAPES = ("box", "polygon", "points", "skeleton", "ellipse", "polyline", "cuboid", "mask")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options."""
    return dataset_of(read_labels, options, split, transform)


def read_labels(options: dict[str, Any], split: str) -> Labels:
    """A split's labels. `data.split.<split>` has the folder of the `images` and the file of the `annotations`."""
    entry = split_entry(options, split)
    if not isinstance(entry, dict):
        raise LightsegError(f"data.split.{split}={entry}: give {{images: images, annotations: annotations.xml}}")
    root = Path(options["root"])
    file, folder = root / str(entry["annotations"]), root / str(entry["images"])
    labels = Labels(file, others=[file], classes=[])
    names: list[str] = []
    points: list[str] = []
    for element in read_xml(file, "annotations", "label", "track", "image"):
        if element.tag == "track":
            raise DataError(f'{file}: made for a video (it has tracks): export it as "CVAT for images 1.1"')
        if element.tag == "label":
            name = (element.findtext("name") or "").strip()
            (points if element.findtext("parent") else names).append(name)
        elif element.tag == "image":
            labels.images.append(_read_image(element, folder, labels))
    labels.classes = list(dict.fromkeys(name for name in names if name))
    labels.keypoints = list(dict.fromkeys(points)) or None
    if not labels.classes:
        raise DataError(f"{file}: names no labels (task/labels/label/name in `meta`): export it again")
    fill_sizes(labels.images, oriented=options.get("boxes_on", "shown") == "shown")
    return labels


def _read_image(element: Element, folder: Path, labels: Labels) -> LabeledImage:
    name = element.get("name", "")
    candidates = [folder / name, labels.file.parent / name, folder / Path(name).name]
    path = find_image(candidates, labels.file, name)
    size = int(_number(element.get("height")) or 0), int(_number(element.get("width")) or 0)
    objects: list[tuple[float, str | None, LabeledObject]] = []
    points: list[tuple[str | None, LabeledObject]] = []
    for index, shape in enumerate(element, start=1):
        where = f"{labels.file} image {name!r} shape {index}"
        if shape.tag not in _SHAPES:  # <tag>: a label of the image
            continue
        labeled = LabeledObject(shape.get("label", ""), where)
        if not _fill(labeled, shape):
            labels.left_out.add(f"are a <{shape.tag}> that is no object, or lacks numbers", where)
        elif shape.tag == "points":
            points.append((shape.get("group_id"), labeled))
        else:
            objects.append((_number(shape.get("z_order")) or 0, shape.get("group_id"), labeled))
    for group, labeled in points:
        owners = [owner for _, own, owner in objects if own == group and group is not None]
        owners = owners or ([objects[0][2]] if len(objects) == 1 else [])
        if len(owners) == 1 and not owners[0].keypoints:
            owners[0].keypoints = labeled.keypoints
        else:
            objects.append((0, group, labeled))
    objects.sort(key=lambda entry: entry[0])
    return LabeledImage(path, size, [labeled for _, _, labeled in objects])


def _fill(labeled: LabeledObject, shape: Element) -> bool:
    """Set the object's box, polygon or keypoints. False for a shape that is none of them."""
    if shape.tag in ("box", "ellipse"):
        keys = ("xtl", "ytl", "xbr", "ybr") if shape.tag == "box" else ("cx", "cy", "rx", "ry")
        a, b, c, d = (_number(shape.get(key)) for key in keys)
        if a is None or b is None or c is None or d is None:
            return False
        if shape.tag == "box":
            labeled.box = [a, b, c, d]
        else:
            angles = [math.pi * step / 32 for step in range(64)]
            labeled.polygons = [[v for t in angles for v in (a + c * math.cos(t), b + d * math.sin(t))]]
    elif shape.tag == "skeleton":
        for point in shape.iterfind("points"):
            corners = _corners(point)
            if corners is None or len(corners) != 2:
                return False
            seen = 0.0 if point.get("outside") == "1" else 1.0 if point.get("occluded") == "1" else 2.0
            labeled.keypoints[point.get("label", "")] = (corners[0], corners[1], seen)
    elif shape.tag in ("polygon", "points"):
        corners = _corners(shape)
        if corners is None:
            return False
        if shape.tag == "polygon":
            labeled.polygons = [corners]
        else:
            seen = 1.0 if shape.get("occluded") == "1" else 2.0
            pairs = zip(corners[::2], corners[1::2], strict=True)
            labeled.keypoints = {f"point_{n}": (x, y, seen) for n, (x, y) in enumerate(pairs, start=1)}
    else:
        return False
    return True


def _corners(shape: Element) -> list[float] | None:
    """`points="x,y;x,y"` as x1, y1, x2, y2, ...; None where it has something else."""
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
    values = [_number(value) for pair in pairs for value in pair]
    if any(len(pair) != 2 for pair in pairs) or None in values:
        return None
    return [float(value or 0) for value in values]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
