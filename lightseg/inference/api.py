"""`predict`: a model's predictions on images and videos, written as they come."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.io.frame import Frame
from lightseg.errors import LightsegError
from lightseg.inference.batches import Outcome
from lightseg.inference.explain import Explainer
from lightseg.inference.media import Stream, Video, open_source, without_path
from lightseg.inference.more_results import FORMATS, CocoFile, DataSetIds, Writer, check_formats
from lightseg.inference.overlays import OverlayVideo, write_overlay
from lightseg.inference.person_boxes import BoxFile
from lightseg.inference.pipelines import Tiled, open_pipeline
from lightseg.inference.predictor import Predictor
from lightseg.inference.progress import PredictionProgress
from lightseg.task_specs import Results
from lightseg.text import shorten

RESULT_FOLDERS = ("overlays", "masks", "explained", "labels")
RESULT_FILES = ("results.json", "results.csv", "images.json", "legend.json", "coco.json", "classes.txt", "boxes.csv")


@dataclass
class Summary:
    """The outcome of `predict` on a source.

    Attributes:
        output: the folder of the results.
        done: number of images and frames that have a prediction.
        failed: (name, reason) of images and frames that have none.
        notes: (name, remark) of images that have a prediction and a defect (truncated, animated), and of the file of
            person boxes.
        seconds: from the first image to the last file.
        interrupted: stopped by Ctrl-C. The results written until then are in the files.
    """

    output: Path
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def predict(
    checkpoint: str | Path,
    source: str | Path | int | Sequence[str | Path],
    *,
    output: str | Path = "predictions",
    overwrite: bool = False,
    batch_size: int | None = None,
    size: Sequence[int] | None = None,
    score: float = 0.3,
    classes: Sequence[str | int] | None = None,
    person_detector: str | Path | None = None,
    persons: str | Path | None = None,
    overlays: bool = True,
    max_frames: int | None = None,
    also: Sequence[str] = (),
    annotations: str | Path | None = None,
    tile: Sequence[int] | None = None,
    overlap: int | None = None,
    explain: str | None = None,
    explain_layer: int | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Summary:
    """Predict every image of `source` and write overlays and raw results into a folder.

    Preprocessing is that of evaluation in training. Coordinates of predictions are pixels of the original image as
    displayed. An image that cannot be read or predicted is reported and skipped; the others go on. Memory does not
    grow with the number of images or frames. The task's `TaskSpec.results` describes the files.

    Args:
        checkpoint: `<run>/checkpoints/best.ckpt`, a file of `lightseg compress`, an exported file (`.onnx`, `.xml`,
            `.pte`), or the folder of a run, whose best checkpoint is taken.
        source: an image, a folder (searched recursively), a glob pattern, a video file, a `.txt` file with the path of
            an image a line, or several of them; or the index of a camera.
        output: a folder that does not exist yet or is empty.
        overwrite: allow a folder that has files. Files of the same names are replaced, none is deleted.
        batch_size: images of equal input size per batch. None: up to 16, at most 4 megapixels together.
        size: (height, width) of the network's input. None: for seg the image's own size, for other tasks the size of
            the evaluation.
        score: boxes and keypoints with a lower score are not drawn; the raw results contain all. It is also the minimum
            score of the boxes from `person_detector` or `persons`.
        classes: names or labels; predictions of other classes are left out. For tasks seg and det.
        person_detector: for pose, a checkpoint or exported file of task det with a class `person`, which runs first.
            None: each image is the box of a single person.
        persons: for pose, a JSON file of COCO results in place of a detector, see `lightseg.inference.person_boxes`.
            Entries that cannot be used are reported. Images without an entry are predicted without persons.
        overlays: also draw the predictions, which takes longer than a small network does.
        max_frames: limit for each video or camera. None: all frames.
        also: formats of further files, for det and pose: "yolo" (labels/<name>.txt), "csv" (boxes.csv).
        annotations: a COCO file with these images: also write coco.json, COCO results with the ids of that file. Images
            that it does not have are left out of coco.json.
        tile: for seg and det, (height, width) or one side of the tiles in which large images are predicted. None: as
            the model was evaluated. [0]: images as a whole.
        overlap: pixels that neighboring tiles share. None: as the model was evaluated, or an eighth of the tile.
        explain: a class, a keypoint or `all`: also write explained/<name>.png, the evidence for it as a heat map
            (`lightseg.inference.heat_map`). Checkpoints only.
        explain_layer: the backbone's feature map that the evidence is of, from 1, shallow to deep. None: all maps that
            the head reads.
        device: a torch device. None: the first GPU, or the CPU.
        progress: show a progress bar, and a line for each image with a defect, on stderr.

    Raises:
        LightsegError: a checkpoint, source, size, file of persons or folder that cannot be used. Nothing has been
            written then.
    """
    if batch_size is not None and batch_size < 1:
        raise LightsegError(f"batch_size is {batch_size}: give 1 or more")
    if max_frames is not None and max_frames < 1:
        raise LightsegError(f"max_frames is {max_frames}: give 1 or more")
    if explain is None and explain_layer is not None:
        raise LightsegError("--explain-layer is for --explain CLASS: give that too")
    folder = Path(output)
    _check_output(folder, overwrite)
    media = open_source(source, leave_out=folder, max_frames=max_frames)
    inputs = [checkpoint, person_detector, persons, annotations]
    _check_inputs(folder, [*media.paths, *(Path(path) for path in inputs if path is not None)])
    box_file = None if persons is None else BoxFile(persons)
    options: dict[str, Any] = {"person_detector": person_detector, "persons": box_file, "score": score}
    pipeline = open_pipeline(checkpoint, device, size=size, tile=tile, overlap=overlap, **options)
    predictor = Predictor(pipeline)
    media.use(predictor.pixels)
    labels = None if classes is None else predictor.labels(classes)
    check_formats(also, predictor)
    ids = None if annotations is None else _data_set_ids(annotations, media.file_names, predictor)
    explainer = None
    if explain is not None and isinstance(pipeline, Tiled):
        raise LightsegError(
            "--explain is of one input of the network, and images are predicted in tiles: give --tile 0"
        )
    if explain is not None:
        explainer = Explainer(pipeline.runner, explain, stage=explain_layer, score=score, where=checkpoint)
    box_file_note = None if box_file is None else box_file.check(media.file_names)
    summary = Summary(folder)
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results = pipeline.runner.task.results(folder, pipeline.runner.contract, score)
        with ExitStack() as files, PredictionProgress(progress) as bar:
            files.callback(results.finish)
            more: list[Writer] = [FORMATS[name](folder, predictor) for name in also]
            more += [CocoFile(folder, ids)] if ids else []
            for writer in more:
                files.callback(writer.finish)
            if media.note:
                bar.print(media.note)
            if box_file_note:
                summary.notes.append((str(persons), box_file_note))
                bar.print(f"note: {persons}: {box_file_note}")
            if ids and ids.missing:
                note = f"{len(ids.missing)} images are not in it, and not in coco.json ({shorten(ids.missing, 3)})"
                summary.notes.append((str(annotations), note))
                bar.print(f"note: {annotations}: {note}")
            job = _Job(predictor, labels, results, more, folder, overlays, explainer, batch_size, summary, bar)
            try:
                for stream in media.streams:
                    job.run(stream)
            except KeyboardInterrupt:
                summary.interrupted = True
    except OSError as error:  # errors of reading are handled image by image: this is an error of writing
        raise LightsegError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    summary.seconds = time.monotonic() - started
    return summary


def _check_inputs(folder: Path, inputs: Iterable[Path]) -> None:
    """LightsegError for a file that is read and lies where results are written."""
    results = folder.resolve()
    for path in inputs:
        below = path.resolve()
        if results in below.parents:
            top, *more = below.relative_to(results).parts
            if top in (RESULT_FOLDERS if more else RESULT_FILES):
                raise LightsegError(f"{path} is read, and results are written there: give another --output")


def _data_set_ids(annotations: str | Path, file_names: Iterable[str], predictor: Predictor) -> DataSetIds:
    spec = predictor.spec
    if not (spec.selects_classes or spec.top_down):
        raise LightsegError(f"--annotations: COCO has no results of task {predictor.task}: leave it out")
    return DataSetIds(annotations, file_names, ["person"] if spec.top_down else predictor.class_names)


def _check_output(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LightsegError(f"{folder} is a file: give the folder for the results with --output")
    try:
        has_files = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise LightsegError(f"{folder}: cannot be listed ({error.strerror})") from error
    if has_files and not overwrite:
        raise LightsegError(f"{folder} is not empty: give another folder with --output, or --overwrite")


@dataclass
class _Job:
    """The state of one call of `predict`."""

    predictor: Predictor
    labels: np.ndarray | None
    results: Results
    more: Sequence[Writer]
    folder: Path
    overlays: bool
    explainer: Explainer | None
    batch_size: int | None
    summary: Summary
    bar: PredictionProgress

    def run(self, stream: Stream) -> None:
        if isinstance(stream, Video):
            try:
                stream.open()
            except LightsegError as error:
                return self._fail(stream.file_name, without_path(error, Path(str(stream.source))))
        self.bar.begin(stream.file_name if isinstance(stream, Video) else "images", len(stream))
        video = OverlayVideo(self.folder, stream) if isinstance(stream, Video) and self.overlays else None
        with ExitStack() as files:
            if video is not None:
                files.callback(video.finish)
            for outcome in self.predictor.batches(stream, self.batch_size):
                self._write(outcome, video)
                self.bar.advance()

    def _write(self, outcome: Outcome, video: OverlayVideo | None) -> None:
        frame, prediction, error = outcome
        if error:
            self._fail(frame.file_name, error, frame.index if frame.image is not None else None)
        else:
            prediction = prediction if self.labels is None else self.predictor.spec.only(prediction, self.labels)
            self.results.add(frame, prediction)
            if self.more:
                typed = self.predictor.spec.typed(prediction, frame, self.summary.done, self.predictor.contract, None)
                for writer in self.more:
                    writer.add(frame.name, typed)
            self.summary.done += 1
            self._explain(frame, prediction)
            if frame.note:
                self.summary.notes.append((frame.file_name, frame.note))
                self.bar.print(f"note: {frame.file_name}: {frame.note}")
        if not self.overlays or frame.image is None or (error and video is None):
            return
        image = frame.image if error else self.results.draw(frame.image, prediction)
        if video is None:
            write_overlay(self.folder, frame, image)
        else:
            video.add(image)

    def _explain(self, frame: Frame, prediction: Any) -> None:
        if self.explainer is None or frame.input is None:
            return
        note = self.explainer.write(
            self.folder, frame, self.predictor.pipeline.inputs_of(frame.input, prediction), self.results
        )  # fmt: skip
        if note:
            frame.note = "; ".join(filter(None, (frame.note, note)))

    def _fail(self, name: str, reason: str, index: int | None = None) -> None:
        where = name if index is None else f"{name} frame {index}"
        self.summary.failed.append((where, reason))
        self.bar.print(f"left out: {where}: {reason}")
