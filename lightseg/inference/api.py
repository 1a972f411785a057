"""`predict`: a model's predictions on images and videos, written as they come."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightseg.data.io.frame import Frame
from lightseg.errors import LightsegError, one_line
from lightseg.inference.media import Stream, Video, open_source, without_path
from lightseg.inference.overlays import OverlayVideo, write_overlay
from lightseg.inference.person_boxes import BoxFile
from lightseg.inference.pipelines import Pipeline, open_pipeline
from lightseg.inference.preprocess import batch_size as default_batch_size
from lightseg.inference.progress import PredictionProgress
from lightseg.task_specs import Results


@dataclass
class Summary:
    """What became of a source.

    Attributes:
        output: the folder of the results.
        done: pictures and frames that have an answer.
        failed: (name, reason) of those that have none.
        notes: (name, remark) of those that have one and are odd: cut short, animated; and on the list of persons.
        seconds: from the first picture to the last file.
        interrupted: stopped by Ctrl-C; what was done until then is in the files.
    """

    output: Path
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def predict(
    checkpoint: str | Path,
    source: str | Path | int,
    *,
    output: str | Path = "predictions",
    overwrite: bool = False,
    batch_size: int | None = None,
    size: Sequence[int] | None = None,
    score: float = 0.3,
    person_detector: str | Path | None = None,
    persons: str | Path | None = None,
    overlays: bool = True,
    most_frames: int | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Summary:
    """Answer every picture of `source` and write overlays and raw results into a folder.

    Pictures are prepared as the evaluation in training does; answers are in pixels of the original as displayed. A
    picture that cannot be read or answered is named and left out, and nothing else stops. Memory does not grow with the
    number of pictures or frames. The task's `TaskSpec` lists the files.

    Args:
        checkpoint: `<run>/checkpoints/best.ckpt`, whose run's `config.yaml` gives sizes and colours where it is there,
            or an exported `.onnx`.
        source: a picture, a folder and all below it, a glob, a video file, or the index of a camera.
        output: a folder that is not there yet, or empty.
        overwrite: let it hold files; those of the same names are replaced, none is deleted.
        batch_size: pictures of one size at a time; None: up to 16, at most 4 megapixels together.
        size: (height, width) of the network's input; None: seg the picture's own, of others that of the evaluation.
        score: boxes and keypoints of a lower score are not drawn; the raw results have them all. It is also the least
            score of the boxes that `person_detector` or `persons` gives.
        person_detector: of pose, a checkpoint or exported file of task det whose class `person` is looked for first;
            None: the whole picture is one person's box.
        persons: of pose, instead of a detector a JSON of COCO results, see `lightseg.inference.person_boxes`. What
            cannot be used of it is named; images that it does not have are predicted without persons.
        overlays: also draw the answers, which takes longer than the network does where that is small.
        most_frames: of each video or camera.
        device: a torch device; None: the first GPU, or the CPU.
        progress: a bar and a line for each odd picture on stderr.

    Raises:
        LightsegError: a checkpoint, source, size, list of persons or folder that cannot be used; before anything is
            written.
    """
    if batch_size is not None and batch_size < 1:
        raise LightsegError(f"batch_size is {batch_size}: give 1 or more")
    if most_frames is not None and most_frames < 1:
        raise LightsegError(f"most_frames is {most_frames}: give 1 or more")
    folder = Path(output)
    _refuse_used(folder, overwrite)
    found = open_source(source, leave_out=folder, most_frames=most_frames)
    listed = None if persons is None else BoxFile(persons)
    pipeline = open_pipeline(
        checkpoint, device, size=size, person_detector=person_detector, persons=listed, score=score
    )
    odd_list = None if listed is None else listed.check(found.file_names)
    summary = Summary(folder)
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results = pipeline.runner.task.results(folder, pipeline.runner.contract, score)
        with ExitStack() as files, PredictionProgress(progress) as report:
            files.callback(results.finish)
            if found.note:
                report.say(found.note)
            if odd_list:
                summary.notes.append((str(persons), odd_list))
                report.say(f"note: {persons}: {odd_list}")
            job = _Job(pipeline, results, folder, overlays, batch_size, summary, report)
            try:
                for stream in found.streams:
                    job.run(stream)
            except KeyboardInterrupt:
                summary.interrupted = True
    except OSError as error:  # reading fails picture by picture: this is writing
        raise LightsegError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    summary.seconds = time.monotonic() - started
    return summary


def _refuse_used(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LightsegError(f"{folder} is a file: give the folder for the results with --output")
    try:
        used = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise LightsegError(f"{folder}: cannot be looked into ({error.strerror})") from error
    if used and not overwrite:
        raise LightsegError(f"{folder} is not empty: give another folder with --output, or --overwrite")


@dataclass
class _Job:
    """What goes from one picture to the next."""

    pipeline: Pipeline
    results: Results
    folder: Path
    overlays: bool
    batch_size: int | None
    summary: Summary
    report: PredictionProgress

    def run(self, stream: Stream) -> None:
        if isinstance(stream, Video):
            try:
                stream.open()
            except LightsegError as error:
                return self._fail(stream.file_name, without_path(error, Path(str(stream.source))))
        self.report.begin(stream.file_name if isinstance(stream, Video) else "pictures", len(stream))
        film = OverlayVideo(self.folder, stream) if isinstance(stream, Video) and self.overlays else None
        with ExitStack() as files:
            if film is not None:
                files.callback(film.finish)
            for batch in self._batches(stream):
                for frame, answer in zip([frame for frame, _ in batch], self._answers(batch), strict=True):
                    self._write(frame, answer, film)
                    self.report.advance()

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[tuple[Frame, np.ndarray]]]:
        """Neighbours whose network inputs have one size, in order; with them frames that failed are named."""
        batch: list[tuple[Frame, np.ndarray]] = []
        for frame in frames:
            if frame.image is None:
                self._fail(frame.file_name, frame.note or "no picture")
                continue
            try:
                pixels = self.pipeline.preprocess(frame.image)
            except (LightsegError, MemoryError) as error:
                self._fail(frame.file_name, one_line(error))
                continue
            if batch and (pixels.shape != batch[0][1].shape or len(batch) >= self._room(pixels)):
                yield batch
                batch = []
            batch.append((frame, pixels))
        if batch:
            yield batch

    def _room(self, pixels: np.ndarray) -> int:
        wanted = self.batch_size or default_batch_size((pixels.shape[0], pixels.shape[1]))
        return min(wanted, self.pipeline.max_images or wanted)

    def _answers(self, batch: Sequence[tuple[Frame, np.ndarray]]) -> list[Any]:
        """One a picture; None where the network failed on it, which is tried for each alone before it is said."""
        inputs = torch.from_numpy(np.stack([pixels for _, pixels in batch])).permute(0, 3, 1, 2)
        try:
            return self.pipeline.predict(inputs, [frame for frame, _ in batch])
        except Exception as error:  # too small for the net, out of memory: torch's and ONNX Runtime's own kinds
            if len(batch) > 1:
                return [answer for one in batch for answer in self._answers([one])]
            self._fail(batch[0][0].file_name, f"the network cannot answer it ({one_line(error)[:200]})", batch[0][0])
            return [None]

    def _write(self, frame: Frame, answer: Any, film: OverlayVideo | None) -> None:
        assert frame.image is not None
        if answer is not None:
            self.results.add(frame, answer)
            self.summary.done += 1
            if frame.note:
                self.summary.notes.append((frame.file_name, frame.note))
                self.report.say(f"note: {frame.file_name}: {frame.note}")
        if not self.overlays or (answer is None and film is None):
            return
        picture = frame.image if answer is None else self.results.draw(frame.image, answer)
        if film is None:
            write_overlay(self.folder, frame, picture)
        else:
            film.add(picture)

    def _fail(self, name: str, reason: str, frame: Frame | None = None) -> None:
        where = name if frame is None or frame.index is None else f"{name} frame {frame.index}"
        self.summary.failed.append((where, reason))
        self.report.say(f"left out: {where}: {reason}")
