"""PCK by hand, in each of its units."""

from typing import Any

import numpy as np
import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.metrics.pose import PoseMetric
from tests.metrics.persons import NAMES, SIGMAS


def two_persons() -> dict[str, Any]:
    """Torsos (left shoulder to right hip) of 50 and of 100 px, boxes of 100 x 200 and 200 x 200."""
    points = [
        [[0, 0, 0], [100, 100, 2], [60, 100, 2], [90, 140, 1], [70, 140, 2]],
        [[200, 50, 2], [300, 100, 2], [240, 100, 0], [300, 190, 2], [240, 180, 2]],
    ]
    boxes = [[50, 40, 100, 200], [200, 20, 200, 200]]
    return {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": i, "image_id": 1, "category_id": 1, "keypoints": np.ravel(keypoints).tolist(),
                "num_keypoints": 4, "bbox": box, "area": 9000, "iscrowd": 0,
            }
            for i, keypoints, box in zip((0, 5), points, boxes, strict=True)
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "correct"),
    [  # errors are 9.9, 10.1, 19.9, 20.1 and 41 px; 0.2 of the torsos is 10 and 20 px, of the boxes 40 and 40 px
        (None, [[None, 1, 0, 0, 0], [1, 1, None, 0, 0]]),
        ("torso", [[None, 1, 0, 0, 0], [1, 1, None, 0, 0]]),
        ("box", [[None, 1, 1, 1, 1], [1, 1, None, 1, 0]]),
        (["right_shoulder", "left_hip"], [[None, 1, 0, 0, 0], [None] * 5]),  # 50 px; unlabeled in the second person
    ],
)
def test_pck_by_hand(unit, correct):
    truth = two_persons()
    points = torch.tensor([a["keypoints"] for a in truth["annotations"]]).reshape(2, 5, 3)[..., :2].float()
    points[0, :, 0] += torch.tensor([500, 9.9, 10.1, 19.9, 20.1])
    points[1, :, 1] += torch.tensor([9.9, 19.9, 500, 20.1, 41])
    metric = PoseMetric(truth, NAMES, SIGMAS, pck_unit=unit)
    assert metric.pck_unit == (unit or "torso")
    metric.update(points, torch.ones(2, 5), torch.ones(2), torch.tensor([[0.0, 0, 1, 1]] * 2), [1, 1], [0, 5])
    ours, fractions = metric.compute(), []
    for name, column in zip(NAMES, zip(*correct, strict=True), strict=True):
        labeled = [hit for hit in column if hit is not None]
        if labeled:
            fractions.append(sum(labeled) / len(labeled))
            assert ours[f"PCK/{name}"] == pytest.approx(fractions[-1]), name
        else:
            assert f"PCK/{name}" not in ours
    assert ours["PCK"] == pytest.approx(sum(fractions) / len(fractions))


def test_pck_without_a_torso_is_relative_to_the_box():
    truth = two_persons()
    assert PoseMetric(truth, list("abcde"), SIGMAS).pck_unit == "box"
    with pytest.raises(LightsegError, match="PCK's unit is torso, but there is no keypoint 'left_shoulder': choose"):
        PoseMetric(truth, list("abcde"), SIGMAS, pck_unit="torso")
    with pytest.raises(LightsegError, match="PCK's unit is box, torso or two different keypoints, not"):
        PoseMetric(truth, NAMES, SIGMAS, pck_unit=["nose", "nose"])
