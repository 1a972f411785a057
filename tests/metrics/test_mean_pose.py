"""The mean pose, and its metrics as a baseline."""

import copy
import math

import numpy as np
import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.metrics.mean_pose import mean_pose, mean_pose_baseline, to_box
from lightseg.metrics.pose import PoseMetric
from tests.metrics.persons import NAMES, POSE, SIGMAS, fill, persons, synthetic


def test_the_mean_pose():
    keypoints = torch.tensor([[[0.1, 0.2], [0.5, 0.5], [math.nan, 9]], [[0.3, 0.4], [0.9, 0.1], [1, 1]]])
    visible = torch.tensor([[2, 1, 0], [1, 0, 0]])
    assert torch.allclose(mean_pose(keypoints, visible), torch.tensor([[0.2, 0.3], [0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(LightsegError, match=r"not \[N, K, 2\]"):
        mean_pose(keypoints, visible[:, :2])


def test_the_mean_pose_as_a_baseline():
    """The mean pose has AP 1 where persons differ only in their boxes."""
    truth = synthetic()
    predictions = persons(truth)
    exact = copy.deepcopy(truth)
    for annotation in exact["annotations"]:
        box, size = np.split(np.array(annotation["bbox"]), 2)
        visible = np.array(annotation["keypoints"]).reshape(-1, 3)[:, 2:]
        annotation["keypoints"] = np.hstack([box + POSE * size, visible]).ravel().tolist()
    rest = {key: predictions[key] for key in ("boxes", "box_scores", "image_ids", "ids")}
    train = torch.from_numpy(POSE).float().repeat(4, 1, 1)
    assert torch.allclose(
        train[:1], to_box(torch.from_numpy(POSE)[None] * 50 + 3, torch.tensor([[3, 3, 53, 53]])).float()
    )
    metric = fill(PoseMetric(exact, NAMES, SIGMAS, pck_unit="box"), persons(exact, 0.1))
    before = metric.compute()
    figures = mean_pose_baseline(metric, train, torch.ones(4, len(NAMES)), **rest)
    assert figures["AP"] == pytest.approx(1.0, abs=1e-6) and figures["PCK"] == 1.0
    assert metric._computed == before and 0.0 < before["AP"] < 0.9
    wrong = mean_pose_baseline(metric, train.flip(1), torch.ones(4, len(NAMES)), **rest)
    assert wrong["AP"] < 0.1
