"""COCO's metrics of 5,000 images with 100 detections each: our evaluator against pycocotools.

    python benchmarks/coco_evaluation.py

Times are from the predictions as tensors to the metrics; ours include its checks of the predictions. There are no
images: boxes are random.
"""

import contextlib
import io
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightseg.metrics.detection import DetectionMetric


def synthetic(images: int, detections: int, classes: int = 80, seed: int = 0) -> tuple[dict[str, Any], list[dict]]:
    """A ground truth like val2017's (7 objects per image, some of them crowds), and detections of half of it."""
    random = np.random.default_rng(seed)
    sizes = (480, 640)
    truth: dict[str, Any] = {
        "images": [{"id": 3 * i + 1, "height": sizes[0], "width": sizes[1]} for i in range(images)],
        "categories": [{"id": i + 1 + i // 10, "name": str(i)} for i in range(classes)],
        "annotations": [],
    }
    predictions = []
    for image in truth["images"]:
        n = int(random.integers(0, 15))
        corner, side = random.uniform(0, 400, (n, 2)), np.exp(random.uniform(2, 5.5, (n, 2)))
        labels = random.integers(0, classes, n)
        for x, y, label in zip(corner, side, labels, strict=True):
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1, "image_id": image["id"], "bbox": [*x.tolist(), *y.tolist()],
                    "category_id": truth["categories"][label]["id"], "area": float(y.prod() * 0.7),
                    "iscrowd": int(random.random() < 0.02),
                }
            )  # fmt: skip
        near = np.concatenate([corner, corner + side], 1) + random.normal(0, 4, (n, 4))
        free = random.uniform(0, 400, (detections - n, 2))
        boxes = np.concatenate([near, np.concatenate([free, free + random.uniform(5, 200, free.shape)], 1)])
        labels = np.concatenate([labels, random.integers(0, classes, detections - n)])
        scores = random.random(detections)
        scores[n:] *= 0.6
        predictions.append(
            {
                "boxes": torch.from_numpy(boxes).float(),
                "labels": torch.from_numpy(labels),
                "scores": torch.from_numpy(scores).float(),
            }
        )
    return truth, predictions


def evaluation_ratio(images: int = 5000, detections: int = 100) -> dict[str, float]:
    """`compare_evaluators` for detection."""
    truth, predictions = synthetic(images, detections)
    image_ids = [image["id"] for image in truth["images"]]
    names = [category["name"] for category in truth["categories"]]
    metric = DetectionMetric(truth, names, [category["id"] for category in truth["categories"]])
    batches = [
        {"predictions": predictions[start : start + 32], "image_ids": image_ids[start : start + 32]}
        for start in range(0, images, 32)
    ]
    keys = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100")
    return compare_evaluators(metric, batches, truth, "bbox", keys)


def compare_evaluators(
    metric: Any,
    batches: Sequence[Mapping[str, Any]],
    truth: dict[str, Any],
    kind: str,
    keys: Sequence[str],
    sigmas: np.ndarray | None = None,
) -> dict[str, float]:
    """Seconds of both evaluators, their `ratio`, the largest `difference` of a metric, the memory that ours adds to the
    process (`gigabytes`), and the first metric.

    batches: arguments of `metric.update`. kind: pycocotools' `iouType`. keys: our names of pycocotools' metrics.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for batch in batches:
        metric.update(**batch)
    figures = metric.compute()
    ours = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(metric.results()), kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = time.perf_counter() - start
    difference = max(abs(figures[key] - value) for key, value in zip(keys, evaluation.stats, strict=False))
    return {
        "ours_s": ours, "pycocotools_s": theirs, "ratio": theirs / ours, "difference": difference,
        "gigabytes": memory * 1024 / 2**30, keys[0]: figures[keys[0]],
    }  # fmt: skip


def print_comparison(count: str, result: Mapping[str, float]) -> None:
    """Print the result of `compare_evaluators`, and stop if the metrics differ."""
    name, value = list(result.items())[-1]
    print(
        f"evaluation: {count}\n  pycocotools {result['pycocotools_s']:.1f} s   lightseg {result['ours_s']:.1f} s, "
        f"{result['gigabytes']:.2f} GB   ratio {result['ratio']:.2f}   {name} {value:.4f}, figures differ by "
        f"{result['difference']:.0e} at most",
        flush=True,
    )
    assert result["difference"] <= 1e-6, "the evaluators disagree"


if __name__ == "__main__":
    print_comparison("5000 images of 100 detections", evaluation_ratio())
