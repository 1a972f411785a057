"""Labels as Ultralytics' YOLO reads them: a text file an image, a line an object, in shares of the image's sides.

    root/data.yaml                  names: [cat, dog], train: images/train, val: images/val
    root/images/train/0001.jpg      root/labels/train/0001.txt       (Ultralytics)
    root/train/images/0001.jpg      root/train/labels/0001.txt       (Roboflow)

A line is `class x y width height` (the center of a box), `class x1 y1 x2 y2 x3 y3 ...` (a polygon), or a box and
`x y visibility` of every keypoint, which `kpt_shape` in data.yaml announces. An image without a text file has no
object.

Source: docs.ultralytics.com/datasets. Written from the documents, without Ultralytics' code.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightseg.data.datasets.label_files import read_lines
from lightseg.data.datasets.labeled import (
    LabeledImage,
    LabeledObject,
    Labels,
    dataset_of,
    fill_sizes,
    split_entry,
)
from lightseg.data.datasets.yolo_yaml import (
    class_names,
    flipped_pairs,
    image_files,
    keypoint_names,
    keypoint_shape,
    read_data_yaml,
)
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError

_SLACK = 0.01  # by which rounded shares may leave 0..1


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options."""
    return dataset_of(read_labels, options, split, transform)


def read_labels(options: dict[str, Any], split: str) -> Labels:
    """A split's labels. `data.split.<split>` is a key of data.yaml, or a folder of images below data.root."""
    file, content = read_data_yaml(Path(options["root"]))
    names, points = class_names(content, file), keypoint_shape(content, file)
    labels = Labels(file, others=[file], classes=names, in_order=False)
    if points is not None:
        labels.keypoints = keypoint_names(content, points[0], file)
        labels.pairs = flipped_pairs(content, labels.keypoints, file)
    paths = image_files(content, str(split_entry(options, split)), file)
    labels.images = [LabeledImage(path, (0, 0), [], _label_file(path)) for path in paths]
    fill_sizes(labels.images, oriented=options.get("boxes_on", "shown") == "shown")
    for image in labels.images:
        assert image.file is not None
        if not image.file.is_file():
            image.file = None
            labels.left_out.add("have no label file and count as images without objects", str(image.path), of="images")
        elif all(image.size):
            image.objects = list(_objects(image, labels, points))
    return labels


def _objects(image: LabeledImage, labels: Labels, shape: tuple[int, int] | None) -> Iterator[LabeledObject]:
    """The lines of an image's label file. shape: number of keypoints, and numbers of each; None: no keypoints."""
    assert image.file is not None and labels.classes is not None
    height, width = image.size
    with_points = 4 + shape[0] * shape[1] if shape else 0
    for number, line in read_lines(image.file):
        where = f"{image.file} line {number}"
        try:
            label, *values = map(float, line.split())
        except ValueError:
            labels.left_out.add("are not numbers", where)
            continue
        if not label.is_integer() or not 0 <= label < len(labels.classes):
            raise DataError(
                f"{where}: class {label:g}, but {labels.file} names {len(labels.classes)} classes (0 to "
                f"{len(labels.classes) - 1}): make both agree"
            )
        has_points = bool(shape) and len(values) == with_points
        shares = values[:4] if has_points else values
        if not (len(shares) == 4 or (len(shares) >= 6 and len(shares) % 2 == 0)):
            labels.left_out.add(f"have {len(values) + 1} numbers, which no box, polygon or keypoints have", where)
        elif not all(-_SLACK <= share <= 1 + _SLACK for share in shares):  # also NaN
            labels.left_out.add("are not shares of the image's sides (0 to 1)", where)
        else:
            scaled = [share * (height if index % 2 else width) for index, share in enumerate(shares)]
            labeled = LabeledObject(labels.classes[int(label)], where)
            if len(shares) == 4:
                x, y, w, h = scaled
                labeled.box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            else:
                labeled.polygons = [scaled]
            if shape and has_points:
                names = labels.keypoints or []
                labeled.keypoints = dict(zip(names, _keypoints(values[4:], shape[1], width, height), strict=True))
            yield labeled


def _keypoints(values: list[float], step: int, width: int, height: int) -> Iterator[tuple[float, float, float]]:
    """Points without a visibility are visible, but for 0, 0."""
    for start in range(0, len(values), step):
        x, y, *visibility = values[start : start + step]
        seen = visibility[0] if visibility else 2.0 * bool(x or y)
        yield (x * width, y * height, seen) if math.isfinite(seen) and seen else (0.0, 0.0, 0.0)


def _label_file(image: Path) -> Path:
    """The text file of an image: with the last folder `images` called `labels`, or beside the image."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        file = Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")
        if file.is_file() or not image.with_suffix(".txt").is_file():
            return file
    return image.with_suffix(".txt")
