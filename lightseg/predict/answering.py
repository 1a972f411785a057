"""From pictures to answers in their own pixels: one network, or a detector and after it a network for each person."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.metrics.oks import oks_nms, person_scores
from lightseg.predict.inputs import CropPerson, Preparation, Size, preparation, together
from lightseg.predict.poses import LEAST_SCORE
from lightseg.predict.runners import Runner, open_runner

PERSON = "person"  # the detector's class whose boxes count


class Answerer(Protocol):
    """
    Attributes:
        runner: the network that gives the answers.
        most_images: the largest batch, None: any.
    """

    runner: Runner
    most_images: int | None

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> what the first network looks at, uint8 [h, w, 3]. LightsegError where it cannot be."""
        ...

    def answer(self, inputs: Tensor, images: Sequence[np.ndarray]) -> list[Any]:
        """inputs uint8 [B, 3, h, w] of the pictures `images` -> an answer each, in pixels of the picture."""
        ...


class OneNetwork:
    """The picture goes in, the answer comes back to its size."""

    def __init__(self, runner: Runner, prepare: Preparation) -> None:
        self.runner, self.preparation = runner, prepare
        self.most_images = runner.most_images

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self.preparation(image)

    def answer(self, inputs: Tensor, images: Sequence[np.ndarray]) -> list[Any]:
        sizes: list[Size] = [image.shape[:2] for image in images]
        answers = self.runner(inputs, sizes)
        return [self.preparation.restore(answer, size) for answer, size in zip(answers, sizes, strict=True)]


class TopDown:
    """Persons by a detector, then the keypoints of each in its crop, as evaluation with a detector's boxes does.

    label: of persons. score: of the boxes that count. Of two persons whose OKS is above the run's `data.oks_nms` the
    worse one is dropped.
    """

    def __init__(self, detector: OneNetwork, label: int, score: float, runner: Runner, crop: CropPerson) -> None:
        self.detector, self.label, self.score = detector, label, score
        self.runner, self.crop = runner, crop
        self.most_images = detector.most_images
        self.sigmas = np.array(runner.skeleton["sigmas"], np.float64)
        nms = runner.evaluation.get("oks_nms")
        if nms is not None and not (isinstance(nms, int | float) and 0 <= nms <= 1):
            raise LightsegError(f"data.oks_nms of the pose network's run is {nms!r}: an OKS from 0 to 1, or null")
        self.nms_threshold = nms

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self.detector.prepare(image)

    def answer(self, inputs: Tensor, images: Sequence[np.ndarray]) -> list[Any]:
        return [
            self._persons(image, found)
            for image, found in zip(images, self.detector.answer(inputs, images), strict=True)
        ]

    def _persons(self, image: np.ndarray, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        boxes, scores = found["boxes"], found["scores"]
        sides = boxes[:, 2:] - boxes[:, :2]
        chosen = (found["labels"] == self.label) & (scores >= self.score) & (sides > 0).all(1)
        boxes, scores = boxes[chosen], scores[chosen]
        room = min(together(self.crop.size), self.runner.most_images or len(boxes) or 1)
        parts = [self._points(image, boxes[i : i + room]) for i in range(0, len(boxes), room)]
        count = len(self.runner.class_names)
        keypoints = np.concatenate([np.zeros((0, count, 2), np.float32), *(points for points, _ in parts)])
        sure = np.concatenate([np.zeros((0, count), np.float32), *(marks for _, marks in parts)])
        persons = {"boxes": boxes, "box_scores": scores, "keypoints": keypoints, "scores": sure}
        if self.nms_threshold is None or len(boxes) < 2:
            return persons
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        ranks = person_scores(scores, sure, LEAST_SCORE)
        same = np.zeros(len(boxes), np.int64)
        stays = oks_nms(keypoints, ranks, areas, same, self.sigmas, float(self.nms_threshold))
        return {key: value[stays] for key, value in persons.items()}

    def _points(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """boxes [n, 4] xyxy -> keypoints [n, K, 2] in pixels of the picture, and their scores [n, K]."""
        cut = [self.crop.cut(image, box) for box in boxes]
        inputs = torch.from_numpy(np.stack([pixels for pixels, _ in cut])).permute(0, 3, 1, 2)
        found = self.runner(inputs, [self.crop.size] * len(cut))
        pairs = zip(found, (matrix for _, matrix in cut), strict=True)
        return (
            np.stack([one["keypoints"] @ matrix[:, :2].T + matrix[:, 2] for one, matrix in pairs]),
            np.stack([one["scores"] for one in found]),
        )


def open_answerer(
    checkpoint: str | Path,
    device: str | None = None,
    *,
    size: Sequence[int] | None = None,
    person_detector: str | Path | None = None,
    score: float = 0.3,
) -> Answerer:
    """What answers pictures: a checkpoint or exported file, for pose perhaps with a detector before it.

    size: of the network's input, not of the detector's. score: least one of a detector's box.

    Raises:
        LightsegError: a file that cannot be used, or is of a task that does not fit.
    """
    runner = open_runner(checkpoint, device)
    prepare = preparation(runner.task, runner.evaluation, size, runner.fixed_size)
    if person_detector is None:
        return OneNetwork(runner, prepare)
    if not isinstance(prepare, CropPerson):
        raise LightsegError(f"--person-detector is for pose, and {checkpoint} is of task {runner.task}: leave it out")
    detector = open_runner(person_detector, device)
    if detector.task != "det":
        raise LightsegError(f"--person-detector {person_detector} is of task {detector.task}: give one of task det")
    fit = preparation("det", detector.evaluation, None, detector.fixed_size)
    label = _person_label(detector.class_names, person_detector)
    return TopDown(OneNetwork(detector, fit), label, score, runner, prepare)


def _person_label(class_names: Sequence[str], where: str | Path) -> int:
    """The place of the class `person`; of a detector of one class, that one."""
    names = [name.lower() for name in class_names]
    if PERSON in names:
        return names.index(PERSON)
    if len(names) == 1:
        return 0
    known = ", ".join(class_names[:8]) + (", ..." if len(class_names) > 8 else "")
    raise LightsegError(f"--person-detector {where} knows no class {PERSON}, only {known}")
