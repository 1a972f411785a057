"""Boxes of the persons in an image: from a detector, or from a file of COCO results.

Such a file is what `lightseg predict` writes for a detector:

    [{"image_id": 42, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98, "file_name": "a/b.jpg"}, ...]

An entry belongs to the image of its `file_name` (and `frame`, the frame's number in a video) where it has one.
Otherwise `image_id` is the name of the image file without suffix, or that name as a number, as in COCO: 139 means
000000000139.jpg.

Persons are the category `person` of an `images.json` beside the file, which `lightseg predict` also writes. Without it
they are the only category in the file, or category 1, which is COCO's person.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from lightseg.data.datasets.coco_json import clip_boxes
from lightseg.data.datasets.json_fields import box_column, column, id_number, load_json, number
from lightseg.data.io.frame import Frame
from lightseg.errors import DataError
from lightseg.inference.runners import Runner
from lightseg.task_specs import Preprocessing
from lightseg.text import shorten

PERSON, COCO_PERSON = "person", 1

Key = tuple[str | int, int | None]  # of an image: file name or id, and the frame's number in a video


class Boxes(NamedTuple):
    """boxes: float32 [n, 4] xyxy in pixels of the image. scores: float32 [n]. note: on boxes that were left out, or
    None."""

    boxes: np.ndarray
    scores: np.ndarray
    note: str | None = None


class Persons(Protocol):
    """A source of person boxes.

    max_images: the largest batch. None: any.
    """

    max_images: int | None

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """[H, W, C] -> input of `find`, [h, w, C]."""
        ...

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Boxes]:
        """The persons of each of `frames`. inputs: [B, C, h, w]."""
        ...


class DetectedPersons:
    """Boxes from a network of task det. label: of its class `person`. min_score: of the boxes that are used."""

    def __init__(self, runner: Runner, preprocess: Preprocessing, label: int, min_score: float) -> None:
        self.runner, self.preprocess, self.label, self.min_score = runner, preprocess, label, min_score
        self.max_images = runner.max_images

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Boxes]:
        sizes = [frame.image.shape[:2] for frame in frames if frame.image is not None]
        persons = []
        for prediction, size in zip(self.runner(inputs, sizes), sizes, strict=True):
            restored = self.preprocess.restore(prediction, size)
            boxes, scores = restored["boxes"], restored["scores"]
            sides = boxes[:, 2:] - boxes[:, :2]
            kept = (restored["labels"] == self.label) & (scores >= self.min_score) & (sides > 0).all(1)
            persons.append(Boxes(boxes[kept], scores[kept]))
        return persons


class ListedPersons:
    """Boxes from a file of COCO results. min_score: of the boxes that are used."""

    max_images: int | None = None

    def __init__(self, box_file: "BoxFile", min_score: float) -> None:
        self.box_file, self.min_score = box_file, min_score

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """One black pixel: no network takes the whole image."""
        return np.zeros((1, 1, 3), np.uint8)

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Boxes]:
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> Boxes:
        assert frame.image is not None
        bbox, scores = self.box_file.of(frame.file_name, frame.index)
        kept = scores >= self.min_score
        bbox, scores = bbox[kept], scores[kept]
        sizes = np.array([frame.image.shape[:2]] * len(bbox), np.int64).reshape(-1, 2)
        boxes, inside, beyond = clip_boxes(bbox, sizes)
        counts = ((~inside).sum(), "outside the image and left out"), ((inside & beyond).sum(), "cut to the image")
        note = " and ".join(f"{count} of {len(bbox)} boxes {remark}" for count, remark in counts if count) or None
        return Boxes(boxes[inside].astype(np.float32), scores[inside], note)


class BoxFile:
    """The person boxes of one file.

    Raises:
        DataError: the file does not exist, is not in this format, or has no persons.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"--persons {path}: no such file; give the boxes of persons as COCO results")
        entries = load_json(self.path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{path}: not COCO results: expected a list of image_id, category_id, bbox and score")
        if not entries:
            raise DataError(f"{path}: the list of detections is empty: there are no persons to predict keypoints for")
        bbox = box_column(entries, self.path)
        stated = [number(score) for score in column(entries, "score", "detections", self.path)]
        categories = [id_number(category) for category in column(entries, "category_id", "detections", self.path)]
        if None in stated or None in categories:
            raise DataError(f"{path}: not COCO results: score and category_id must be numbers")
        scores = np.array(stated, np.float32)
        keys = [_key(entry, index, self.path) for index, entry in enumerate(entries)]
        person = self._category(sorted({category for category in categories if category is not None}))
        of_persons = np.array([category == person for category in categories])
        sound = np.isfinite(bbox).all(1) & np.isfinite(scores) & (bbox[:, 2:] > 0).all(1)
        self.left_out = int((of_persons & ~sound).sum())
        chosen = np.flatnonzero(of_persons & sound)
        if not len(chosen):
            raise DataError(f"{path}: no detection is left of {len(entries)}: those of persons have no area, or NaN")
        self._bbox, self._scores = bbox[chosen], scores[chosen]
        self._rows: dict[Key, list[int]] = {}
        for row, index in enumerate(chosen.tolist()):
            self._rows.setdefault(keys[index], []).append(row)

    def of(self, file_name: str, frame: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Boxes float64 [n, 4] x, y, width, height and scores float32 [n] of an image, in the file's order."""
        rows = [row for name in _names(file_name) for row in self._rows.get((name, frame), [])]
        return self._bbox[rows].reshape(-1, 4), self._scores[rows]

    def check(self, file_names: Mapping[str, bool]) -> str | None:
        """A note on boxes that cannot be used and images without boxes, or None. DataError where no box can be used.

        file_names: of the images and videos to predict -> whether it has frames.
        """
        expected = {(name, frames) for file_name, frames in file_names.items() for name in _names(file_name)}
        have = {(name, frame is not None) for name, frame in self._rows}
        if not have & expected:
            raise DataError(
                f"{self.path}: no detection belongs to an image to predict: it lists {_some(n for n, _ in have)}, "
                f"the source has {_some(file_names)}"
            )
        unknown = {key: rows for key, rows in self._rows.items() if (key[0], key[1] is not None) not in expected}
        without = [file for file, frames in file_names.items() if not have & {(name, frames) for name in _names(file)}]
        notes = []
        if self.left_out:
            notes.append(f"{self.left_out} boxes have no area, or NaN, and are left out")
        if unknown:
            count, names = sum(map(len, unknown.values())), _some(name for name, _ in unknown)
            notes.append(f"{count} boxes belong to images that are not in the source ({names})")
        if without:
            notes.append(f"{len(without)} of {len(file_names)} images have no box ({_some(without)})")
        return "; ".join(notes) or None

    def _category(self, present: list[int]) -> int:
        beside = self.path.with_name("images.json")
        if beside.is_file() and beside != self.path:
            content = load_json(beside)
            named = content.get("categories") if isinstance(content, dict) else None
            for entry in named if isinstance(named, list) else []:
                if isinstance(entry, dict) and str(entry.get("name")).lower() == PERSON:
                    number_of_persons = id_number(entry.get("id"))
                    if number_of_persons is not None and number_of_persons in present:
                        return number_of_persons
        if len(present) == 1:
            return present[0]
        if present and COCO_PERSON not in present:
            raise DataError(
                f"{self.path}: no detection is of category {COCO_PERSON}, person, only of {shorten(present)}"
            )
        return COCO_PERSON


def _key(entry: dict[str, Any], index: int, path: Path) -> Key:
    name = entry.get("file_name", entry.get("image_id"))
    frame = entry.get("frame")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"{path}: not COCO results: `detections` number {index} has no image_id or file_name")
    return name, frame if isinstance(frame, int) else None


def _names(file_name: str) -> list[str | int]:
    """The names that an entry may use for an image file."""
    stem = Path(file_name).stem
    number: list[str | int] = [int(stem)] if stem.isascii() and stem.isdecimal() else []
    return list(dict.fromkeys([file_name, stem, *number]))


def _some(names: Iterable[Any]) -> str:
    return shorten(sorted({str(name) for name in names}))
