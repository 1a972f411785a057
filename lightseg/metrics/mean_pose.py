"""The mean pose as a baseline: what a model scores that has looked at the boxes but at no picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.metrics.pose import PoseMetric


def to_box(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """[N, K, 2] px -> shares of the box's width and height, (0, 0) its left upper corner; boxes [N, 4] xyxy px."""
    return (keypoints - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])


def mean_pose(keypoints: Tensor, visible: Tensor) -> Tensor:
    """[K, 2]: the mean over the persons in whom a point is labelled; the middle of the box where it is in nobody.

    keypoints [N, K, 2] in shares of the box (`to_box`), visible [N, K], 0 = not labelled.
    """
    if keypoints.ndim != 3 or keypoints.shape != (*visible.shape, 2):
        raise LightsegError(f"keypoints {list(keypoints.shape)}, visible {list(visible.shape)}: not [N, K, 2], [N, K]")
    seen = (visible > 0)[..., None]
    count = seen.sum(0)
    mean = torch.where(seen, keypoints, 0).sum(0) / count.clamp(min=1)  # NaN may stand where nothing is labelled
    return torch.where(count > 0, mean, 0.5)


def mean_pose_baseline(
    metric: PoseMetric,
    train_keypoints: Tensor,
    train_visible: Tensor,
    boxes: Tensor,
    box_scores: Tensor,
    image_ids: Sequence[int],
    ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """What `metric.compute()` would give for the mean pose of the training persons, placed into every evaluation box.

    metric: gives its ground truth and settings; its state stays as it is.
    train_keypoints [N, K, 2] in shares of the box (`to_box`), train_visible [N, K].
    boxes [M, 4] xyxy px, box_scores [M], image_ids and ids [M]: all persons of the evaluation, as for `update`.
        Nothing is gathered from other processes, so one of them alone may call this.
    """
    corners = boxes[:, None, :2]
    keypoints = corners + mean_pose(train_keypoints, train_visible) * (boxes[:, None, 2:] - corners)
    baseline = metric.fresh()
    baseline.sync_on_compute = False
    baseline.update(keypoints, torch.ones_like(keypoints[..., 0]), box_scores, boxes, image_ids, ids)
    return baseline.compute()
