"""Files beside a task's own results: COCO results with a data set's ids, YOLO labels, a CSV table.

They are written from the typed predictions, image by image.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightseg.data.datasets.coco_json import load_json
from lightseg.errors import DataError, LightsegError
from lightseg.inference.predictor import Predictor
from lightseg.predictions import Detection, Pose, Prediction
from lightseg.result_files import GrowingFile, GrowingList, write_bytes
from lightseg.text import shorten


class Writer(Protocol):
    def add(self, name: str, prediction: Prediction) -> None:
        """name: of the results, see `Frame.name`."""
        ...

    def finish(self) -> None: ...


class DataSetIds:
    """The ids of images and categories in a COCO file.

    Raises:
        LightsegError: the file is not COCO's, lacks a class of the model, or has none of the images.
    """

    def __init__(self, path: str | Path, file_names: Iterable[str], class_names: Sequence[str]) -> None:
        content = load_json(Path(path))
        try:
            categories = {str(entry["name"]): int(entry["id"]) for entry in content["categories"]}
            images = {str(entry["file_name"]): int(entry["id"]) for entry in content["images"]}
        except (TypeError, KeyError, ValueError):
            raise DataError(
                f"{path} is no COCO file: give one with images and categories, such as instances.json"
            ) from None
        if missing := [name for name in class_names if name not in categories]:
            raise DataError(
                f"{path} has no category {shorten(missing)}: give the annotations of the data set that the model is of"
            )
        self.category_ids = [categories[name] for name in class_names]
        self._by_name = images | {Path(name).name: number for name, number in images.items()}
        names = list(file_names)
        self.missing = [name for name in names if self.image_id(name) is None]
        if len(self.missing) == len(names):
            raise DataError(
                f"{path} has none of the images, such as {shorten(names, 1)}: give the annotations of these images"
            )

    def image_id(self, file_name: str) -> int | None:
        return self._by_name.get(file_name, self._by_name.get(Path(file_name).name))


class CocoFile:
    """coco.json: COCO results with the data set's ids, to be scored beside its annotations."""

    def __init__(self, folder: Path, ids: DataSetIds) -> None:
        self.ids, self.list = ids, GrowingList(folder / "coco.json")

    def add(self, name: str, prediction: Prediction) -> None:
        image_id = self.ids.image_id(prediction.file_name)
        if image_id is not None:
            for entry in prediction.to_coco(image_id, self.ids.category_ids):
                self.list.append(entry)

    def finish(self) -> None:
        self.list.finish()


class YoloLabels:
    """labels/<name>.txt: a line a box, label, center x, center y, width, height as shares of the image, score; poses
    have x, y, score of each keypoint before the score. classes.txt: the names, in the order of the labels."""

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.folder = folder / "labels"
        names = ["person"] if predictor.spec.top_down else predictor.class_names
        write_bytes(folder / "classes.txt", "".join(f"{name}\n" for name in names).encode())

    def add(self, name: str, prediction: Prediction) -> None:
        assert isinstance(prediction, Detection | Pose)
        height, width = prediction.size
        lines = []
        for number, (x0, y0, x1, y1) in enumerate(prediction.boxes_xyxy.tolist()):
            values = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
            if isinstance(prediction, Pose):
                points = zip(
                    prediction.keypoints[number].tolist(), prediction.keypoint_scores[number].tolist(), strict=True
                )
                values += [value for (x, y), score in points for value in (x / width, y / height, score)]
            values.append(float(prediction.scores[number]))
            lines.append(" ".join([str(int(prediction.labels[number])), *(f"{value:.6f}" for value in values)]) + "\n")
        write_bytes(self.folder / f"{name}.txt", "".join(lines).encode())

    def finish(self) -> None:
        pass


class BoxTable:
    """boxes.csv: a row a box, in pixels of the image; a pose's row is its person's box."""

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.table = GrowingFile(folder / "boxes.csv")
        self._row(["file_name", "frame", "class", "score", "x1", "y1", "x2", "y2"])

    def add(self, name: str, prediction: Prediction) -> None:
        assert isinstance(prediction, Detection | Pose)
        frame = "" if prediction.frame is None else prediction.frame
        rows = zip(prediction.labels.tolist(), prediction.scores.tolist(), prediction.boxes_xyxy.tolist(), strict=True)
        for label, score, box in rows:
            corners = [round(value, 3) for value in box]
            self._row([prediction.file_name, frame, prediction.class_names[label], round(score, 6), *corners])

    def finish(self) -> None:
        self.table.finish()

    def _row(self, cells: Sequence[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.table.write(line.getvalue())


FORMATS: Mapping[str, Any] = {"yolo": YoloLabels, "csv": BoxTable}


def check_formats(formats: Sequence[str], predictor: Predictor) -> None:
    """Raise LightsegError for a format that there is not, or that the task does not have."""
    for name in formats:
        if name not in FORMATS:
            raise LightsegError(f"no format of results is named {name}: choose from {', '.join(FORMATS)}")
        if not (predictor.spec.detects_boxes or predictor.spec.top_down):
            raise LightsegError(f"--also {name} is for boxes, and the model is of task {predictor.task}: leave it out")
