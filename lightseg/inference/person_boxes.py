"""Where people are in an image: a detector finds them, or a file of COCO results lists them.

    [{"image_id": 42, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98, "file_name": "a/b.jpg"}, ...]

is such a file, as `lightseg predict` of a detector writes it, and others do. An image is known by `file_name` (and
`frame`, its number in a video) where the entries have it; otherwise by `image_id`, which is the image file's name
without ending, or the number that this name is, as in COCO: 139 is 000000000139.jpg. Persons are the category `person`
of an `images.json` beside the file, as `lightseg predict` leaves one; otherwise the only category there is, or 1,
COCO's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from lightseg.data.datasets.coco_json import box_column, clip_boxes, column, load_json
from lightseg.data.io.frame import Frame
from lightseg.errors import DataError
from lightseg.inference.runners import Runner
from lightseg.task_specs import Preprocessing
from lightseg.text import shorten

PERSON, COCO_PERSON = "person", 1

Key = tuple[str | int, int | None]  # of an image: its file's name or its id, and the frame of a video


class Boxes(NamedTuple):
    """boxes: float32 [n, 4] xyxy in pixels of the image. scores: float32 [n]. note: what was left out, or None."""

    boxes: np.ndarray
    scores: np.ndarray
    note: str | None = None


class Persons(Protocol):
    """max_images: the largest batch, None: any."""

    max_images: int | None

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> what `find` takes of it, uint8 [h, w, 3]."""
        ...

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Boxes]:
        """inputs uint8 [B, 3, h, w] of the images of `frames`."""
        ...


class DetectedPersons:
    """By a network of task det. label: of its class of persons. min_score: of the boxes that count."""

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
    """From a file of COCO results. min_score: of the boxes that count."""

    max_images: int | None = None

    def __init__(self, listed: "BoxFile", min_score: float) -> None:
        self.listed, self.min_score = listed, min_score

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """One black pixel: no network looks at the image as a whole."""
        return np.zeros((1, 1, 3), np.uint8)

    def find(self, inputs: Tensor, frames: Sequence[Frame]) -> list[Boxes]:
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> Boxes:
        assert frame.image is not None
        bbox, scores = self.listed.of(frame.file_name, frame.index)
        kept = scores >= self.min_score
        bbox, scores = bbox[kept], scores[kept]
        sizes = np.array([frame.image.shape[:2]] * len(bbox), np.int64).reshape(-1, 2)
        boxes, inside, beyond = clip_boxes(bbox, sizes)
        counts = ((~inside).sum(), "outside the image and left out"), ((inside & beyond).sum(), "cut to the image")
        note = " and ".join(f"{count} of {len(bbox)} boxes {what}" for count, what in counts if count) or None
        return Boxes(boxes[inside].astype(np.float32), scores[inside], note)


class BoxFile:
    """The boxes of one file.

    Raises:
        DataError: it is not there, or not of this form, or has nobody in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"--persons {path}: no such file; give people's boxes as COCO results")
        entries = load_json(self.path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{path}: not COCO results: expected a list of image_id, category_id, bbox and score")
        if not entries:
            raise DataError(f"{path}: the list of detections is empty: there is nobody to find the points of")
        bbox = box_column(entries, self.path, "detections")
        columns = [column(entries, key, "detections", self.path) for key in ("score", "category_id")]
        try:
            scores, categories = np.array(columns[0], np.float32), np.array(columns[1], np.int64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not COCO results: score and category_id must be numbers") from None
        keys = [_key(entry, index, self.path) for index, entry in enumerate(entries)]
        of_persons = categories == self._category(np.unique(categories).tolist())
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
        """What to say of boxes that cannot serve and of images that have none. DataError where no box serves.

        file_names: of the images and videos to predict, and whether they have frames.
        """
        expected = {(name, frames) for file_name, frames in file_names.items() for name in _names(file_name)}
        have = {(name, frame is not None) for name, frame in self._rows}
        if not have & expected:
            raise DataError(
                f"{self.path}: no detection is of an image to predict: it lists {_some(n for n, _ in have)}, "
                f"there is {_some(file_names)}"
            )
        strange = {key: rows for key, rows in self._rows.items() if (key[0], key[1] is not None) not in expected}
        nobody = [file for file, frames in file_names.items() if not have & {(name, frames) for name in _names(file)}]
        notes = []
        if self.left_out:
            notes.append(f"{self.left_out} boxes have no area, or NaN, and are left out")
        if strange:
            count, names = sum(map(len, strange.values())), _some(name for name, _ in strange)
            notes.append(f"{count} boxes are of images that are not there ({names})")
        if nobody:
            notes.append(f"{len(nobody)} of {len(file_names)} images have no box ({_some(nobody)})")
        return "; ".join(notes) or None

    def _category(self, present: list[int]) -> int:
        beside = self.path.with_name("images.json")
        if beside.is_file() and beside != self.path:
            content = load_json(beside)
            named = content.get("categories") if isinstance(content, dict) else None
            for entry in named if isinstance(named, list) else []:
                if isinstance(entry, dict) and str(entry.get("name")).lower() == PERSON and entry.get("id") in present:
                    return int(entry["id"])
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
    """What an entry may call an image."""
    stem = Path(file_name).stem
    number: list[str | int] = [int(stem)] if stem.isascii() and stem.isdecimal() else []
    return list(dict.fromkeys([file_name, stem, *number]))


def _some(names: Iterable[Any]) -> str:
    return shorten(sorted({str(name) for name in names}))
