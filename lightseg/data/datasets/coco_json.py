"""COCO's annotation file as arrays, checked once, with a report of what was left out.

instances_train2017.json has 860,000 annotations; as Python dicts they would take gigabytes in every worker process.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_boxes import fill_boxes
from lightseg.data.datasets.json_fields import (
    Id,
    column,
    flags,
    id_number,
    id_numbers,
    indices_of,
    list_of,
    load_json,
    number,
    numbers,
    records,
    table,
    unique_ids,
)
from lightseg.errors import DataError
from lightseg.text import shorten

MAX_DETECTIONS = 100  # of an image and class that COCO's evaluation counts
ROUNDING = 1.0  # px; official boxes reach up to a hundredth of a pixel beyond the image
_PLACEHOLDER_SIDE = 4  # px: an area of exactly 1 is none where the box is larger than this times this
_LEAST_SHARE, _MOST_SHARE = 0.01, 1.5  # of the box's area that an object's area can have


@dataclass
class CocoAnnotations:
    """Images in the file's order; annotations grouped by image, and within an image in the file's order.

    starts: int64 [I + 1]; the annotations of image i are starts[i]:starts[i + 1].
    sizes: int64 [I, 2] height and width; 0 if not in the file.
    bbox: float64 [A, 4] x, y, width, height as in the file. boxes: float32 [A, 4] xyxy, clipped to the image.
    labels: int64 [A], indices of `category_ids`, which is sorted at first.
    rows: int64 [A], indices in the file's list of annotations. ids: of the file; None where there is no id.
    points: float64 [A, K, 3] x, y, visibility of keypoints, 0 where there are none; K = 0 unless they are read.
    labeled: whether the file has annotations, if only an empty list.
    left_out: the number of annotations that were left out for each reason, and its line of the report.
    report, notes: a line for everything that was left out or changed, and for everything else that is odd.
    """

    image_ids: list[Id]
    files: list[str]
    sizes: np.ndarray
    category_ids: list[Id]
    class_names: list[str]
    starts: np.ndarray
    bbox: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    area: np.ndarray = field(default_factory=lambda: np.zeros(0))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ids: list[int | None] = field(default_factory=list)
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))
    labeled: bool = True
    left_out: list[tuple[int, str]] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def image_names(self) -> list[str]:
        """The images' names without suffix, or with it if two were the same."""
        stems = [str(Path(file).with_suffix("")) for file in self.files]
        return stems if len(set(stems)) == len(stems) else self.files


def read_coco(path: Path, content: Any = None) -> CocoAnnotations:
    """The boxes of an instances or person_keypoints JSON. A file without the key `annotations` is one without labels.

    content: of the file, parsed. None: the file is read.

    `report` has a line for every kind of annotation that was left out or changed. Raises DataError, with the path, for
    a file that is not COCO, has no images or contradicts itself, and where no annotation can be used.
    """
    result = parse_coco(load_json(path) if content is None else content, path)
    counts = np.bincount(result.labels[~result.crowd], minlength=len(result.category_ids))
    absent = [name for name, count in zip(result.class_names, counts.tolist(), strict=True) if not count]
    if absent and result.labeled:
        result.report.append(f"{len(absent)} of {len(counts)} classes have no box: {shorten(absent)}")
    return result


def parse_coco(
    content: Any, path: Path, *, categories: list[dict] | None = None, num_points: int = 0
) -> CocoAnnotations:
    """Like `read_coco`, from the parsed JSON.

    categories: those to read; annotations of the others are left out. None: all.
    num_points: K, the keypoints that annotations may have. 0: keypoints are not read.
    """
    images, every_category = (records(content, key, path) for key in ("images", "categories"))
    labeled = "annotations" in content
    annotations = list_of(content, "annotations", path) if labeled else []
    if not images:
        raise DataError(f"{path}: `images` is empty: a data set needs at least one image")
    if not every_category:
        raise DataError(f"{path}: `categories` is empty: a detector needs at least one class")
    image_ids = unique_ids(column(images, "id", "images", path), "image", path)
    all_ids = unique_ids(column(every_category, "id", "categories", path), "category", path)
    chosen = [category["id"] for category in categories or every_category]
    ordered = sorted(
        (pair for pair in zip(all_ids, every_category, strict=True) if pair[1]["id"] in chosen),
        key=lambda pair: id_number(pair[0]) or 0,
    )
    result = CocoAnnotations(
        image_ids,
        _files(images, path),
        np.array([[_side(image, key, path) for key in ("height", "width")] for image in images], np.int64),
        [id_ for id_, _ in ordered],
        _names([category for _, category in ordered], path),
        np.zeros(len(images) + 1, np.int64),
        points=np.zeros((0, num_points, 3)),
        labeled=labeled,
    )
    if annotations:
        _fill(result, annotations, [id_ for id_ in all_ids if id_ not in result.category_ids], num_points, path)
    return result


def _fill(result: CocoAnnotations, entries: list[Any], others: list[Id], num_points: int, path: Path) -> None:
    count, report = len(entries), result.report
    objects = np.array([isinstance(annotation, dict) for annotation in entries])
    annotations: list[dict] = [annotation if isinstance(annotation, dict) else {} for annotation in entries]

    def values(key: str) -> list[Any]:
        return [annotation.get(key) for annotation in annotations]

    rows, made = fill_boxes(annotations)
    bbox, four_numbers = table(rows, 4)
    image = indices_of(values("image_id"), result.image_ids)
    categories = values("category_id")
    label = indices_of(categories, result.category_ids)
    other = indices_of(categories, others) >= 0 if others else np.zeros(count, bool)
    crowd, known_crowd = flags([annotation.get("iscrowd", 0) for annotation in annotations])
    points, whole = np.zeros((count, 0, 3)), np.ones(count, bool)
    if num_points:
        listed, whole = table([row or [0] * 3 * num_points for row in values("keypoints")], 3 * num_points)
        points = listed.reshape(count, num_points, 3)
    ids = id_numbers(values("id"))

    positive = (bbox[:, 2:] > 0).all(1)
    clipped, inside, beyond = clip_boxes(bbox, result.sizes[np.maximum(image, 0)])
    keep = np.ones(count, bool)
    for good, fault in (
        (objects, "are not objects with keys and values"),
        (~other, "are of other categories"),
        (image >= 0, "point to no image"),
        (label >= 0, "point to no category"),
        (four_numbers, "have no box of four numbers [x, y, width, height]"),
        (np.isfinite(bbox).all(1), "have a box with NaN or infinity"),
        (positive, "have a box of zero or negative size"),
        (inside, "have a box that lies wholly outside its image"),
        (known_crowd, "have an iscrowd that is not 0 or 1"),
        (whole, f"have keypoints that are not {num_points} times x, y, visibility"),
    ):
        bad = keep & ~good
        if bad.any():
            line = f"{bad.sum()} of {count} annotations {fault} and are left out, {_first(ids, bad)}"
            result.left_out.append((int(bad.sum()), line))
        keep &= good
    report += [line for _, line in result.left_out]
    if not keep.any():
        raise DataError(f"{path}: no annotation can be used ({max(result.left_out)[1]}): correct the file")
    if (keep & made).any():
        first = _first(ids, keep & made)
        report.append(f"{(keep & made).sum()} of {count} boxes are made from outlines or keypoints, {first}")
    if (keep & beyond).any():
        report.append(
            f"{(keep & beyond).sum()} of {count} boxes reach beyond their image and are clipped to it, "
            f"{_first(ids, keep & beyond)}"
        )
    repeated = count - len({id_ for id_ in ids if id_ is not None})
    if repeated:
        report.append(f"{repeated} of {count} annotations have no id of their own; all are kept and numbered anew")

    order = np.flatnonzero(keep)[np.argsort(image[keep], kind="stable")]
    result.starts = np.searchsorted(image[order], np.arange(len(result.image_ids) + 1))
    result.bbox, result.boxes = bbox[order], clipped[order].astype(np.float32)
    result.labels, result.crowd = label[order], crowd[order]
    result.rows, result.ids, result.points = order, [ids[row] for row in order.tolist()], points[order]
    result.area = _areas(values("area"), result, count)
    _note_boxes(result, image[order])


def _note_boxes(result: CocoAnnotations, image: np.ndarray) -> None:
    """Notes on repeated boxes and on images with more objects than COCO's evaluation counts. image: int64 [A]."""
    rows = np.ascontiguousarray(np.column_stack([image, result.labels, result.bbox]))
    repeated = len(rows) - len(np.unique(rows.view(f"V{rows.itemsize * rows.shape[1]}")))  # a row is a value
    if repeated:
        result.notes.append(f"{repeated} boxes occur more than once in an image, with the same class")
    groups = (image * len(result.category_ids) + result.labels)[~result.crowd]
    _, counts = np.unique(groups, return_counts=True)
    many = counts > MAX_DETECTIONS
    if many.any():
        result.notes.append(
            f"images hold more than {MAX_DETECTIONS} objects of a class ({many.sum()} times, at most {counts.max()}): "
            f"COCO's evaluation counts the {MAX_DETECTIONS} best boxes of a class in an image; see data.max_detections"
        )


def _areas(values: list[Any], result: CocoAnnotations, count: int) -> np.ndarray:
    """The areas of the kept annotations: width x height of the box where the file has none, or 0 or 1 in its stead."""
    area = numbers([values[row] for row in result.rows.tolist()])
    of_box = result.bbox[:, 2] * result.bbox[:, 3]
    missing = ~(np.isfinite(area) & (area > 0)) | ((area == 1) & (of_box > _PLACEHOLDER_SIDE**2))
    if missing.any():
        result.report.append(f"{missing.sum()} of {count} annotations have no area: width x height of the box is taken")
    area = np.where(missing, of_box, area)
    far = (area < _LEAST_SHARE * of_box) | (area > _MOST_SHARE * of_box)
    if far.any():
        row, first = int(np.argmax(far)), _first(result.ids, far, result.rows)
        result.notes.append(
            f"{far.sum()} of {count} annotations have an area far from their box's, {first}: {area[row]:g} px for "
            f"{of_box[row]:g}"
        )
    return area


def clip_boxes(bbox: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [N, 4] x, y, width, height in images of height and width `sizes` [N, 2] (0: unknown).

    Returns corners xyxy [N, 4], clipped to the images; bool [N], boxes with an area inside; bool [N], boxes that reach
    beyond the image by more than rounding.
    """
    height, width = np.where(sizes > 0, sizes, np.inf).T
    corners = np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], 1)
    with np.errstate(invalid="ignore"):
        clipped = np.clip(corners, 0, np.stack([width, height, width, height], 1))
        return clipped, (clipped[:, 2:] > clipped[:, :2]).all(1), (np.abs(clipped - corners) > ROUNDING).any(1)


def _files(images: list[dict], path: Path) -> list[str]:
    files = column(images, "file_name", "images", path)
    for index, file in enumerate(files):
        if not isinstance(file, str) or not file or "\0" in file:
            raise DataError(f"{path}: the file_name of `images` number {index} is {str(file)[:60]!r}: give a file name")
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise DataError(f"{path}: the image {file!r} lies outside the image folder; give paths below it")
    return files


def _side(image: dict, key: str, path: Path) -> int:
    """Height or width in pixels, 0 where the file has none."""
    side = image.get(key)
    pixels = 0.0 if side is None else number(side)
    if pixels is None or not pixels.is_integer() or not 0 <= pixels < 2**31:
        raise DataError(
            f"{path}: the {key} of image {image['id']} is {str(side)[:60]!r}: give a whole number of pixels, or null"
        )
    return int(pixels)


def _names(categories: list[dict], path: Path) -> list[str]:
    """Unique names: the id for a missing name, and with the id for a repeated name."""
    names = []
    for category in categories:
        name = category["id"] if category.get("name") is None else category["name"]
        if not isinstance(name, str | int | float):
            raise DataError(f"{path}: the name of category {category['id']} is {str(name)[:60]}: give text")
        names.append(str(name))
    return [
        name if names.count(name) == 1 else f"{name} ({category['id']})"
        for name, category in zip(names, categories, strict=True)
    ]


def _first(ids: list[int | None], chosen: np.ndarray, rows: np.ndarray | None = None) -> str:
    """Which annotation is the first of those chosen. rows: their indices in the file. None: all are in order."""
    index = int(np.flatnonzero(chosen)[0])
    if ids[index] is not None:
        return f"the first: id {ids[index]}"
    return f"the first: number {index if rows is None else rows[index]}"
