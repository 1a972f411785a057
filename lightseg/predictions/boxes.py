"""The prediction of a detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightseg.draw import draw_boxes
from lightseg.predictions.base import Prediction, count, names_of, supervision


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Detection(Prediction):
    """The boxes from the call's `score` on, the highest score first.

    Attributes:
        boxes_xyxy: float32 [n, 4], x1, y1, x2, y2 in pixels of the image.
        labels: int64 [n].
        scores: float32 [n].
        palette: an RGB color a class.
    """

    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    palette: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[str]:
        """The class of each box."""
        return names_of(self.class_names, self.labels)

    def plot(self, min_score: float | None = None) -> np.ndarray:
        drawn = self.scores >= self._shown(min_score)
        boxes, labels, scores = self.boxes_xyxy[drawn], self.labels[drawn], self.scores[drawn]
        return draw_boxes(self.image, boxes, labels, scores, self.class_names, self.palette)

    def to_dict(self) -> dict[str, Any]:
        rows = zip(self.boxes_xyxy.tolist(), self.names, self.scores.tolist(), strict=True)
        return {**self._origin(), "boxes": [{"xyxy": box, "class": name, "score": score} for box, name, score in rows]}

    def to_coco(
        self, image_id: int | str | None = None, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """`bbox` is x, y, width, height."""
        image, ids = self._ids(image_id, category_ids)
        return [
            {"image_id": image, "category_id": ids[label], "bbox": box, "score": score}
            for box, label, score in zip(
                coco_boxes(self.boxes_xyxy), self.labels.tolist(), rounded_scores(self.scores), strict=True
            )
        ]

    def to_supervision(self) -> Any:
        return supervision().Detections(
            xyxy=self.boxes_xyxy,
            class_id=self.labels,
            confidence=self.scores,
            data={"class_name": np.array(self.names)},
        )

    def _summary(self) -> str:
        return count(self.names)


def coco_boxes(boxes: np.ndarray) -> list[list[float]]:
    """[n, 4] xyxy -> x, y, width, height, to a thousandth of a pixel."""
    boxes = boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes.round(3).tolist()


def rounded_scores(scores: np.ndarray) -> list[float]:
    """To six digits, as the result files have them."""
    return [round(score, 6) for score in scores.tolist()]
