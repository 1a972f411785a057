"""A detector's boxes of people in COCO's results format, for evaluating top-down pose on detections:

    [{"image_id": 42, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98}, ...]

Published person detections and the results of the detection task have this format.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightseg.data.datasets.coco_json import clip_boxes
from lightseg.data.datasets.json_fields import Id, box_column, column, id_number, indices_of, load_json, number
from lightseg.errors import DataError
from lightseg.text import shorten


@dataclass
class PersonBoxes:
    """Detections grouped by image, in the annotation file's order; within an image in the detections file's order.

    image_numbers: int64 [D], of the images. boxes: float32 [D, 4] xyxy, clipped to the image. scores: float32 [D].
    rows: int64 [D], indices in the detections file.
    """

    image_numbers: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    rows: np.ndarray
    report: list[str] = field(default_factory=list)


def read_person_boxes(
    path: Path, image_ids: Sequence[Id], sizes: np.ndarray, category_ids: Collection[Id], min_score: float = 0.0
) -> PersonBoxes:
    """Detections of `category_ids` with at least `min_score`, in the images `image_ids` of height and width `sizes`.

    Raises DataError for a file of another format, detections in other images, and if no detection is left.
    """
    if not 0 <= min_score <= 1:
        raise DataError(f"data.least_box_score is {min_score}: a score lies in 0..1")
    detections = load_json(path)
    if not isinstance(detections, list) or not all(isinstance(detection, dict) for detection in detections):
        raise DataError(f"{path}: not COCO results: expected a list of image_id, category_id, bbox and score")
    if not detections:
        raise DataError(f"{path}: the list of detections is empty: there are no persons to predict keypoints for")
    bbox = box_column(detections, path)
    image = indices_of(column(detections, "image_id", "detections", path), image_ids)
    unknown = np.flatnonzero(image < 0)
    if len(unknown):
        raise DataError(
            f"{path}: {len(unknown)} of {len(detections)} detections are of images that the annotations do not have "
            f"(the first: image_id {detections[unknown[0]]['image_id']}): give the detections of this split"
        )
    stated = [number(score) for score in column(detections, "score", "detections", path)]
    categories = [id_number(category) for category in column(detections, "category_id", "detections", path)]
    if None in stated or None in categories:
        raise DataError(f"{path}: not COCO results: score and category_id must be numbers")
    scores = np.array(stated, np.float64)
    of_persons = indices_of(categories, list(category_ids)) >= 0
    if not of_persons.any():
        existing = shorten(sorted({category for category in categories if category is not None}))
        raise DataError(f"{path}: no detection is of category {shorten(list(category_ids))}, only of {existing}")
    clipped, inside, _ = clip_boxes(bbox, sizes[image])
    valid = np.isfinite(bbox).all(1) & np.isfinite(scores) & (bbox[:, 2:] > 0).all(1) & inside
    confident = scores >= min_score
    report = [
        f"{count} of {len(detections)} detections {reason} and are left out"
        for count, reason in (
            ((~of_persons).sum(), "are of other categories"),
            ((of_persons & ~valid).sum(), "have no area in their image, or NaN,"),
            ((of_persons & valid & ~confident).sum(), f"have a score under {min_score}"),
        )
        if count
    ]
    kept = np.flatnonzero(of_persons & valid & confident)
    if not len(kept):
        raise DataError(f"{path}: no detection is left of {len(detections)}: {'; '.join(report)}")
    rows = kept[np.argsort(image[kept], kind="stable")]
    num_empty = len(image_ids) - len(np.unique(image[rows]))
    if num_empty:
        report.append(f"{num_empty} of {len(image_ids)} images have no detection: their persons count as missed")
    return PersonBoxes(image[rows], clipped[rows].astype(np.float32), scores[rows].astype(np.float32), rows, report)
