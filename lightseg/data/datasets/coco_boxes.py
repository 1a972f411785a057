"""Boxes of COCO annotations that have an outline or keypoints instead."""

from typing import Any

import numpy as np

from lightseg.data.datasets.json_fields import number
from lightseg.data.datasets.rle import rle_box


def fill_boxes(annotations: list[dict]) -> tuple[list[Any], np.ndarray]:
    """The `bbox` of every annotation, made from its segmentation, otherwise from its keypoints, where it is missing.

    Returns the boxes, as they are in the file or [x, y, width, height]; and bool [N], those that were made.
    """
    boxes, made = [], np.zeros(len(annotations), bool)
    for index, annotation in enumerate(annotations):
        box = annotation.get("bbox")
        if box is None or box == []:
            outline = _outline_box(annotation.get("segmentation")) or _points_box(annotation.get("keypoints"))
            box, made[index] = outline or box, outline is not None
        boxes.append(box)
    return boxes, made


def _outline_box(segmentation: Any) -> list[float] | None:
    if isinstance(segmentation, dict):
        return rle_box(segmentation)
    polygons = [polygon for polygon in segmentation or [] if isinstance(polygon, list)] if segmentation else []
    values = [number(value) for polygon in polygons if len(polygon) >= 6 for value in polygon[: len(polygon) // 2 * 2]]
    return _bounds(values[::2], values[1::2])


def _points_box(keypoints: Any) -> list[float] | None:
    if not isinstance(keypoints, list) or len(keypoints) % 3:
        return None
    points = [[number(value) for value in keypoints[start : start + 3]] for start in range(0, len(keypoints), 3)]
    labeled = [point for point in points if point[2]]
    return _bounds([point[0] for point in labeled], [point[1] for point in labeled])


def _bounds(x: list[float | None], y: list[float | None]) -> list[float] | None:
    """[x, y, width, height] around points; None where there are none, or a value is no number."""
    across, down = ([value for value in values if value is not None] for values in (x, y))
    if not across or len(across) < len(x) or len(down) < len(y):
        return None
    return [min(across), min(down), max(across) - min(across), max(down) - min(down)]
