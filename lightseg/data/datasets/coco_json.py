"""COCO's annotation file as arrays, checked once, with a report of what was left out.

instances_train2017.json has 860,000 annotations; as Python dicts they would take gigabytes in every worker process.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import DataError
from lightseg.text import shorten

ROUNDING = 1.0  # px; official boxes reach up to a hundredth of a pixel beyond the image


@dataclass
class CocoAnnotations:
    """Images in the file's order; annotations grouped by image, and within an image in the file's order.

    starts: int64 [I + 1]; the annotations of image i are starts[i]:starts[i + 1].
    sizes: int64 [I, 2] height and width; 0 if not in the file.
    bbox: float64 [A, 4] x, y, width, height as in the file. boxes: float32 [A, 4] xyxy, clipped to the image.
    labels: int64 [A], indices of `category_ids`, which is sorted at first.
    rows: int64 [A], indices in the file's list of annotations.
    """

    image_ids: list[int]
    files: list[str]
    sizes: np.ndarray
    category_ids: list[int]
    class_names: list[str]
    starts: np.ndarray
    bbox: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    rows: np.ndarray
    report: list[str] = field(default_factory=list)

    def image_names(self) -> list[str]:
        """The images' names without suffix, or with it if two were the same."""
        stems = [str(Path(file).with_suffix("")) for file in self.files]
        return stems if len(set(stems)) == len(stems) else self.files


def read_coco(path: Path) -> CocoAnnotations:
    """The boxes of an instances or person_keypoints JSON.

    `report` has a line for every kind of annotation that was left out or changed. Raises DataError, with the path, for
    a file that is not COCO, has no images or contradicts itself.
    """
    result = parse_coco(load_json(path), path)
    counts = np.bincount(result.labels[~result.crowd], minlength=len(result.category_ids))
    absent = [name for name, count in zip(result.class_names, counts.tolist(), strict=True) if not count]
    if absent:
        result.report.append(f"{len(absent)} of {len(counts)} classes have no box: {shorten(absent)}")
    return result


def parse_coco(content: Any, path: Path) -> CocoAnnotations:
    """Like `read_coco`, from the parsed JSON."""
    images, annotations, categories = (records(content, key, path) for key in ("images", "annotations", "categories"))
    if not images:
        raise DataError(f"{path}: `images` is empty: a data set needs at least one image")
    if not categories:
        raise DataError(f"{path}: `categories` is empty: a detector needs at least one class")
    image_ids = _ids(column(images, "id", "images", path), "image", path)
    categories = sorted(categories, key=lambda category: category.get("id", 0))
    category_ids = _ids(column(categories, "id", "categories", path), "category", path)
    files = [str(file) for file in column(images, "file_name", "images", path)]
    unsafe = next((file for file in files if Path(file).is_absolute() or ".." in Path(file).parts), None)
    if unsafe is not None:
        raise DataError(f"{path}: the image {unsafe!r} lies outside the image folder; give paths below it")
    sizes = np.array([(image.get("height") or 0, image.get("width") or 0) for image in images], np.int64)
    result = CocoAnnotations(image_ids, files, sizes, category_ids, _names(categories), *_empty(len(images)))
    if annotations:
        _fill(result, annotations, path)
    return result


def _fill(result: CocoAnnotations, annotations: list[dict], path: Path) -> None:
    count, report = len(annotations), result.report
    bbox = box_column(annotations, path)
    image = indices_of(column(annotations, "image_id", "annotations", path), result.image_ids)
    label = indices_of(column(annotations, "category_id", "annotations", path), result.category_ids)
    crowd = np.array([bool(annotation.get("iscrowd", 0)) for annotation in annotations])
    area = np.array([_number(annotation.get("area")) for annotation in annotations])
    ids = [annotation.get("id") for annotation in annotations]

    finite = np.isfinite(bbox).all(1)
    positive = (bbox[:, 2:] > 0).all(1)
    clipped, inside, beyond = clip_boxes(bbox, result.sizes[np.maximum(image, 0)])
    keep = np.ones(count, bool)
    for good, fault in (
        (image >= 0, "point to no image"),
        (label >= 0, "point to no category"),
        (finite, "have a box with NaN or infinity"),
        (positive, "have a box of zero or negative size"),
        (inside, "have a box that lies wholly outside its image"),
    ):
        bad = keep & ~good
        if bad.any():
            report.append(
                f"{bad.sum()} of {count} annotations {fault} and are left out, the first: id {_first(ids, bad)}"
            )
        keep &= good
    if (keep & beyond).any():
        report.append(
            f"{(keep & beyond).sum()} of {count} boxes reach beyond their image and are clipped to it, the first: id "
            f"{_first(ids, keep & beyond)}"
        )
    if len(set(ids)) < count:
        repeated = count - len(set(ids))
        report.append(f"{repeated} of {count} annotations have no id of their own; all are kept and numbered anew")
    no_area = keep & ~(area >= 0)
    if no_area.any():
        report.append(f"{no_area.sum()} of {count} annotations have no area: width x height of the box is taken")
        area = np.where(no_area, bbox[:, 2] * bbox[:, 3], area)

    order = np.flatnonzero(keep)[np.argsort(image[keep], kind="stable")]
    result.starts = np.searchsorted(image[order], np.arange(len(result.image_ids) + 1))
    result.bbox, result.boxes = bbox[order], clipped[order].astype(np.float32)
    result.labels, result.area, result.crowd = label[order], area[order], crowd[order]
    result.rows = order


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


def load_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; data.root or the name of the annotation file is wrong") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    return content


def records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(content, dict):
        raise DataError(f"{path}: not COCO: expected an object with images, annotations and categories, found a list")
    if key not in content:
        raise DataError(f"{path}: not COCO: the key `{key}` is missing; it has {shorten(list(content)) or 'none'}")
    if not isinstance(content[key], list) or not all(isinstance(record, dict) for record in content[key]):
        raise DataError(f"{path}: not COCO: `{key}` is not a list of objects")
    return content[key]


def column(records: list[dict], key: str, list_name: str, path: Path) -> list[Any]:
    try:
        return [record[key] for record in records]
    except KeyError:
        index = next(i for i, record in enumerate(records) if key not in record)
        raise DataError(f"{path}: not COCO: `{list_name}` number {index} has no `{key}`") from None


def _ids(ids: list[Any], kind: str, path: Path) -> list[int]:
    wrong = next((id_ for id_ in ids if isinstance(id_, bool) or not isinstance(id_, int)), None)
    if wrong is not None:
        raise DataError(f"{path}: the {kind} id {wrong!r} is not a whole number")
    repeated = next((id_ for id_, count in Counter(ids).items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"{path}: the {kind} id {repeated} occurs more than once")
    return ids


def _names(categories: list[dict]) -> list[str]:
    """Unique names: the id for a missing name, and with the id for a repeated name."""
    names = [str(category.get("name", category["id"])) for category in categories]
    return [
        name if names.count(name) == 1 else f"{name} ({category['id']})"
        for name, category in zip(names, categories, strict=True)
    ]


def box_column(annotations: list[dict], path: Path, list_name: str = "annotations") -> np.ndarray:
    """float64 [A, 4] x, y, width, height; NaN for null."""
    rows = column(annotations, "bbox", list_name, path)
    try:
        boxes = np.array(rows, np.float64)  # None becomes NaN
        if boxes.shape == (len(rows), 4):
            return boxes
    except (TypeError, ValueError):
        pass
    index, row = next(
        (index, row) for index, row in enumerate(rows)
        if not (isinstance(row, list) and len(row) == 4 and all(isinstance(side, int | float | None) for side in row))
    )  # fmt: skip
    raise DataError(
        f"{path}: the box of `{list_name}` number {index} is {str(row)[:60]}: expected [x, y, width, height]"
    )


def indices_of(values: list[Any], ids: list[int]) -> np.ndarray:
    """int64: the index of every value in `ids`, or -1."""
    table = {id_: index for index, id_ in enumerate(ids)}
    return np.array([table.get(value, -1) if isinstance(value, int) else -1 for value in values], np.int64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _first(ids: list[Any], chosen: np.ndarray) -> Any:
    return ids[int(np.flatnonzero(chosen)[0])]


def _empty(
    images: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """starts, bbox, boxes, labels, area, crowd and rows of a file without annotations."""
    return (
        np.zeros(images + 1, np.int64), np.zeros((0, 4)), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
        np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64),
    )  # fmt: skip
