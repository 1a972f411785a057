"""COCO's keypoint figures of 10,000 persons: our evaluator against pycocotools, in one run.

    python benchmarks/pose_evaluation.py

Times are those from the predictions as tensors to the ten figures; ours include PCK and what it checks while they come
in. Both are held against each other to 1e-6. The persons exist on paper only: they are drawn from a seed, four an image
on average, some of them crowds or without keypoints.
"""

import contextlib
import io
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightseg.metrics.pose import PoseMetric

NAMES = ["nose", *(f"{side}_{name}" for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                   for side in ("left", "right"))]  # fmt: skip


def synthetic(persons: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ground truth, and the arguments of `PoseMetric.update` for predictions that are off by a few per cent of the
    box."""
    random = np.random.default_rng(seed)
    images = max(1, persons // 4)
    truth: dict[str, Any] = {
        "images": [{"id": 3 * i + 1, "height": 480, "width": 640} for i in range(images)],
        "categories": [{"id": 1, "name": "person"}],
    }
    owners = 3 * np.sort(random.integers(0, images, persons)) + 1
    heights = np.exp(random.uniform(3.5, 5.7, (persons, 1)))
    corners, sizes = random.uniform(0, 300, (persons, 2)), np.hstack([heights * 0.45, heights])
    visible = random.choice(3, (persons, len(NAMES)), p=[0.3, 0.1, 0.6]) * (random.random((persons, 1)) > 0.1)
    points = corners[:, None] + random.random((persons, len(NAMES), 2)) * sizes[:, None]
    crowds = random.random(persons) < 0.02
    marked = np.where(visible[..., None] > 0, points, 0).round(2)
    columns = (
        owners.tolist(), np.dstack([marked, visible]).reshape(persons, -1).tolist(), (visible > 0).sum(1).tolist(),
        np.hstack([corners, sizes]).tolist(), (sizes.prod(1) * 0.6).tolist(), crowds.astype(int).tolist(),
    )  # fmt: skip
    keys = ("image_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")
    truth["annotations"] = [
        {"id": number, "category_id": 1, **dict(zip(keys, values, strict=True))}
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    ]
    found = points + random.normal(0, 1, points.shape) * random.uniform(0, 0.1, (persons, 1, 1)) * sizes[:, None]
    chosen = np.flatnonzero(~crowds & (visible > 0).any(1))
    arrays = {
        "keypoints": found, "scores": random.random(points.shape[:2]), "box_scores": np.ones(persons),
        "boxes": np.hstack([corners, corners + sizes]),
    }  # fmt: skip
    given: dict[str, Any] = {key: torch.from_numpy(value[chosen]).float() for key, value in arrays.items()}
    return truth, {**given, "image_ids": owners[chosen].tolist(), "ids": (chosen + 1).tolist()}


def evaluation_ratio(persons: int = 10_000) -> dict[str, float]:
    """Seconds of both, pycocotools' as a multiple of ours (`ratio`), the largest difference of the figures, and the
    memory that ours added to the process (`gigabytes`).
    """
    truth, given = synthetic(persons)
    sigmas = np.linspace(0.025, 0.107, len(NAMES))
    metric = PoseMetric(truth, NAMES, sigmas.tolist())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for at in range(0, len(given["ids"]), 64):
        metric.update(**{key: value[at : at + 64] for key, value in given.items()})
    figures = metric.compute()
    ours = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(metric.results()), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = time.perf_counter() - start
    keys = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
    difference = max(abs(figures[key] - value) for key, value in zip(keys, evaluation.stats, strict=True))
    return {
        "ours_s": ours, "pycocotools_s": theirs, "ratio": theirs / ours, "difference": difference,
        "gigabytes": memory * 1024 / 2**30, "AP": figures["AP"],
    }  # fmt: skip


if __name__ == "__main__":
    for key, value in evaluation_ratio().items():
        print(f"{key:14s} {value:.3g}")
