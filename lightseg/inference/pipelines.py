"""From images to predictions in pixels of the image: a single network, or a pose network for each person."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.tiles import Tiling
from lightseg.errors import LightsegError
from lightseg.inference.person_boxes import Boxes, BoxFile, DetectedPersons, ListedPersons, Persons
from lightseg.inference.preprocess import batch_size, preprocessing
from lightseg.inference.runners import Runner, open_runner
from lightseg.input_contract import Size
from lightseg.metrics.oks import oks_nms, person_scores
from lightseg.task_specs import Preprocessing
from lightseg.task_specs.pose import MIN_SCORE, PersonCrop
from lightseg.text import shorten

MIN_TILE = 32  # pixels of a side
PERSON = "person"  # the detector's class whose boxes are used


class Pipeline(Protocol):
    """From preprocessed images to predictions.

    Attributes:
        runner: the network that gives the predictions.
        max_images: the largest batch. None: any.
    """

    runner: Runner
    max_images: int | None

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """[H, W, C] -> input of the first network, [h, w, C]. LightsegError for an image that cannot be
        prepared."""
        ...

    def predict(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        """inputs [B, C, h, w] of the images of `frames` -> a prediction each, in pixels of the image. Defects
        are added to the frame's note."""
        ...

    def inputs_of(self, image: np.ndarray, prediction: Any) -> list[np.ndarray]:
        """[H, W, C] and its prediction -> the inputs [h, w, C] of `runner`'s network, best first."""
        ...


class SingleStage:
    """One network on the whole image."""

    def __init__(self, runner: Runner, preprocess: Preprocessing) -> None:
        self.runner, self.preprocess = runner, preprocess
        self.max_images = runner.max_images

    def predict(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        sizes: list[Size] = [frame.image.shape[:2] for frame in frames if frame.image is not None]
        predictions = self.runner(inputs, sizes)
        return [self.preprocess.restore(prediction, size) for prediction, size in zip(predictions, sizes, strict=True)]

    def inputs_of(self, image: np.ndarray, prediction: Any) -> list[np.ndarray]:
        return [self.preprocess(image)]


class Tiled:
    """One network on the tiles of large images, whose predictions are merged. One image at a time."""

    max_images: int | None = 1

    def __init__(self, runner: Runner, preprocess: Preprocessing, tiling: Tiling) -> None:
        self.runner, self.tile_preprocess, self.tiling = runner, preprocess, tiling

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """One black pixel: no network takes the whole image."""
        return np.zeros((1, 1, 1), np.uint8)

    def predict(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        images = [frame.input for frame in frames if frame.input is not None]
        task = self.runner.task
        return [task.predict_tiles(self.runner, image, self.tiling, self.tile_preprocess) for image in images]

    def inputs_of(self, image: np.ndarray, prediction: Any) -> list[np.ndarray]:
        tiles = (tile for row in self.tiling.rows(image.shape[:2]) for tile in row)
        return [self.tile_preprocess(np.ascontiguousarray(tile.cut(image))) for tile in tiles]


class TopDown:
    """Boxes of persons first, then the keypoints of each person in its crop, as in evaluation with a detector's boxes.

    Of two persons whose OKS is above the contract's `oks_nms` the one with the lower score is dropped.
    """

    def __init__(self, persons: Persons, runner: Runner, crop: PersonCrop) -> None:
        self.persons, self.runner, self.crop = persons, runner, crop
        self.max_images = persons.max_images
        self.preprocess = persons.preprocess
        assert runner.contract.skeleton is not None
        self.sigmas = np.array(runner.contract.skeleton["sigmas"], np.float64)
        self.nms_threshold = runner.contract.oks_nms

    def predict(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Any]:
        persons = list(zip(frames, self.persons.find(inputs, frames), strict=True))
        predictions = [self._poses(frame.input, boxes) for frame, boxes in persons if frame.input is not None]
        for frame, boxes in persons:  # after the last step that can fail, because a failed batch is repeated
            if boxes.note:
                frame.note = "; ".join(filter(None, (frame.note, boxes.note)))
        return predictions

    def inputs_of(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> list[np.ndarray]:
        best_first = np.argsort(-prediction["box_scores"], kind="stable")
        return [self.crop.cut(image, box)[0] for box in prediction["boxes"][best_first]]

    def _poses(self, image: np.ndarray, persons: Boxes) -> dict[str, np.ndarray]:
        boxes, scores = persons.boxes, persons.scores
        step = min(batch_size(self.crop.size), self.runner.max_images or len(boxes) or 1)
        parts = [self._keypoints(image, boxes[i : i + step]) for i in range(0, len(boxes), step)]
        count = len(self.runner.contract.class_names or ())
        keypoints = np.concatenate([np.zeros((0, count, 2), np.float32), *(points for points, _ in parts)])
        marks = np.concatenate([np.zeros((0, count), np.float32), *(marks for _, marks in parts)])
        poses = {"boxes": boxes, "box_scores": scores, "keypoints": keypoints, "scores": marks}
        if self.nms_threshold is None or len(boxes) < 2:
            return poses
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        ranks = person_scores(scores, marks, MIN_SCORE)
        same_image = np.zeros(len(boxes), np.int64)
        kept = oks_nms(keypoints, ranks, areas, same_image, self.sigmas, float(self.nms_threshold))
        return {key: value[kept] for key, value in poses.items()}

    def _keypoints(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """boxes [n, 4] xyxy -> keypoints [n, K, 2] in pixels of the image, and their scores [n, K]."""
        crops = [self.crop.cut(image, box) for box in boxes]
        inputs = torch.from_numpy(np.stack([pixels for pixels, _ in crops])).permute(0, 3, 1, 2)
        predictions = self.runner(inputs, [self.crop.size] * len(crops))
        pairs = zip(predictions, (matrix for _, matrix in crops), strict=True)
        return (
            np.stack([pose["keypoints"] @ matrix[:, :2].T + matrix[:, 2] for pose, matrix in pairs]),
            np.stack([pose["scores"] for pose in predictions]),
        )


def open_pipeline(
    checkpoint: str | Path,
    device: str | None = None,
    *,
    size: Sequence[int] | None = None,
    person_detector: str | Path | None = None,
    persons: BoxFile | None = None,
    score: float = 0.3,
    tile: Sequence[int] | None = None,
    overlap: int | None = None,
) -> Pipeline:
    """A checkpoint or exported file, ready to predict; for pose optionally after a detector or a file of boxes.

    size: (height, width) of the network's input, not of the detector's. score: minimum score of a person's box.
    tile, overlap: (height, width) or one side of tiles, and what neighbors share, in pixels, in place of the
    contract's. A side of 0: images as a whole.

    Raises:
        LightsegError: a file that cannot be used, or belongs to a task that does not fit.
    """
    runner = open_runner(checkpoint, device)
    preprocess = preprocessing(runner, size)
    tiling = _tiling(runner, tile, overlap)
    if person_detector is None and persons is None:
        return SingleStage(runner, preprocess) if tiling is None else Tiled(runner, preprocess, tiling)
    if not runner.task.top_down:
        option = "--persons" if person_detector is None else "--person-detector"
        raise LightsegError(f"{option} is for pose, and {checkpoint} is of task {runner.task.info.name}: leave it out")
    assert isinstance(preprocess, PersonCrop)
    if person_detector is None:
        assert persons is not None
        return TopDown(ListedPersons(persons, score), runner, preprocess)
    if persons is not None:
        raise LightsegError("--persons and --person-detector both give the boxes of persons: give one of them")
    detector = open_runner(person_detector, device)
    if not detector.task.detects_boxes:
        task = detector.task.info.name
        raise LightsegError(f"--person-detector {person_detector} is of task {task}: give one of task det")
    if PixelFormat.of(detector.contract) != PixelFormat.of(runner.contract):
        raise LightsegError(
            f"--person-detector {person_detector} takes images of other channels or values than {checkpoint}: give the "
            "boxes as --persons"
        )
    label = _person_label(detector.contract.class_names or (), person_detector)
    return TopDown(DetectedPersons(detector, preprocessing(detector), label, score), runner, preprocess)


def _tiling(runner: Runner, tile: Sequence[int] | None, overlap: int | None) -> Tiling | None:
    own = Tiling.of(runner.contract.tile)
    if tile is not None and not any(tile):
        return None
    if tile is not None and not (1 <= len(tile) <= 2 and min(tile) >= MIN_TILE):
        raise LightsegError(f"tile is {list(tile)}: give height and width in pixels, {MIN_TILE} or more, or 0 for none")
    if (tile is not None or overlap is not None) and not runner.task.info.tiles:
        raise LightsegError(f"tiles are not for task {runner.task.info.name}: leave them out")
    size = None if own is None else own.size
    if tile is not None:
        size = int(tile[0]), int(tile[-1])
    if size is None:
        if overlap is not None:
            raise LightsegError("an overlap is of tiles: give --tile SIZE too")
        return None
    shared = overlap if overlap is not None else own.overlap if own is not None and tile is None else min(size) // 8
    if not 0 <= shared < min(size):
        raise LightsegError(f"an overlap of {shared} does not fit tiles of {size[0]}x{size[1]}: give less than a side")
    return Tiling(size, shared)


def _person_label(class_names: Sequence[str], where: str | Path) -> int:
    """The label of the class `person`; of a detector of one class, that class."""
    names = [name.lower() for name in class_names]
    if PERSON in names:
        return names.index(PERSON)
    if len(names) == 1:
        return 0
    raise LightsegError(f"--person-detector {where} has no class {PERSON}, only {shorten(class_names)}")
