"""People's boxes from a file of COCO results, by picture: what `lightseg predict` of a detector writes, and others.

    [{"image_id": 42, "category_id": 1, "bbox": [x, y, width, height], "score": 0.98, "file_name": "a/b.jpg"}, ...]

A picture is known by `file_name` (and `frame`, its number in a video) where the entries have it; otherwise by
`image_id`, which is the picture's name without ending, or the number that this name is, as in COCO: 139 is
000000000139.jpg. Persons are the category `person` of an `images.json` beside the file, as `lightseg predict` leaves
one; otherwise the only category there is, or 1, COCO's own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_json import box_column, column, few, load_json
from lightseg.errors import DataError

PERSON, COCO_PERSON = "person", 1

Key = tuple[str | int, int | None]  # of a picture: its file's name or its id, and the frame of a video


class PersonList:
    """The boxes of one file.

    Raises:
        DataError: it is not there, or not of this form, or has nobody in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"--persons {path}: no such file; give people's boxes as COCO results")
        entries = load_json(self.path)
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise DataError(f"{path}: not COCO results: expected a list of image_id, category_id, bbox and score")
        if not entries:
            raise DataError(f"{path}: the list of detections is empty: there is nobody to find the points of")
        bbox = box_column(entries, self.path, "detections")
        given = [column(entries, key, "detections", self.path) for key in ("score", "category_id")]
        try:
            scores, categories = np.array(given[0], np.float32), np.array(given[1], np.int64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not COCO results: score and category_id must be numbers") from None
        keys = [_key(one, place, self.path) for place, one in enumerate(entries)]
        of_persons = categories == self._category(np.unique(categories).tolist())
        sound = np.isfinite(bbox).all(1) & np.isfinite(scores) & (bbox[:, 2:] > 0).all(1)
        self.left_out = int((of_persons & ~sound).sum())
        chosen = np.flatnonzero(of_persons & sound)
        if not len(chosen):
            raise DataError(f"{path}: no detection is left of {len(entries)}: those of persons have no area, or NaN")
        self._bbox, self._scores = bbox[chosen], scores[chosen]
        self._rows: dict[Key, list[int]] = {}
        for row, place in enumerate(chosen.tolist()):
            self._rows.setdefault(keys[place], []).append(row)

    def of(self, file_name: str, frame: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Boxes float64 [n, 4] x, y, width, height and scores float32 [n] of a picture, in the file's order."""
        rows = [row for name in _names(file_name) for row in self._rows.get((name, frame), [])]
        return self._bbox[rows].reshape(-1, 4), self._scores[rows]

    def check(self, file_names: Mapping[str, bool]) -> str | None:
        """What to say of boxes that cannot serve and of pictures that have none. DataError where no box serves.

        file_names: of the pictures and videos to look at, and whether they have frames.
        """
        known = {(name, frames) for one, frames in file_names.items() for name in _names(one)}
        have = {(name, frame is not None) for name, frame in self._rows}
        if not have & known:
            raise DataError(
                f"{self.path}: no detection is of a picture to look at: it speaks of {_some(n for n, _ in have)}, "
                f"there is {_some(file_names)}"
            )
        strange = {key: rows for key, rows in self._rows.items() if (key[0], key[1] is not None) not in known}
        nobody = [one for one, frames in file_names.items() if not have & {(name, frames) for name in _names(one)}]
        said = []
        if self.left_out:
            said.append(f"{self.left_out} boxes have no area, or NaN, and are left out")
        if strange:
            count, names = sum(map(len, strange.values())), _some(name for name, _ in strange)
            said.append(f"{count} boxes are of pictures that are not there ({names})")
        if nobody:
            said.append(f"{len(nobody)} of {len(file_names)} pictures have no box ({_some(nobody)})")
        return "; ".join(said) or None

    def _category(self, there: list[int]) -> int:
        beside = self.path.with_name("images.json")
        if beside.is_file() and beside != self.path:
            content = load_json(beside)
            named = content.get("categories") if isinstance(content, dict) else None
            for one in named if isinstance(named, list) else []:
                if isinstance(one, dict) and str(one.get("name")).lower() == PERSON and one.get("id") in there:
                    return int(one["id"])
        if len(there) == 1:
            return there[0]
        if there and COCO_PERSON not in there:
            raise DataError(f"{self.path}: no detection is of category {COCO_PERSON}, person, only of {few(there)}")
        return COCO_PERSON


def _key(entry: dict[str, Any], place: int, path: Path) -> Key:
    name = entry.get("file_name", entry.get("image_id"))
    frame = entry.get("frame")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"{path}: not COCO results: `detections` number {place} has no image_id or file_name")
    return name, frame if isinstance(frame, int) else None


def _names(file_name: str) -> list[str | int]:
    """What an entry may call a picture."""
    stem = Path(file_name).stem
    number: list[str | int] = [int(stem)] if stem.isascii() and stem.isdecimal() else []
    return list(dict.fromkeys([file_name, stem, *number]))


def _some(names: Iterable[Any]) -> str:
    return few(sorted({str(name) for name in names}))
