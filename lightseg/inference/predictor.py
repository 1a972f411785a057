"""Predictions in Python.

predictor = lightseg.load("runs/seg/.../checkpoints/best.ckpt")
for prediction in predictor("photos"):
    print(prediction)
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import LightsegError, nearest
from lightseg.inference.batches import BatchPredictor
from lightseg.inference.images import IN_MEMORY, PATHS, to_frame
from lightseg.inference.media import is_single_image, open_source
from lightseg.inference.person_boxes import BoxFile
from lightseg.inference.pipelines import Pipeline, open_pipeline
from lightseg.input_contract import InputContract


class Predictor:
    """A model, loaded once, that predicts images of any kind. Threads may share it.

    Attributes:
        task: its name, such as "det".
        class_names: in the order of the labels; for pose, of the keypoints.
        contract: what the network wants of an image.
        pixels: the channels and values of its images.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.batches = BatchPredictor(pipeline)
        self.spec = pipeline.runner.task
        self.contract: InputContract = pipeline.runner.contract
        self.pixels = PixelFormat.of(self.contract)
        self.task = self.spec.info.name
        self.class_names = tuple(self.contract.class_names or ())

    def __call__(
        self,
        source: Any,
        *,
        batch_size: int | None = None,
        score: float | None = None,
        classes: Sequence[str | int] | None = None,
        on_error: str = "raise",
    ) -> Any:
        """Predict an image, a list of images, or a stream.

        Args:
            source: an image (a path, NumPy uint8 RGB [H, W, 3] or as the contract says, a PIL image, or the bytes of
                an image file); a list of images; or a generator of images, a folder, a glob pattern, a video or the
                index of a camera.
            batch_size: images of equal input size per batch. None: up to 16, at most 4 megapixels together. 1 gives
                each prediction of a stream before the next image is asked for.
            score: leave out boxes, persons and classes with a lower score. None: keep all, and draw from 0.3 on.
            classes: names or labels; others are left out. For tasks seg and det.
            on_error: "raise", or "skip": an image that cannot be predicted gives a warning, and the others go on.

        Returns:
            A `Prediction` of `lightseg.predictions` for an image, a list of them for a list, and an iterator for a
            stream, whose memory does not grow with the number of images.

        Raises:
            LightsegError: an image that cannot be read or predicted, or an argument out of range. A stream raises it
                where it comes to the image.
        """
        if batch_size is not None and batch_size < 1:
            raise LightsegError(f"batch_size is {batch_size}: give 1 or more")
        if score is not None and not 0 <= score <= 1:
            raise LightsegError(f"score is {score}: give a number from 0 to 1")
        if on_error not in ("raise", "skip"):
            raise LightsegError(f"on_error is {on_error}: give raise or skip")
        labels = None if classes is None else self.labels(classes)
        single = isinstance(source, IN_MEMORY) or (isinstance(source, PATHS) and is_single_image(source))
        if isinstance(source, list | tuple) and not source:
            raise LightsegError("the list of images is empty: give one image or more")
        frames = self._frames([source] if single else source)
        stream = self._stream(frames, batch_size, score, labels, "raise" if single else on_error)
        if single:
            return next(stream)
        return list(stream) if isinstance(source, list | tuple) else stream

    def labels(self, classes: Sequence[str | int]) -> np.ndarray:
        """The labels int64 [n] of classes by name or number. LightsegError for one that the model does not have, and
        for tasks without a choice."""
        if not self.spec.selects_classes:
            raise LightsegError(f"classes cannot be chosen for task {self.task}: leave them out")
        if isinstance(classes, str | bytes) or not len(classes):
            raise LightsegError(f"classes is {classes!r}: give a list of names, such as [{self.class_names[0]!r}]")
        known = {name: label for label, name in enumerate(self.class_names)}
        chosen = []
        for name in classes:
            label = known.get(name) if isinstance(name, str) else int(name)
            if label is None or not 0 <= label < len(known):
                raise LightsegError(f"the model has no class {name}: {nearest(str(name), known)}")
            chosen.append(label)
        return np.array(chosen, np.int64)

    def _frames(self, source: Any) -> Iterator[Frame]:
        if isinstance(source, (*PATHS, int)) and not isinstance(source, bool):
            media = open_source(source)
            media.use(self.pixels)
            return (frame for stream in media.streams for frame in stream)
        if not isinstance(source, Iterable) or hasattr(source, "shape"):  # a tensor
            raise LightsegError(
                f"a source of type {type(source).__name__}: give an image, a list or generator of images, or a path"
            )
        return (to_frame(item, index, self.pixels) for index, item in enumerate(source))

    def _stream(
        self,
        frames: Iterable[Frame],
        batch_size: int | None,
        score: float | None,
        labels: np.ndarray | None,
        on_error: str,
    ) -> Iterator[Any]:
        for index, outcome in zip(count(), self.batches(frames, batch_size), strict=False):
            frame, prediction, error = outcome
            if error:
                where = frame.file_name if frame.index is None else f"{frame.file_name} frame {frame.index}"
                if on_error == "raise":
                    raise LightsegError(f"{where}: {error}")
                warn(f"{where} is left out: {error}", stacklevel=2)
                continue
            if labels is not None:
                prediction = self.spec.only(prediction, labels)
            yield self.spec.typed(prediction, frame, index, self.contract, score)

    def __repr__(self) -> str:
        return f"<Predictor of task {self.task}, {len(self.class_names)} classes>"


def load(
    model: str | Path,
    *,
    device: str | None = None,
    size: Sequence[int] | None = None,
    person_detector: str | Path | None = None,
    persons: str | Path | None = None,
    person_score: float = 0.3,
    tile: int | Sequence[int] | None = None,
    overlap: int | None = None,
) -> Predictor:
    """A predictor of a checkpoint, an exported file or a run's folder.

    Args:
        model: `<run>/checkpoints/best.ckpt`, a file of `lightseg compress`, an exported file (`.onnx`, `.xml`, `.pte`),
            or the folder of a run, whose best checkpoint is taken.
        device: a torch device. None: the first GPU, or the CPU.
        size: (height, width) of the network's input. None: for seg the image's own size, for other tasks the size of
            the evaluation.
        person_detector: for pose, a checkpoint or exported file of task det with a class `person`, which runs first.
            None: each image is the box of a single person.
        persons: for pose, a JSON file of COCO results in place of a detector, see `lightseg.inference.person_boxes`.
        person_score: minimum score of the boxes from `person_detector` or `persons`.
        tile: for seg and det, (height, width) or one side of the tiles in which large images are predicted. None: as
            the model was evaluated. 0: images as a whole.
        overlap: pixels that neighboring tiles share. None: as the model was evaluated, or an eighth of the tile.

    Raises:
        LightsegError: a file that cannot be used, or belongs to a task that does not fit.
    """
    boxes = None if persons is None else BoxFile(persons)
    tiles = [tile] if isinstance(tile, int) else tile
    options: dict[str, Any] = {"person_detector": person_detector, "persons": boxes, "score": person_score}
    return Predictor(open_pipeline(model, device, size=size, tile=tiles, overlap=overlap, **options))
