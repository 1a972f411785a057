"""COCO's person_keypoints file as arrays, checked once, with a report of what was left out.

Crowds and people without labeled keypoints are not trained on, but stay in the ground truth: COCO's evaluation ignores
them instead of counting them as missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_json import ROUNDING, CocoAnnotations, parse_coco
from lightseg.data.datasets.json_fields import Id, load_json, number, records
from lightseg.data.skeleton import Skeleton, counts_from_0, default_sigmas, read_skeleton
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten


@dataclass
class CocoPersons:
    """Annotations with the same keypoints, in the order of `boxes`, which has images, boxes and areas.

    category_id: of all annotations, for the evaluation. ids: [A], the file's (renumbered if not unique).
    keypoints: float64 [A, K, 2] pixel indices of the image, 0 where not labeled.
    visible: uint8 [A, K] 0 not labeled, 1 covered, 2 seen. outside: bool [A, K], labeled outside the image.
    trained: bool [A]: single people with a labeled keypoint in the image.
    """

    boxes: CocoAnnotations
    skeleton: Skeleton
    category_id: Id
    ids: list[int]
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


def read_persons(
    path: Path,
    *,
    category: str | None = None,
    skeleton: Mapping[str, Any] | None = None,
    least_visibility: float | None = None,
    content: Any = None,
) -> CocoPersons:
    """The people of a person_keypoints JSON.

    category: the name of the category to read. None: all categories with keypoints, which must be equal.
    skeleton: see `read_skeleton`. With `names`, categories need no keypoints.
    least_visibility: visibilities are confidences 0..1, and from this one on a keypoint is labeled. None: they are
        COCO's 0, 1 and 2.
    content: of the file, parsed. None: the file is read.

    `report` has a line for everything that was left out, changed or odd. Raises DataError, with the path, for a file
    that is not COCO or contradicts itself.
    """
    content = load_json(path) if content is None else content
    if least_visibility is not None and not (isinstance(least_visibility, int | float) and 0 < least_visibility <= 1):
        raise DataError(f"data.least_visibility is {least_visibility!r}: must be above 0 and at most 1, or null")
    named = bool((skeleton or {}).get("names"))
    chosen = _categories(records(content, "categories", path), category, named, path)
    try:
        points = read_skeleton(chosen[0], skeleton)
    except LightsegError as error:
        raise DataError(f"{path}: {error}") from error
    boxes = parse_coco(content, path, categories=chosen, num_points=len(points.names))
    without_sigma = default_sigmas(points)
    if without_sigma:
        listed = shorten(without_sigma)
        boxes.report.append(f"{len(without_sigma)} points have no sigma of COCO's and get their mean: {listed}")
    if not points.pairs:
        boxes.report.append("no left/right pairs are known: a flipped image keeps its points' names")
    if (skeleton or {}).get("edges") is None and counts_from_0(chosen[0].get("skeleton")):
        boxes.notes.append("the edges of the skeleton have a point 0: they are counted from 0")
    if least_visibility is not None:
        boxes.points[..., 2] = np.where(boxes.points[..., 2] >= least_visibility, 2, 0)
    annotations = content.get("annotations") or []
    return _fill(boxes, points, [annotations[row] for row in boxes.rows.tolist()])


def _categories(categories: list[dict], name: str | None, named: bool, path: Path) -> list[dict]:
    """The categories to read. named: their keypoints have names without the file."""
    with_points = [category for category in categories if named or category.get("keypoints")]
    if not with_points:
        raise DataError(
            f"{path}: no category has `keypoints`: give a person_keypoints file, or data.skeleton.names=[nose, ...]"
        )
    chosen = [category for category in with_points if name in (None, str(category.get("name")))]
    names = [str(category.get("name")) for category in with_points]
    if not chosen:
        raise DataError(f"{path}: no category {name!r} has keypoints; choose category from {shorten(names)}")
    if not named and any(category["keypoints"] != chosen[0]["keypoints"] for category in chosen):
        raise DataError(f"{path}: its categories have different keypoints; choose category from {shorten(names)}")
    return chosen


def _fill(boxes: CocoAnnotations, skeleton: Skeleton, kept: list[dict]) -> CocoPersons:
    count, report = len(kept), boxes.report
    file_ids = boxes.ids
    ids = [id_ for id_ in file_ids if id_ is not None]
    if len(set(ids)) < count:
        ids = list(range(1, count + 1))
    keypoints, visible = boxes.points[..., :2], boxes.points[..., 2]

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
    stated = np.array([number(a.get("num_keypoints", n)) for a, n in zip(kept, labeled.tolist(), strict=True)], float)
    _add(report, file_ids, stated != labeled, "annotations have another num_keypoints than points: counted anew")
    crowds = _add(report, file_ids, boxes.crowd, "annotations are crowds: evaluated as COCO does, not trained on")
    no_points = ~boxes.crowd & (labeled == 0)
    text = "annotations have no keypoints: not trained on, ignored in the evaluation as COCO does"
    without = _add(report, file_ids, no_points, text)
    trained = ~boxes.crowd & ((visible > 0) & ~outside).any(1)
    unseen = ~trained & ~boxes.crowd & ~no_points
    beyond = _add(report, file_ids, unseen, "annotations have no keypoint in the image: not trained on")
    boxes.left_out += [reason for reason in (crowds, without, beyond) if reason[0]]
    empty = len(boxes.files) - len(np.unique(image[trained]))
    if empty and boxes.labeled:
        report.append(f"{empty} of {len(boxes.files)} images have nobody with keypoints; the evaluation has them")
    return CocoPersons(boxes, skeleton, boxes.category_ids[0], ids, keypoints, visible, outside, trained)


def _add(report: list[str], ids: list[Any], marked: np.ndarray, text: str) -> tuple[int, str]:
    """Add a line to the report if anything is marked; returns the number and the line. marked: bool [A] or [A, K]."""
    if not marked.any():
        return 0, ""
    line = f"{marked.sum()} {text}, the first: annotation {ids[int(np.argwhere(marked)[0, 0])]}"
    report.append(line)
    return int(marked.sum()), line
