"""Frames in, predictions out: batches of equal input size, in order, with the failures image by image."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from lightseg.data.io.frame import Frame
from lightseg.errors import LightsegError, one_line
from lightseg.inference.pipelines import Pipeline
from lightseg.inference.preprocess import batch_size as default_batch_size


class Outcome(NamedTuple):
    """prediction: None where there is none. error: why, "" where there is a prediction."""

    frame: Frame
    prediction: Any
    error: str = ""


class _Pending(NamedTuple):
    """A frame that waits for its batch. pixels: the network's input [h, w, C], None after an error."""

    frame: Frame
    pixels: np.ndarray | None
    error: str = ""


class BatchPredictor:
    """Predicts streams of frames. Several threads may share it: they prepare images side by side, and take turns at
    the network, which uses all cores itself.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._network = Lock()

    def __call__(self, frames: Iterable[Frame], max_batch: int | None = None) -> Iterator[Outcome]:
        """An outcome a frame, in the order of the frames. Memory does not grow with their number.

        max_batch: images per batch. None: up to 16, at most 4 megapixels together.
        """
        batch: list[_Pending] = []
        inputs: list[np.ndarray] = []  # of the batch
        for frame in frames:
            item = self._prepare(frame)
            if item.pixels is not None:
                if inputs and item.pixels.shape != inputs[0].shape:
                    yield from self._outcomes(batch)
                    batch, inputs = [], []
                inputs.append(item.pixels)
            batch.append(item)
            if not inputs or len(inputs) >= self._limit(inputs[0], max_batch):
                yield from self._outcomes(batch)
                batch, inputs = [], []
        yield from self._outcomes(batch)

    def _prepare(self, frame: Frame) -> _Pending:
        if frame.input is None:
            return _Pending(frame, None, frame.note or "no image")
        try:
            return _Pending(frame, self.pipeline.preprocess(frame.input))
        except (LightsegError, MemoryError) as error:
            return _Pending(frame, None, one_line(error))

    def _limit(self, pixels: np.ndarray, max_batch: int | None) -> int:
        wanted = max_batch or default_batch_size((pixels.shape[0], pixels.shape[1]))
        return min(wanted, self.pipeline.max_images or wanted)

    def _outcomes(self, waiting: Sequence[_Pending]) -> Iterator[Outcome]:
        predicted = iter(self._predict([item for item in waiting if item.pixels is not None]))
        for item in waiting:
            yield next(predicted) if item.pixels is not None else Outcome(item.frame, None, item.error)

    def _predict(self, batch: Sequence[_Pending]) -> list[Outcome]:
        """A batch that fails is repeated image by image."""
        if not batch:
            return []
        frames = [item.frame for item in batch]
        stacked = np.stack([item.pixels for item in batch if item.pixels is not None])
        try:
            with self._network:
                predictions = self.pipeline.predict(torch.from_numpy(stacked).permute(0, 3, 1, 2), frames)
        except Exception as error:  # too small for the net, out of memory: torch and ONNX Runtime have their own kinds
            if len(batch) > 1:
                return [outcome for item in batch for outcome in self._predict([item])]
            return [Outcome(frames[0], None, f"the network cannot predict it ({one_line(error)[:200]})")]
        return [Outcome(frame, prediction) for frame, prediction in zip(frames, predictions, strict=True)]
