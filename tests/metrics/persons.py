"""Synthetic ground truth of persons, and predictions in its boxes or in those of a detector."""

from typing import Any

import numpy as np
import torch

from lightseg.metrics.pose import PoseMetric

NAMES = ["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip"]
SIGMAS = [0.026, 0.079, 0.079, 0.107, 0.06]
POSE = np.array([[0.5, 0.1], [0.7, 0.3], [0.3, 0.3], [0.65, 0.7], [0.35, 0.7]])  # in a box of 1 x 1
Persons = dict[str, Any]  # the arguments of `PoseMetric.update`


def synthetic(images: int = 40, max_persons: int = 9, seed: int = 0) -> dict[str, Any]:
    """Up to `max_persons - 1` persons per image, of all sizes; occluded, crowds, without keypoints; empty images."""
    random = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [{"id": 7 * i + 3, "height": 480, "width": 640} for i in range(images)],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
        "annotations": [],
    }
    for image in truth["images"]:
        for _ in range(random.integers(0, max_persons)):
            corner, height = random.uniform(0, 300, 2), np.exp(random.uniform(3, 5.5))
            size = np.array([height * 0.5, height])
            visible = random.choice(3, len(NAMES), p=[0.15, 0.25, 0.6]) * (random.random() > 0.15)
            points = np.round(corner + (POSE + random.normal(0, 0.05, POSE.shape)) * size, 2)
            points[visible == 0] = 0
            truth["annotations"].append(
                {
                    "id": 11 * len(truth["annotations"]) + 5, "image_id": image["id"], "category_id": 1,
                    "keypoints": np.hstack([points, visible[:, None]]).ravel().tolist(),
                    "num_keypoints": int((visible > 0).sum()), "bbox": [*corner.tolist(), *size.tolist()],
                    "area": float(size.prod() * 0.6), "iscrowd": int(random.random() < 0.08),
                }
            )  # fmt: skip
    return truth


def persons(truth: dict[str, Any], noise: float = 0.0, seed: int = 0) -> Persons:
    """Predictions in the ground-truth boxes: labeled keypoints, shifted by `noise` times the box; others at random.

    With noise the scores are rounded, so that ties occur, and some persons are at random positions.
    """
    random = np.random.default_rng(seed)
    annotations = [a for a in truth["annotations"] if not a["iscrowd"] and a["num_keypoints"]]
    points = np.array([a["keypoints"] for a in annotations]).reshape(len(annotations), -1, 3)
    boxes = np.array([a["bbox"] for a in annotations]).reshape(-1, 1, 4)
    xy = points[..., :2] + random.normal(0, 1, points[..., :2].shape) * noise * boxes[..., 2:]
    at_random = (points[..., 2] == 0) | (random.random((len(annotations), 1)) < 2 * noise)
    xy = np.where(at_random[..., None], boxes[..., :2] + random.random(xy.shape) * boxes[..., 2:], xy)
    return {
        "keypoints": torch.from_numpy(xy).float(),
        "scores": torch.from_numpy(random.random(xy.shape[:2]).round(1) if noise else np.ones(xy.shape[:2])),
        "box_scores": torch.ones(len(annotations)),
        "boxes": torch.from_numpy(np.hstack([boxes[:, 0, :2], boxes[:, 0, :2] + boxes[:, 0, 2:]])).float(),
        "image_ids": [a["image_id"] for a in annotations],
        "ids": [a["id"] for a in annotations],
    }


def detected(truth: dict[str, Any], seed: int = 0) -> Persons:
    """Predictions in the boxes of a detector: some persons twice, some not at all; more than 20 in some images."""
    random = np.random.default_rng(seed)
    first, second = persons(truth, 0.06, seed), persons(truth, 0.03, seed + 1)
    both = {key: [*first[key], *second[key], *second[key]] for key in first}
    keep = np.flatnonzero(random.random(len(both["ids"])) < 0.7).tolist()
    both = {key: [both[key][i] for i in keep] for key in both}
    for key in ("keypoints", "scores", "boxes"):
        both[key] = torch.stack(both[key])
    both["box_scores"] = torch.from_numpy(random.random(len(keep)).round(2)).float()
    both["boxes"] += torch.from_numpy(random.normal(0, 3, (len(keep), 4))).float()
    return both


def subset(predictions: Persons, indices: list[int]) -> Persons:
    return {
        key: [value[i] for i in indices] if isinstance(value, list) else value[indices]
        for key, value in predictions.items()
    }


def fill(metric: PoseMetric, predictions: Persons, batch: int = 7) -> PoseMetric:
    for start in range(0, len(predictions["ids"]), batch):
        metric.update(**subset(predictions, list(range(start, min(start + batch, len(predictions["ids"]))))))
    return metric
