"""Boxes that a detector found, from COCO's results format: what top-down pose is evaluated with in the wild.

    [{"image_id": 42, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98}, ...]

is the form of the person detections that published scores use, and of what the detection task writes.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightseg.data.datasets.coco_json import box_column, clip_boxes, column, load_json, places
from lightseg.errors import DataError
from lightseg.text import shorten


@dataclass
class PersonBoxes:
    """Images in the annotation file's order, in each image the boxes as the detections file has them.

    image_numbers: int64 [D], of the images. boxes: float32 [D, 4] xyxy, clipped to the image. scores: float32 [D].
    rows: int64 [D], places in the detections file.
    """

    image_numbers: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    rows: np.ndarray
    report: list[str] = field(default_factory=list)


def read_person_boxes(
    path: Path, image_ids: list[int], sizes: np.ndarray, category_ids: Collection[int], least_score: float = 0.0
) -> PersonBoxes:
    """Detections of those categories with at least that score, in the images `image_ids` of height and width `sizes`.

    DataError for a file of another form, detections of other images, and where no detection is left.
    """
    if not 0 <= least_score <= 1:
        raise DataError(f"the least score of person boxes is {least_score}: it lies in 0..1")
    found = load_json(path)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{path}: not COCO results: expected a list of image_id, category_id, bbox and score")
    if not found:
        raise DataError(f"{path}: the list of detections is empty: there is nobody to find the points of")
    bbox = box_column(found, path, "detections")
    image, known = places(image_ids, column(found, "image_id", "detections", path))
    if not known.all():
        first = found[int(np.flatnonzero(~known)[0])]["image_id"]
        raise DataError(
            f"{path}: {(~known).sum()} of {len(found)} detections are of images that the annotations do not have "
            f"(the first: image_id {first}): give the detections of this split"
        )
    given = [column(found, key, "detections", path) for key in ("score", "category_id")]
    try:
        scores, categories = np.array(given[0], np.float64), np.array(given[1], np.int64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: not COCO results: score and category_id must be numbers") from None
    of_persons = np.isin(categories, list(category_ids))
    if not of_persons.any():
        have = shorten(np.unique(categories).tolist())
        raise DataError(f"{path}: no detection is of category {shorten(list(category_ids))}, only of {have}")
    clipped, inside, _ = clip_boxes(bbox, sizes[image])
    sound = np.isfinite(bbox).all(1) & np.isfinite(scores) & (bbox[:, 2:] > 0).all(1) & inside
    confident = scores >= least_score
    report = [
        f"{number} of {len(found)} detections {what} and are left out"
        for number, what in (
            ((~of_persons).sum(), "are of other categories"),
            ((of_persons & ~sound).sum(), "have no area in their image, or NaN,"),
            ((of_persons & sound & ~confident).sum(), f"have a score under {least_score}"),
        )
        if number
    ]
    keep = np.flatnonzero(of_persons & sound & confident)
    if not len(keep):
        raise DataError(f"{path}: no detection is left of {len(found)}: {'; '.join(report)}")
    rows = keep[np.argsort(image[keep], kind="stable")]
    without = len(image_ids) - len(np.unique(image[rows]))
    if without:
        report.append(f"{without} of {len(image_ids)} images have no detection: whoever is there counts as missed")
    return PersonBoxes(image[rows], clipped[rows].astype(np.float32), scores[rows].astype(np.float32), rows, report)
