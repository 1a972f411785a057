"""The values of annotation files in JSON by their types.

Public tools write numbers as text, whole numbers as floats, null, NaN, or lists. Each function parses what has a single
meaning and marks the rest; it raises no other error than DataError.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.label_files import read_bytes
from lightseg.errors import DataError
from lightseg.text import shorten

Id = int | str  # of an image or a category: a number, or the digits of one where the file has text
_EXACT = 2**53  # a float beyond may be the rounded value of another id
_DIGITS = re.compile(r"[+-]?[0-9]{1,100}")
_FLAGS = {"true": True, "false": False}


def load_json(path: Path) -> Any:
    """Raises DataError, with the path, for a file that cannot be read, is too large, or is not JSON."""
    content = read_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from error


def list_of(content: Any, key: str, path: Path) -> list[Any]:
    """A list of a COCO file. Raises DataError for a file that is not COCO."""
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "text" if isinstance(content, str) else "a single value"
        raise DataError(f"{path}: not COCO: expected an object with images, annotations and categories, found {kind}")
    if key not in content:
        raise DataError(f"{path}: not COCO: the key `{key}` is missing; it has {shorten(list(content)) or 'none'}")
    if not isinstance(content[key], list):
        raise DataError(f"{path}: not COCO: `{key}` is not a list of objects")
    return content[key]


def records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """A list of objects of a COCO file. Raises DataError for a file that is not COCO."""
    entries = list_of(content, key, path)
    if not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: not COCO: `{key}` is not a list of objects")
    return entries


def number(value: Any) -> float | None:
    """A number, or text that holds one, as a float. NaN for null. None for a value of another type."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def flag(value: Any) -> bool | None:
    """0, 1, true or false, also as text; null is false. None for any other value."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    parsed = number(value)
    return bool(parsed) if parsed in (0, 1) else None


def id_number(value: Any) -> int | None:
    """The number of an id: of an int, a whole float or digits in text. None for any other value."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return None


def id_numbers(values: Sequence[Any]) -> list[int | None]:
    """`id_number` of every value."""
    if {*map(type, values)} == {int}:  # as in most files
        return list(values)
    return [id_number(value) for value in values]


def flags(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """`flag` of every value, bool [N], and those that have one, bool [N]."""
    parsed = values
    if not {*map(type, values)} <= {int, bool} or not {*values} <= {0, 1}:
        parsed = [flag(value) for value in values]
    known = np.array([value is not None for value in parsed], bool)
    return np.array(parsed, object).astype(bool), known


def numbers(values: Sequence[Any]) -> np.ndarray:
    """`number` of every value, float64 [N]; NaN for values of another type."""
    plain = {*map(type, values)} <= {float, int}
    parsed = values if plain else [number(value) for value in values]
    try:
        return np.array(parsed, np.float64)  # None becomes NaN
    except OverflowError:
        return np.array([number(value) for value in values], np.float64)


def unique_ids(values: Sequence[Any], kind: str, path: Path) -> list[Id]:
    """The ids of images or categories, as in the file (whole floats as ints).

    Raises DataError for a value that is no whole number, a repeated id, and ids some of which are text.
    """
    numbers = [id_number(value) for value in values]
    ids = [value for value in numbers if value is not None]
    if len(ids) < len(values):
        wrong = values[numbers.index(None)]
        raise DataError(f"{path}: the {kind} id {str(wrong)[:60]!r} is not a whole number")
    repeated = next((id_ for id_, count in Counter(ids).items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"{path}: the {kind} id {repeated} occurs more than once")
    texts = [value for value in values if isinstance(value, str)]
    if texts and len(texts) < len(values):
        other = next(value for value in values if not isinstance(value, str))
        raise DataError(f"{path}: some {kind} ids are numbers ({other}) and some text ({texts[0]!r}): write all alike")
    return list(texts or ids)


def indices_of(values: Sequence[Any], ids: Sequence[Id]) -> np.ndarray:
    """int64: the index of the id that is the same number as each value, or -1."""
    table: dict[int | None, int] = {id_number(id_): index for index, id_ in enumerate(ids)}
    return np.array([table.get(value, -1) for value in id_numbers(values)], np.int64)


def table(rows: Sequence[Any], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `width` numbers each.

    Returns float64 [N, width], NaN where a row is not such a list or has null; and bool [N], the rows that are.
    """
    plain = all(type(row) is list and len(row) == width for row in rows)
    if plain and {*map(type, chain.from_iterable(rows))} <= {float, int}:
        try:
            return np.array(rows, np.float64).reshape(len(rows), width), np.ones(len(rows), bool)
        except OverflowError:
            pass
    values, good = np.full((len(rows), width), math.nan), np.zeros(len(rows), bool)
    for index, row in enumerate(rows):
        numbers = [number(value) for value in row] if isinstance(row, list) and len(row) == width else [None]
        if None not in numbers:
            values[index], good[index] = numbers, True
    return values, good


def column(records: list[dict], key: str, list_name: str, path: Path) -> list[Any]:
    """The values of a key that every record must have."""
    try:
        return [record[key] for record in records]
    except KeyError:
        index = next(i for i, record in enumerate(records) if key not in record)
        raise DataError(f"{path}: not COCO: `{list_name}` number {index} has no `{key}`") from None


def box_column(detections: list[dict], path: Path) -> np.ndarray:
    """The boxes of COCO results, float64 [N, 4] x, y, width, height; NaN for null."""
    rows = column(detections, "bbox", "detections", path)
    boxes, good = table(rows, 4)
    if not good.all():
        index = int(np.argmin(good))
        raise DataError(
            f"{path}: the box of `detections` number {index} is {str(rows[index])[:60]}: expected [x, y, width, height]"
        )
    return boxes
