"""From pictures to answers in their own pixels: one network, or a network for each person of a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.inference.media import Frame
from lightseg.inference.person_list import PersonList
from lightseg.inference.persons import DetectedPersons, Found, ListedPersons, Persons
from lightseg.inference.poses import LEAST_SCORE
from lightseg.inference.preprocess import CropPerson, FixedSize, Preparation, Size, preparation, together
from lightseg.inference.runners import Runner, open_runner
from lightseg.metrics.oks import oks_nms, person_scores

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

    def answer(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        """inputs uint8 [B, 3, h, w] of the pictures of `frames` -> an answer each, in pixels of the picture. What is
        odd about one is added to its frame's note."""
        ...


class OneNetwork:
    """The picture goes in, the answer comes back to its size."""

    def __init__(self, runner: Runner, prepare: Preparation) -> None:
        self.runner, self.preparation = runner, prepare
        self.most_images = runner.most_images

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self.preparation(image)

    def answer(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        sizes: list[Size] = [frame.image.shape[:2] for frame in frames if frame.image is not None]
        answers = self.runner(inputs, sizes)
        return [self.preparation.restore(answer, size) for answer, size in zip(answers, sizes, strict=True)]


class TopDown:
    """Persons, then the keypoints of each in its crop, as evaluation with a detector's boxes does.

    Of two persons whose OKS is above the run's `data.oks_nms` the worse one is dropped.
    """

    def __init__(self, persons: Persons, runner: Runner, crop: CropPerson) -> None:
        self.persons, self.runner, self.crop = persons, runner, crop
        self.most_images = persons.most_images
        self.sigmas = np.array(runner.skeleton["sigmas"], np.float64)
        nms = runner.evaluation.get("oks_nms")
        if nms is not None and not (isinstance(nms, int | float) and 0 <= nms <= 1):
            raise LightsegError(f"data.oks_nms of the pose network's run is {nms!r}: an OKS from 0 to 1, or null")
        self.nms_threshold = nms

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self.persons.prepare(image)

    def answer(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        persons = list(zip(frames, self.persons.find(inputs, frames), strict=True))
        answers = [self._poses(frame.image, found) for frame, found in persons if frame.image is not None]
        for frame, found in persons:  # now that nothing fails any more: what failed is tried again
            if found.note:
                frame.note = "; ".join(filter(None, (frame.note, found.note)))
        return answers

    def _poses(self, image: np.ndarray, found: Found) -> dict[str, np.ndarray]:
        boxes, scores = found.boxes, found.scores
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
    persons: PersonList | None = None,
    score: float = 0.3,
) -> Answerer:
    """What answers pictures: a checkpoint or exported file, for pose perhaps with a detector or a list of boxes before
    it.

    size: of the network's input, not of the detector's. score: least one of a person's box.

    Raises:
        LightsegError: a file that cannot be used, or is of a task that does not fit.
    """
    runner = open_runner(checkpoint, device)
    prepare = preparation(runner.task, runner.evaluation, size, runner.fixed_size)
    if person_detector is None and persons is None:
        return OneNetwork(runner, prepare)
    if not isinstance(prepare, CropPerson):
        option = "--persons" if person_detector is None else "--person-detector"
        raise LightsegError(f"{option} is for pose, and {checkpoint} is of task {runner.task}: leave it out")
    if person_detector is None:
        assert persons is not None
        return TopDown(ListedPersons(persons, score), runner, prepare)
    if persons is not None:
        raise LightsegError("--persons and --person-detector both say where people are: give one of them")
    detector = open_runner(person_detector, device)
    if detector.task != "det":
        raise LightsegError(f"--person-detector {person_detector} is of task {detector.task}: give one of task det")
    fit = preparation("det", detector.evaluation, None, detector.fixed_size)
    assert isinstance(fit, FixedSize)
    label = _person_label(detector.class_names, person_detector)
    return TopDown(DetectedPersons(detector, fit, label, score), runner, prepare)


def _person_label(class_names: Sequence[str], where: str | Path) -> int:
    """The place of the class `person`; of a detector of one class, that one."""
    names = [name.lower() for name in class_names]
    if PERSON in names:
        return names.index(PERSON)
    if len(names) == 1:
        return 0
    known = ", ".join(class_names[:8]) + (", ..." if len(class_names) > 8 else "")
    raise LightsegError(f"--person-detector {where} knows no class {PERSON}, only {known}")
