"""COCO results of boxes and keypoints, as they came: numbers are not rounded to float32."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_json import load_json
from lightseg.errors import DataError
from lightseg.metrics.coco import MAX_DETECTIONS
from lightseg.metrics.detection import DetectionMetric
from lightseg.metrics.pose import PoseMetric
from lightseg.scoring.scored import Scored


def score_boxes(dataset: Any, path: Path, options: Mapping[str, Any]) -> Scored:
    """A JSON file [{image_id, category_id, bbox [x, y, width, height], score}], or a folder with results.json."""
    entries = _entries(path, "bbox", 4, dataset.ground_truth())
    metric = DetectionMetric(
        dataset.ground_truth(),
        dataset.class_names,
        dataset.category_ids,
        max_detections=options.get("max_detections", MAX_DETECTIONS),
    )
    known = set(dataset.category_ids)
    others = sum(entry["category_id"] not in known for entry in entries)
    notes = [f"{others} of {len(entries)} boxes are of categories that the data does not have"] if others else []
    return Scored(metric.of_results(entries), "boxes in pixels of the pictures on disk", notes)


def score_keypoints(dataset: Any, path: Path, options: Mapping[str, Any]) -> Scored:
    """A JSON file [{image_id, category_id, keypoints [x, y, score, ...], score}], or a folder with results.json.

    PCK needs to know which person a prediction is of, which COCO results do not say: it is left out.
    """
    entries = _entries(path, "keypoints", 3 * dataset.num_classes, dataset.ground_truth())
    sigmas = dataset.skeleton.sigmas
    order = np.argsort(dataset.file_classes).tolist()
    metric = PoseMetric(dataset.ground_truth(), dataset.class_names, sigmas, results_order=order)
    protocol = {"sigmas": [round(float(sigma), 5) for sigma in sigmas]}
    return Scored(metric.of_results(entries), "keypoints in pixels of the pictures on disk", [], protocol)


def _entries(path: Path, key: str, length: int, truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such file; give COCO results, a list of image_id, category_id, {key} and score")
    entries = load_json(file)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{file}: not COCO results: give a list of image_id, category_id, {key} and score")
    images = {image["id"] for image in truth["images"]}
    for number, entry in enumerate(entries):
        where = f"{file}: result number {number}"
        if missing := [name for name in ("image_id", "category_id", key, "score") if name not in entry]:
            raise DataError(f"{where} has no {missing[0]}: give image_id, category_id, {key} and score")
        if entry["image_id"] not in images:
            raise DataError(
                f"{where} is of image {entry['image_id']}, which is not in the data: give results of this split"
            )
        if not _numbers(entry[key], length) or not _numbers([entry["score"]], 1):
            raise DataError(f"{where}: its {key} is not {length} numbers, or its score is none: give finite numbers")
    return entries


def _numbers(values: Any, length: int) -> bool:
    if not isinstance(values, Sequence) or len(values) != length:
        return False
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return plain and bool(np.isfinite(values).all())
