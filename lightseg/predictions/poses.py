"""The prediction of a pose network for an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lightseg.draw_pose import draw_pose
from lightseg.predictions.base import Prediction, supervision
from lightseg.predictions.boxes import rounded_scores


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Pose(Prediction):
    """The persons from the call's `score` on.

    Attributes:
        keypoints: float32 [n, K, 2], xy in pixels of the image; 0, 0 is the center of the first pixel.
        keypoint_scores: float32 [n, K].
        scores: float64 [n], of the persons: the box's score times the mean of its keypoints' scores above 0.2.
        boxes_xyxy: float32 [n, 4]; without a detector the whole image.
        box_scores: float32 [n].
        labels: int64 [n], zeros: every object is a person.
        keypoint_names: in the order of the keypoints.
        skeleton: `edges` to draw and `pairs` of left and right, as indices of keypoints.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    boxes_xyxy: np.ndarray
    box_scores: np.ndarray
    labels: np.ndarray
    keypoint_names: tuple[str, ...]
    skeleton: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.scores)

    def plot(self, min_score: float | None = None) -> np.ndarray:
        """min_score: of the keypoints that are drawn."""
        shown = self._shown(min_score)
        return draw_persons(self.image, self.keypoints, self.keypoint_scores, self.skeleton, shown)

    def to_dict(self) -> dict[str, Any]:
        points = np.concatenate([self.keypoints, self.keypoint_scores[..., None]], 2).tolist()
        rows = zip(points, self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True)
        persons = [
            {"keypoints": dict(zip(self.keypoint_names, person, strict=True)), "score": score, "xyxy": box}
            for person, score, box in rows
        ]
        return {**self._origin(), "persons": persons}

    def to_coco(
        self, image_id: int | str | None = None, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """`keypoints` is x, y, score of each."""
        image, ids = self._ids(image_id, category_ids)
        rows = zip(flat_keypoints(self.keypoints, self.keypoint_scores), rounded_scores(self.scores), strict=True)
        return [
            {"image_id": image, "category_id": ids[0], "keypoints": keypoints, "score": score}
            for keypoints, score in rows
        ]  # fmt: skip

    def to_supervision(self) -> Any:
        kind = supervision().KeyPoints
        renamed = "keypoint_confidence" in {field.name for field in fields(kind)}  # `confidence` in older releases
        scores = {"keypoint_confidence" if renamed else "confidence": self.keypoint_scores}
        return kind(xy=self.keypoints, class_id=self.labels, **scores)

    def _summary(self) -> str:
        return f"{len(self)} person" if len(self) else ""


def flat_keypoints(keypoints: np.ndarray, scores: np.ndarray) -> list[list[float]]:
    """[n, K, 2] and [n, K] -> x, y, score, ... of each person, to a thousandth."""
    points = np.concatenate([keypoints.astype(np.float64), scores[..., None].astype(np.float64)], 2)
    return points.reshape(len(points), 3 * points.shape[1]).round(3).tolist()


def draw_persons(
    image: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, skeleton: Mapping[str, Any], min_score: float
) -> np.ndarray:
    """Draw keypoints [n, K, 2] with scores [n, K] from `min_score` on."""
    if not (scores >= min_score).any():
        return image
    marks = scores.astype(np.float32)
    return draw_pose(image, keypoints, marks, skeleton["edges"], skeleton["pairs"], min_score)
