"""The raw answers as files, and what is drawn of them: one class a task.

Every answer is in pixels of the picture as displayed (EXIF orientation applied).

    seg   masks/<name>.png: class ids; legend.json: [{id, name, color}];
          results.json: [{file_name, mask, height, width}]
    det   results.json: COCO results, [{image_id, category_id, bbox [x, y, width, height], score, file_name}];
          images.json: COCO's images and categories (class ids from 1): pycocotools' `COCO` reads it and its `loadRes`
          takes the results
    pose  results.json: COCO keypoint results, [{image_id, category_id, keypoints [x, y, score, ...], score, file_name,
          box [x, y, width, height], box_score}]; images.json as for det, the category with keypoints and skeleton
    cls   results.json: [{file_name, class, top: [{class, probability}, ... five]}]; results.csv: the same as a table

Of videos every frame is an entry with `frame`, its number from 0; a mask is masks/<video>/<frame>.png.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.data.datasets.cityscapes import CLASSES as CITYSCAPES
from lightseg.data.datasets.coco import bright_palette
from lightseg.data.datasets.segmentation import default_palette
from lightseg.draw import draw_boxes
from lightseg.inference.files import GrowingFile, GrowingList, write_bytes, write_picture
from lightseg.inference.media import Frame
from lightseg.inference.poses import PoseResults
from lightseg.inference.runners import Runner

OPACITY = 0.6  # of class colours over the picture
TOP = 5


class Results(Protocol):
    def add(self, frame: Frame, prediction: Any) -> None: ...
    def draw(self, image: np.ndarray, prediction: Any) -> np.ndarray: ...
    def finish(self) -> None: ...


class MaskResults:
    """seg: prediction [H, W] of class ids."""

    def __init__(self, folder: Path, class_names: Sequence[str], colours: list[list[int]] | None, score: float) -> None:
        if colours is None:
            known = {name: list(colour) for _, name, colour in CITYSCAPES}
            cityscapes = list(class_names) == list(known)
            colours = list(known.values()) if cityscapes else default_palette(len(class_names))
        self.folder, self.table = folder, np.array(colours, np.uint8)
        self.dtype = np.uint8 if len(class_names) <= 256 else np.uint16
        rows = zip(class_names, colours, strict=True)
        legend = [{"id": number, "name": name, "color": colour} for number, (name, colour) in enumerate(rows)]
        write_bytes(folder / "legend.json", (json.dumps(legend, ensure_ascii=False, indent=1) + "\n").encode())
        self.list = GrowingList(folder / "results.json")

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        path = self.folder / "masks" / f"{frame.name}.png"
        write_picture(path, prediction.astype(self.dtype))
        height, width = prediction.shape
        mask = path.relative_to(self.folder).as_posix()
        self.list.append({**frame.origin, "mask": mask, "height": height, "width": width})

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return cv2.addWeighted(image, 1 - OPACITY, self.table[prediction], OPACITY, 0)

    def finish(self) -> None:
        self.list.finish()


class BoxResults:
    """det: boxes [n, 4] xyxy, labels [n], scores [n]. score: boxes of a lower one are not drawn; the file has all."""

    def __init__(self, folder: Path, class_names: Sequence[str], colours: list[list[int]] | None, score: float) -> None:
        self.class_names, self.score = class_names, score
        self.palette = colours or bright_palette(len(class_names))
        self.number = 0
        self.list = GrowingList(folder / "results.json")
        categories = json.dumps([{"id": i, "name": name} for i, name in enumerate(class_names, start=1)])
        head = f'{{"categories": {categories},\n"annotations": [],\n"images": ['
        self.images = GrowingList(folder / "images.json", head, "]}\n")

    def add(self, frame: Frame, prediction: dict[str, np.ndarray]) -> None:
        assert frame.image is not None
        self.number += 1
        height, width = frame.image.shape[:2]
        self.images.append({"id": self.number, **frame.origin, "height": height, "width": width})
        boxes = prediction["boxes"].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        for box, label, score in zip(
            boxes.round(3).tolist(), prediction["labels"].tolist(), prediction["scores"].tolist(), strict=True
        ):
            entry = {"image_id": self.number, "category_id": label + 1, "bbox": box, "score": round(score, 6)}
            self.list.append({**entry, **frame.origin})

    def draw(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        sure = prediction["scores"] >= self.score
        found = [prediction[key][sure] for key in ("boxes", "labels", "scores")]
        return draw_boxes(image, found[0], found[1], found[2], self.class_names, self.palette)

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.images.finish()


class ClassResults:
    """cls: probabilities [C]."""

    def __init__(self, folder: Path, class_names: Sequence[str], colours: list[list[int]] | None, score: float) -> None:
        self.class_names = class_names
        self.list = GrowingList(folder / "results.json")
        self.table = GrowingFile(folder / "results.csv")
        ranks = range(1, min(TOP, len(class_names)) + 1)
        self._row(["file_name", "frame", *(f"{key}_{rank}" for rank in ranks for key in ("class", "probability"))])

    def _row(self, cells: Sequence[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.table.write(line.getvalue())

    def _top(self, prediction: np.ndarray) -> list[tuple[str, float]]:
        order = np.argsort(-prediction, kind="stable")[:TOP]
        return [(self.class_names[i], round(float(prediction[i]), 6)) for i in order]

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        top = self._top(prediction)
        named = [{"class": name, "probability": probability} for name, probability in top]
        self.list.append({**frame.origin, "class": top[0][0], "top": named})
        self._row([frame.file_name, "" if frame.index is None else frame.index, *(cell for one in top for cell in one)])

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """The classes at the upper left, as many as there is room for."""
        picture = Image.fromarray(image)
        letters = max(10, round(picture.width / 32))
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(letters)
        line = letters + 4
        for row, (name, probability) in enumerate(self._top(prediction)):
            text = f"{100 * probability:.1f} % {name}"
            if row and (row + 1) * line > picture.height:
                break
            draw.rectangle((0, row * line, font.getlength(text) + 8, (row + 1) * line), fill=(24, 24, 24))
            draw.text((4, (row + 0.5) * line), text, "white", font, anchor="lm")
        return np.array(picture)

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.table.finish()


RESULTS: dict[str, Any] = {"seg": MaskResults, "det": BoxResults, "cls": ClassResults}


def open_results(folder: Path, runner: Runner, score: float) -> Results:
    """The files for what `runner` answers."""
    if runner.task == "pose":
        return PoseResults(folder, runner.class_names, runner.skeleton, score)
    return RESULTS[runner.task](folder, runner.class_names, runner.colours, score)
