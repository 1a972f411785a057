"""COCO's person_keypoints file as arrays, checked once, with a report of what was left out.

Crowds and people without labeled keypoints are not trained on, but stay in the ground truth: COCO's evaluation ignores
them instead of counting them as missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_json import ROUNDING, CocoAnnotations, load_json, parse_coco, records
from lightseg.data.skeleton import Skeleton, default_sigmas, read_skeleton
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten


@dataclass
class CocoPersons:
    """Annotations with the same keypoints, in the order of `boxes`, which has images, boxes and areas.

    category_id: of all annotations, for the evaluation. ids: int64 [A], the file's (renumbered if not unique).
    keypoints: float64 [A, K, 2] pixel indices of the image, 0 where not labeled.
    visible: uint8 [A, K] 0 not labeled, 1 covered, 2 seen. outside: bool [A, K], labeled outside the image.
    trained: bool [A]: single people with a labeled keypoint in the image.
    """

    boxes: CocoAnnotations
    skeleton: Skeleton
    category_id: int
    ids: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    outside: np.ndarray
    trained: np.ndarray

    @property
    def report(self) -> list[str]:
        return self.boxes.report

    def category(self) -> dict[str, Any]:
        """COCO's entry of `categories`."""
        return {
            "id": self.category_id,
            "name": self.boxes.class_names[0],
            "keypoints": list(self.skeleton.names),
            "skeleton": [[first + 1, second + 1] for first, second in self.skeleton.edges],
        }

    def reorder_points(self, order: Sequence[int]) -> None:
        """The new point k is the point `order[k]`."""
        self.skeleton = self.skeleton.reordered(order)
        self.keypoints, self.visible = self.keypoints[:, order], self.visible[:, order]
        self.outside = self.outside[:, order]

    def annotation(self, row: int) -> dict[str, Any]:
        """COCO's entry of `annotations` with the file's values, without ids."""
        visible = self.visible[row]
        points = np.concatenate([self.keypoints[row], visible[:, None]], 1)
        return {
            "category_id": self.category_id,
            "bbox": self.boxes.bbox[row].tolist(),
            "area": float(self.boxes.area[row]),
            "iscrowd": int(self.boxes.crowd[row]),
            "num_keypoints": int((visible > 0).sum()),
            "keypoints": points.ravel().tolist(),
        }


def read_persons(path: Path, *, category: str | None = None, skeleton: Mapping[str, Any] | None = None) -> CocoPersons:
    """The people of a person_keypoints JSON.

    category: the name of the category to read. None: all categories with keypoints, which must be equal.
    skeleton: see `read_skeleton`.

    `report` has a line for everything that was left out, changed or odd. Raises DataError, with the path, for a file
    that is not COCO or contradicts itself.
    """
    content = load_json(path)
    chosen = _categories(records(content, "categories", path), category, path)
    try:
        points = read_skeleton(chosen[0], skeleton)
    except LightsegError as error:
        raise DataError(f"{path}: {error}") from error
    others = {entry.get("id") for entry in content["categories"]} - {entry.get("id") for entry in chosen}
    annotations = [row for row in records(content, "annotations", path) if row.get("category_id") not in others]
    boxes = parse_coco({**content, "annotations": annotations, "categories": chosen}, path)
    if len(annotations) < len(content["annotations"]):
        left_out = len(content["annotations"]) - len(annotations)
        boxes.report.append(f"{left_out} annotations are of other categories and are left out")
    without_sigma = default_sigmas(points)
    if without_sigma:
        listed = shorten(without_sigma)
        boxes.report.append(f"{len(without_sigma)} points have no sigma of COCO's and get their mean: {listed}")
    if not points.pairs:
        boxes.report.append("no left/right pairs are known: a flipped image keeps its points' names")
    return _fill(boxes, points, [annotations[row] for row in boxes.rows.tolist()], chosen[0]["id"], path)


def _categories(categories: list[dict], name: str | None, path: Path) -> list[dict]:
    with_points = [category for category in categories if category.get("keypoints")]
    if not with_points:
        raise DataError(f"{path}: no category has `keypoints`: give a person_keypoints file for pose")
    chosen = [category for category in with_points if name in (None, str(category.get("name")))]
    names = [str(category.get("name")) for category in with_points]
    if not chosen:
        raise DataError(f"{path}: no category {name!r} has keypoints; choose category from {shorten(names)}")
    if any(category["keypoints"] != chosen[0]["keypoints"] for category in chosen):
        raise DataError(f"{path}: its categories have different keypoints; choose category from {shorten(names)}")
    return sorted(chosen, key=lambda category: category.get("id", 0))


def _fill(boxes: CocoAnnotations, skeleton: Skeleton, kept: list[dict], category_id: int, path: Path) -> CocoPersons:
    count, report = len(kept), boxes.report
    file_ids = [annotation.get("id") for annotation in kept]
    unique = all(isinstance(id_, int) for id_ in file_ids) and len(set(file_ids)) == count
    ids = np.array(file_ids if unique else range(1, count + 1), np.int64)
    table = _points(kept, skeleton, path)
    keypoints, visible = table[..., :2], table[..., 2]

    odd = ~np.isin(visible, (0, 1, 2))
    _add(report, file_ids, odd, "keypoints have a visibility other than 0, 1 or 2 and count as not labelled")
    visible = np.where(odd, 0, visible).astype(np.uint8)
    infinite = (visible > 0) & ~np.isfinite(keypoints).all(2)
    _add(report, file_ids, infinite, "keypoints are NaN or infinite and count as not labelled")
    visible[infinite] = 0
    keypoints = np.where((visible > 0)[..., None], keypoints, 0.0)

    image = np.repeat(np.arange(len(boxes.files)), np.diff(boxes.starts))
    sizes = boxes.sizes[image][:, None, ::-1]  # [A, 1, 2] width, height
    limits = np.where(sizes > 0, sizes, np.inf) - 1 + ROUNDING
    outside = (visible > 0) & ((keypoints < -ROUNDING) | (keypoints > limits)).any(2)
    _add(report, file_ids, outside, "keypoints lie outside their image and are not trained on")
    corners = np.concatenate([boxes.bbox[:, :2], boxes.bbox[:, :2] + boxes.bbox[:, 2:]], 1)[:, None]
    off_box = ((keypoints < corners[..., :2] - ROUNDING) | (keypoints > corners[..., 2:] + ROUNDING)).any(2)
    off_box &= (visible > 0) & ~outside & ~boxes.crowd[:, None]
    _add(report, file_ids, off_box, "keypoints lie outside their person's box and are kept")

    labeled = (visible > 0).sum(1)
    stated = np.array([a.get("num_keypoints", number) for a, number in zip(kept, labeled.tolist(), strict=True)])
    _add(report, file_ids, stated != labeled, "annotations have another num_keypoints than points: counted anew")
    _add(report, file_ids, boxes.crowd, "annotations are crowds: evaluated as COCO does, not trained on")
    no_points = ~boxes.crowd & (labeled == 0)
    text = "annotations have no keypoints: not trained on, ignored in the evaluation as COCO does"
    _add(report, file_ids, no_points, text)
    trained = ~boxes.crowd & ((visible > 0) & ~outside).any(1)
    _add(
        report,
        file_ids,
        ~trained & ~boxes.crowd & ~no_points,
        "annotations have no keypoint in the image: not trained on",
    )
    empty = len(boxes.files) - len(np.unique(image[trained]))
    if empty:
        report.append(f"{empty} of {len(boxes.files)} images have nobody with keypoints; the evaluation has them")
    return CocoPersons(boxes, skeleton, category_id, ids, keypoints, visible, outside, trained)


def _add(report: list[str], ids: list[Any], marked: np.ndarray, text: str) -> None:
    """Add a line to the report if anything is marked. marked: bool [A] or [A, K]."""
    if marked.any():
        report.append(f"{marked.sum()} {text}, the first: annotation {ids[int(np.argwhere(marked)[0, 0])]}")


def _points(kept: list[dict], skeleton: Skeleton, path: Path) -> np.ndarray:
    """float64 [A, K, 3] x, y, visibility; 0 for annotations without keypoints."""
    length = 3 * len(skeleton.names)
    rows = []
    for annotation in kept:
        points = annotation.get("keypoints") or [0] * length
        if not isinstance(points, list) or len(points) != length:
            shown = f"{len(points) / 3:g} keypoints" if isinstance(points, list) else str(points)[:40]
            raise DataError(
                f"{path}: annotation {annotation.get('id')} has {shown} (x, y, visibility each), but its category "
                f"names {len(skeleton.names)}"
            )
        rows.append(points)
    try:
        return np.array(rows, np.float64).reshape(len(kept), len(skeleton.names), 3)
    except (TypeError, ValueError):
        wrong = next(i for i, row in enumerate(rows) if any(not isinstance(v, int | float | None) for v in row))
        raise DataError(f"{path}: annotation {kept[wrong].get('id')}: its keypoints are not all numbers") from None
