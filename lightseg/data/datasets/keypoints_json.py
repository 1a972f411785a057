"""COCO's person_keypoints file as arrays: what is in it is checked once, counted, and kept compact.

What training leaves out stays in the ground truth, as COCO's evaluation has it: crowds, and people without labelled
points, are there to be ignored rather than counted as missed.
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
    """Annotations of one kind of body, in the order of `boxes`, which has images, boxes and areas.

    category_id: what the evaluation calls them all. ids: int64 [A], the file's (numbered anew if they are not unique).
    keypoints: float64 [A, K, 2] pixel indices of the image, 0 where not labelled.
    visible: uint8 [A, K] 0 not labelled, 1 covered, 2 seen. outside: bool [A, K], labelled beyond the image.
    trained: bool [A]: single people with a labelled point in the image.
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
        """COCO's entry of `annotations` with the file's figures, without ids."""
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
    """category: the name of the one to read; otherwise every category with keypoints, which must be the same points.
    skeleton: see `read_skeleton`.

    `report` has a line for everything that was left out, changed or odd; DataError, naming the path, for what is not
    COCO or contradicts itself.
    """
    content = load_json(path)
    chosen = _categories(records(content, "categories", path), category, path)
    try:
        points = read_skeleton(chosen[0], skeleton)
    except LightsegError as error:
        raise DataError(f"{path}: {error}") from error
    numbers = [one.get("id") for one in chosen]
    others = {one.get("id") for one in content["categories"]} - set(numbers)
    annotations = [one for one in records(content, "annotations", path) if one.get("category_id") not in others]
    boxes = parse_coco({**content, "annotations": annotations, "categories": chosen}, path)
    if len(annotations) < len(content["annotations"]):
        left_out = len(content["annotations"]) - len(annotations)
        boxes.report.append(f"{left_out} annotations are of other categories and are left out")
    guessed = default_sigmas(points)
    if guessed:
        boxes.report.append(f"{len(guessed)} points have no sigma of COCO's and get their mean: {shorten(guessed)}")
    if not points.pairs:
        boxes.report.append("no left/right pairs are known: a flipped image keeps its points' names")
    return _fill(boxes, points, [annotations[row] for row in boxes.rows.tolist()], chosen[0]["id"], path)


def _categories(categories: list[dict], name: str | None, path: Path) -> list[dict]:
    with_points = [one for one in categories if one.get("keypoints")]
    if not with_points:
        raise DataError(f"{path}: no category has `keypoints`: pose needs a person_keypoints file, this is another")
    chosen = [one for one in with_points if name in (None, str(one.get("name")))]
    names = [str(one.get("name")) for one in with_points]
    if not chosen:
        raise DataError(f"{path}: no category {name!r} has keypoints; choose category from {shorten(names)}")
    if any(one["keypoints"] != chosen[0]["keypoints"] for one in chosen):
        raise DataError(f"{path}: its categories have different keypoints; choose category from {shorten(names)}")
    return sorted(chosen, key=lambda one: one.get("id", 0))


def _fill(boxes: CocoAnnotations, skeleton: Skeleton, kept: list[dict], category_id: int, path: Path) -> CocoPersons:
    count, report = len(kept), boxes.report
    given = [one.get("id") for one in kept]
    unique = all(isinstance(one, int) for one in given) and len(set(given)) == count
    ids = np.array(given if unique else range(1, count + 1), np.int64)
    table = _points(kept, skeleton, path)
    keypoints, visible = table[..., :2], table[..., 2]

    odd = ~np.isin(visible, (0, 1, 2))
    _tell(report, given, odd, "keypoints have a visibility other than 0, 1 or 2 and count as not labelled")
    visible = np.where(odd, 0, visible).astype(np.uint8)
    infinite = (visible > 0) & ~np.isfinite(keypoints).all(2)
    _tell(report, given, infinite, "keypoints are NaN or infinite and count as not labelled")
    visible[infinite] = 0
    keypoints = np.where((visible > 0)[..., None], keypoints, 0.0)

    image = np.repeat(np.arange(len(boxes.files)), np.diff(boxes.starts))
    sizes = boxes.sizes[image][:, None, ::-1]  # [A, 1, 2] width, height
    limits = np.where(sizes > 0, sizes, np.inf) - 1 + ROUNDING
    outside = (visible > 0) & ((keypoints < -ROUNDING) | (keypoints > limits)).any(2)
    _tell(report, given, outside, "keypoints lie outside their image and are not trained on")
    corners = np.concatenate([boxes.bbox[:, :2], boxes.bbox[:, :2] + boxes.bbox[:, 2:]], 1)[:, None]
    off_box = ((keypoints < corners[..., :2] - ROUNDING) | (keypoints > corners[..., 2:] + ROUNDING)).any(2)
    off_box &= (visible > 0) & ~outside & ~boxes.crowd[:, None]
    _tell(report, given, off_box, "keypoints lie outside their person's box and are kept")

    labelled = (visible > 0).sum(1)
    stated = np.array([one.get("num_keypoints", number) for one, number in zip(kept, labelled.tolist(), strict=True)])
    _tell(report, given, stated != labelled, "annotations have another num_keypoints than points: counted anew")
    _tell(report, given, boxes.crowd, "annotations are crowds: evaluated as COCO does, not trained on")
    bare = ~boxes.crowd & (labelled == 0)
    _tell(report, given, bare, "annotations have no keypoints: not trained on, ignored in the evaluation as COCO does")
    trained = ~boxes.crowd & ((visible > 0) & ~outside).any(1)
    _tell(report, given, ~trained & ~boxes.crowd & ~bare, "annotations have no keypoint in the image: not trained on")
    empty = len(boxes.files) - len(np.unique(image[trained]))
    if empty:
        report.append(f"{empty} of {len(boxes.files)} images have nobody with keypoints; the evaluation has them")
    return CocoPersons(boxes, skeleton, category_id, ids, keypoints, visible, outside, trained)


def _tell(report: list[str], ids: list[Any], found: np.ndarray, what: str) -> None:
    """A line for what `found` (bool [A] or [A, K]) marks, if anything."""
    if found.any():
        place = int(np.argwhere(found)[0, 0])
        report.append(f"{found.sum()} {what}, the first: annotation {ids[place]}")


def _points(kept: list[dict], skeleton: Skeleton, path: Path) -> np.ndarray:
    """float64 [A, K, 3] x, y, visibility; 0 where an annotation has no keypoints."""
    length = 3 * len(skeleton.names)
    rows = []
    for one in kept:
        points = one.get("keypoints") or [0] * length
        if not isinstance(points, list) or len(points) != length:
            found = f"{len(points) / 3:g} keypoints" if isinstance(points, list) else str(points)[:40]
            raise DataError(
                f"{path}: annotation {one.get('id')} has {found} (x, y, visibility each), but its category names "
                f"{len(skeleton.names)}"
            )
        rows.append(points)
    try:
        return np.array(rows, np.float64).reshape(len(kept), len(skeleton.names), 3)
    except (TypeError, ValueError):
        pass
    number = (int, float, type(None))
    wrong = next(one for one in kept if any(not isinstance(value, number) for value in one.get("keypoints") or []))
    raise DataError(f"{path}: annotation {wrong.get('id')}: its keypoints are not all numbers")
