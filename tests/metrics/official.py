"""The official evaluation of COCO results, and a second process for a metric."""

import contextlib
import copy
import io
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics import Metric


def pycocotools(
    truth: dict[str, Any], results: list[dict[str, Any]], kind: str, image_ids: list[int] | None = None, **params: Any
) -> COCOeval:
    """The evaluation of pycocotools. kind: "bbox" or "keypoints". params: of COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = copy.deepcopy(truth)
        ground_truth.createIndex()
        if results:
            predictions = ground_truth.loadRes(copy.deepcopy(results))
        else:  # loadRes fails on an empty list
            predictions = COCO()
            predictions.dataset = {**ground_truth.dataset, "annotations": []}
            predictions.createIndex()
        evaluation = COCOeval(ground_truth, predictions, kind)
        for key, value in (params | ({} if image_ids is None else {"imgIds": image_ids})).items():
            setattr(evaluation.params, key, value)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def synchronize(metric: Metric, other: Metric, states: Sequence[str]) -> None:
    """Make `metric` synchronize as if `other` were in a second process.

    States are gathered in the order of their names; a process without any gives an empty tensor.
    """
    theirs = itertools.cycle([torch.cat(getattr(other, name) or [torch.tensor([])]) for name in states])
    metric.distributed_available_fn = lambda: True
    metric.dist_sync_fn = lambda state, group=None: [state, next(theirs)]
    metric._computed = None
