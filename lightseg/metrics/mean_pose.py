"""The mean pose as a baseline: the score of a model that knows the boxes but not the images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.metrics.coco import Id
from lightseg.metrics.pose import PoseMetric


def to_box(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints [N, K, 2] in px -> fractions of the width and height of their boxes [N, 4] xyxy px."""
    return (keypoints - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])


def mean_pose(keypoints: Tensor, visible: Tensor) -> Tensor:
    """[K, 2]: the mean of each keypoint over the persons with a label of it; the center of the box without any label.

    keypoints [N, K, 2] in fractions of the box (`to_box`); visible [N, K], 0 = not labeled.
    """
    if keypoints.ndim != 3 or keypoints.shape != (*visible.shape, 2):
        raise LightsegError(f"keypoints {list(keypoints.shape)}, visible {list(visible.shape)}: not [N, K, 2], [N, K]")
    labeled = (visible > 0)[..., None]
    count = labeled.sum(0)
    mean = torch.where(labeled, keypoints, 0).sum(0) / count.clamp(min=1)  # unlabeled keypoints may be NaN
    return torch.where(count > 0, mean, 0.5)


def mean_pose_baseline(
    metric: PoseMetric,
    train_keypoints: Tensor,
    train_visible: Tensor,
    boxes: Tensor,
    box_scores: Tensor,
    image_ids: Sequence[Id],
    ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """The metrics of the mean pose of the training persons in every box of the evaluation.

    Nothing is gathered from other processes: a single process may call it.

    Args:
        metric: its ground truth and settings are used; its state is not changed.
        train_keypoints, train_visible: as for `mean_pose`.
        boxes, box_scores, image_ids, ids: of all persons of the evaluation, as for `PoseMetric.update`.
    """
    corners = boxes[:, None, :2]
    keypoints = corners + mean_pose(train_keypoints, train_visible) * (boxes[:, None, 2:] - corners)
    baseline = metric.empty_copy()
    baseline.sync_on_compute = False
    baseline.update(keypoints, torch.ones_like(keypoints[..., 0]), box_scores, boxes, image_ids, ids)
    return baseline.compute()
