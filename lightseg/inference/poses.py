"""Poses as files and on pictures, and the skeleton that a checkpoint or an exported file brings along."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.skeleton import DEFAULT_SIGMA
from lightseg.draw_pose import draw_pose
from lightseg.errors import LightsegError
from lightseg.inference.files import GrowingList
from lightseg.inference.media import Frame
from lightseg.metrics.oks import person_scores

LEAST_SCORE = 0.2  # of a keypoint that counts for its person's score, as in the evaluation

Skeleton = dict[str, list[Any]]  # edges, pairs, sigmas


def read_skeleton(given: Mapping[str, Any] | None, count: int, where: str | Path) -> Skeleton:
    """The skeleton of `count` keypoints, without lines and of usual sigmas where there is none.

    Raises:
        LightsegError: it joins points that there are not, or has another number of sigmas.
    """
    skeleton = {"edges": [], "pairs": [], "sigmas": [DEFAULT_SIGMA] * count, **(given or {})}
    links = [link for key in ("edges", "pairs") for link in _list(skeleton[key])]
    joined = all(
        isinstance(link, list | tuple) and len(link) == 2 and all(_place(p, count) for p in link) for link in links
    )
    sigmas = _list(skeleton["sigmas"])
    if not joined or len(sigmas) != count or not all(isinstance(s, int | float) and s > 0 for s in sigmas):
        raise LightsegError(f"{where}: its skeleton does not fit its {count} keypoints")
    return {key: list(skeleton[key]) for key in ("edges", "pairs", "sigmas")}


def _list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [None]


def _place(point: Any, count: int) -> bool:
    return isinstance(point, int) and 0 <= point < count


class PoseResults:
    """pose: of a picture's persons `boxes` [n, 4] xyxy, `box_scores` [n], `keypoints` [n, K, 2], `scores` [n, K].

    score: keypoints of a lower one are not drawn; the file has all.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], skeleton: Skeleton, score: float) -> None:
        self.skeleton, self.score = skeleton, score
        self.number = 0
        self.list = GrowingList(folder / "results.json")
        lines = [[start + 1, end + 1] for start, end in skeleton["edges"]]
        category = {"id": 1, "name": "person", "keypoints": list(class_names), "skeleton": lines}
        head = f'{{"categories": [{json.dumps(category, ensure_ascii=False)}],\n"annotations": [],\n"images": ['
        self.images = GrowingList(folder / "images.json", head, "]}\n")

    def add(self, frame: Frame, prediction: dict[str, np.ndarray]) -> None:
        assert frame.image is not None
        self.number += 1
        height, width = frame.image.shape[:2]
        self.images.append({"id": self.number, **frame.origin, "height": height, "width": width})
        boxes, points = prediction["boxes"].astype(np.float64), prediction["keypoints"].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        points = np.concatenate([points, prediction["scores"][..., None].astype(np.float64)], 2)
        scores = person_scores(prediction["box_scores"], prediction["scores"], LEAST_SCORE)
        columns = (
            points.reshape(len(points), 3 * points.shape[1]).round(3),
            scores,
            boxes.round(3),
            prediction["box_scores"],
        )
        for keypoints, score, box, box_score in zip(*(column.tolist() for column in columns), strict=True):
            entry = {"image_id": self.number, "category_id": 1, "keypoints": keypoints, "score": round(score, 6)}
            self.list.append({**entry, "box": box, "box_score": round(box_score, 6), **frame.origin})

    def draw(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        if not (prediction["scores"] >= self.score).any():
            return image
        edges, pairs = self.skeleton["edges"], self.skeleton["pairs"]
        scores = prediction["scores"].astype(np.float32)
        return draw_pose(image, prediction["keypoints"], scores, edges, pairs, self.score)

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.images.finish()
