"""COCO's keypoint metrics of 10,000 persons: our evaluator against pycocotools.

    python benchmarks/pose_evaluation.py

Times are from the predictions as tensors to the metrics; ours include PCK and its checks of the predictions. There are
no images: persons are random, a mean of four per image, some of them crowds or without keypoints.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from benchmarks.coco_evaluation import compare_evaluators, print_comparison
from lightseg.metrics.pose import PoseMetric

NAMES = ["nose", *(f"{side}_{name}" for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                   for side in ("left", "right"))]  # fmt: skip


def synthetic(persons: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ground truth, and the arguments of `PoseMetric.update` for predictions with errors of a few per cent of the
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
    noise = random.normal(0, 1, points.shape) * random.uniform(0, 0.1, (persons, 1, 1)) * sizes[:, None]
    chosen = np.flatnonzero(~crowds & (visible > 0).any(1))
    arrays = {
        "keypoints": points + noise, "scores": random.random(points.shape[:2]), "box_scores": np.ones(persons),
        "boxes": np.hstack([corners, corners + sizes]),
    }  # fmt: skip
    tensors: dict[str, Any] = {key: torch.from_numpy(value[chosen]).float() for key, value in arrays.items()}
    return truth, {**tensors, "image_ids": owners[chosen].tolist(), "ids": (chosen + 1).tolist()}


def evaluation_ratio(persons: int = 10_000) -> dict[str, float]:
    """`compare_evaluators` for pose."""
    truth, predictions = synthetic(persons)
    sigmas = np.linspace(0.025, 0.107, len(NAMES))
    metric = PoseMetric(truth, NAMES, sigmas.tolist())
    starts = range(0, len(predictions["ids"]), 64)
    batches = [{key: value[start : start + 64] for key, value in predictions.items()} for start in starts]
    keys = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
    return compare_evaluators(metric, batches, truth, "keypoints", keys, sigmas)


if __name__ == "__main__":
    print_comparison("10000 persons", evaluation_ratio())
