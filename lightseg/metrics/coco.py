"""COCO's evaluation (Lin et al., arXiv:1405.0312) with faster-coco-eval: the parts that detection and pose share."""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from faster_coco_eval import COCO

from lightseg.errors import LightsegError

Id = int | str  # of an image or category
IOUS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100  # the best boxes of an image and class that count
MAX_EXACT_INT = 1 << 24  # float32, the type of the states, holds integers exactly up to this
# (key, "precision" or "recall", IoU or OKS, index of the range of areas, index of the maximum number of detections)
Summary = Sequence[tuple[str, str, float | None, int, int]]


def checked_image_ids(ground_truth: Mapping[str, Any]) -> list[Id]:
    """Ids of the images. Raises LightsegError for more images than float32 states can number."""
    image_ids = [image["id"] for image in ground_truth["images"]]
    if len(image_ids) >= MAX_EXACT_INT:
        raise LightsegError(f"{len(image_ids)} images cannot be evaluated at once: the limit is {MAX_EXACT_INT - 1}")
    return image_ids


def evaluation_numbers(ids: Sequence[Id]) -> dict[Id, int]:
    """1, 2, ... for the ids, in their order.

    The evaluator converts ids to float64, which is not exact beyond 2^53. Equal scores are ranked in the order of the
    image ids, as by pycocotools.
    """
    return {id_: number for number, id_ in enumerate(sorted(ids), start=1)}


def build_index(images: Iterable[int], categories: Iterable[int], annotations: list[dict[str, Any]]) -> COCO:
    """A COCO object of ground truth or predictions, with `evaluation_numbers` as ids. `loadRes` is not used: it would
    add a polygon to every box."""
    coco = COCO()
    entries = [[{"id": number} for number in numbers] for numbers in (images, categories)]
    coco.dataset = {"images": entries[0], "categories": entries[1], "annotations": annotations}
    coco.createIndex()
    return coco


def summarize(figures: Mapping[str, np.ndarray], summary: Summary) -> dict[str, float]:
    """Means of precision [IoU, recall, class, area, detections] and recall [IoU, class, area, detections], by key."""
    result = {}
    for key, name, iou, area, max_detections in summary:
        values = figures[name][..., area, max_detections]
        result[key] = mean(values if iou is None else values[np.isclose(IOUS, iou)])
    return result


def mean(values: np.ndarray) -> float:
    """The mean without -1, which stands for "no object"; NaN where nothing is left."""
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Without garbage collection, which takes a quarter of the time with a million short-lived dicts."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
