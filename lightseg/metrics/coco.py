"""What detection and pose share of COCO's evaluation (Lin et al., arXiv:1405.0312) by faster-coco-eval."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from faster_coco_eval import COCO

from lightseg.errors import LightsegError

IOUS = np.linspace(0.5, 0.95, 10)
MOST = 1 << 24  # whole numbers that float32, the states' type, holds exactly
# (key, "precision" or "recall", IoU or OKS, place of the range of areas, place of the number of detections an image)
Summary = Sequence[tuple[str, str, float | None, int, int]]


def image_ids_of(ground_truth: Mapping[str, Any]) -> list[int]:
    """Raises LightsegError for more images than the states can tell apart."""
    image_ids = [image["id"] for image in ground_truth["images"]]
    if len(image_ids) >= MOST:
        raise LightsegError(f"{len(image_ids)} images cannot be evaluated at once: the limit is {MOST - 1}")
    return image_ids


def index(ground_truth: Mapping[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    """By hand for predictions too: `loadRes` adds a polygon to each of half a million boxes."""
    coco = COCO()
    coco.dataset = {**ground_truth, "annotations": annotations}
    coco.createIndex()
    return coco


def summarise(figures: Mapping[str, np.ndarray], summary: Summary) -> dict[str, float]:
    """precision [IoU, recall, class, area, detections] and recall [IoU, class, area, detections] as the named means."""
    result = {}
    for key, what, iou, area, most in summary:
        values = figures[what][..., area, most]
        result[key] = mean(values if iou is None else values[np.isclose(IOUS, iou)])
    return result


def mean(values: np.ndarray) -> float:
    """NaN where there is no object to find, which the evaluators write as -1."""
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """It would look through a million short-lived dicts again and again: a quarter of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
