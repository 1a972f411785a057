"""Where people are in a picture: a detector finds them, or a file lists them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from lightseg.data.datasets.coco_json import clip_boxes
from lightseg.inference.media import Frame
from lightseg.inference.person_list import PersonList
from lightseg.inference.preprocess import FixedSize
from lightseg.inference.runners import Runner


class Found(NamedTuple):
    """boxes: float32 [n, 4] xyxy in pixels of the picture. scores: float32 [n]. note: what was left out, or None."""

    boxes: np.ndarray
    scores: np.ndarray
    note: str | None = None


class Persons(Protocol):
    """most_images: the largest batch, None: any."""

    most_images: int | None

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> what `find` takes of it, uint8 [h, w, 3]."""
        ...

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Found]:
        """inputs uint8 [B, 3, h, w] of the pictures of `frames`."""
        ...


class DetectedPersons:
    """By a network of task det. label: of its class of persons. least_score: of the boxes that count."""

    def __init__(self, runner: Runner, fit: FixedSize, label: int, least_score: float) -> None:
        self.runner, self.fit, self.label, self.least_score = runner, fit, label, least_score
        self.most_images = runner.most_images

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self.fit(image)

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Found]:
        sizes = [frame.image.shape[:2] for frame in frames if frame.image is not None]
        answers = []
        for found, size in zip(self.runner(inputs, sizes), sizes, strict=True):
            one = self.fit.restore(found, size)
            sides = one["boxes"][:, 2:] - one["boxes"][:, :2]
            chosen = (one["labels"] == self.label) & (one["scores"] >= self.least_score) & (sides > 0).all(1)
            answers.append(Found(one["boxes"][chosen], one["scores"][chosen]))
        return answers


class ListedPersons:
    """From a file of COCO results. least_score: of the boxes that count."""

    most_images: int | None = None

    def __init__(self, listed: PersonList, least_score: float) -> None:
        self.listed, self.least_score = listed, least_score

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """One black pixel: no network looks at the picture as a whole."""
        return np.zeros((1, 1, 3), np.uint8)

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Found]:
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> Found:
        assert frame.image is not None
        bbox, scores = self.listed.of(frame.file_name, frame.index)
        sure = scores >= self.least_score
        bbox, scores = bbox[sure], scores[sure]
        sizes = np.array([frame.image.shape[:2]] * len(bbox), np.int64).reshape(-1, 2)
        boxes, inside, beyond = clip_boxes(bbox, sizes)
        counts = ((~inside).sum(), "outside the picture and left out"), ((inside & beyond).sum(), "cut to the picture")
        note = " and ".join(f"{count} of {len(bbox)} boxes {what}" for count, what in counts if count) or None
        return Found(boxes[inside].astype(np.float32), scores[inside], note)
