"""Classes of images in a CSV file: a line an image, with its file and its class.

    root/train.csv      file,label          root/images/0001.jpg
                        0001.jpg,cat

The first line names the columns; without such a line the first column is the file and the second the class. Files are
below `data.images`, or beside the CSV. The separator is a comma, a semicolon or a tab. Several labels an image, as
columns of 0 and 1 or in a cell, are for `csv_multilabel`.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightseg.data.datasets.imagefolder import ENDINGS, ClassificationFiles
from lightseg.data.datasets.labeled import split_entry
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError, nearest
from lightseg.text import shorten

FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_id", "image_path", "path", "name", "id")
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target", "labels")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> ClassificationFiles:
    """The data set of the `data` options."""
    file = Path(options["root"]) / str(split_entry(options, split))
    rows = read_rows(file, options.get("columns") or {})
    classes = options.get("classes") or sorted({label for _, label in _train_rows(options, file, rows)})
    folder = Path(options["root"]) / options["images"] if options.get("images") else file.parent
    names = existing_names(folder, [name for name, _ in rows], file)
    labels = [label for _, label in rows]
    return ClassificationFiles(folder, names, labels, classes, transform, may_lack=split != "train", file=file)


def _train_rows(options: dict[str, Any], file: Path, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows whose classes are those of the data."""
    train = Path(options["root"]) / str(split_entry(options, "train"))
    return rows if train == file else read_rows(train, options.get("columns") or {})


def read_rows(file: Path, columns: dict[str, str | None]) -> list[tuple[str, str]]:
    """(file, class) of every line. columns: the names of the columns `file` and `label`."""
    rows = read_table(file)
    at_file, at_label, start = _columns(rows[0], columns, file)
    short = next((n for n, row in enumerate(rows[start:], start + 1) if len(row) <= max(at_file, at_label)), None)
    if short is not None:
        raise DataError(f"{file} line {short}: it has {len(rows[short - 1])} columns; give a file and a class")
    pairs = [(row[at_file], row[at_label]) for row in rows[start:]]
    empty = next((n for n, (name, label) in enumerate(pairs, start + 1) if not name or not label), None)
    if empty is not None:
        raise DataError(f"{file} line {empty}: the file or the class is empty: give both, or leave the line out")
    several = next((label for _, label in pairs if any(sign in label for sign in ";|,")), None)
    if several is not None:
        raise DataError(
            f"{file}: several classes in {several!r}, which task=multilabel data=csv_multilabel reads: give those, or "
            "a single class an image"
        )
    return pairs


def read_table(file: Path) -> list[list[str]]:
    """The lines of a CSV file that are not empty, as cells without the spaces around them. There is at least one."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            first = opened.readline()
            opened.seek(0)
            separator = max(",;\t", key=first.count)
            rows = [[cell.strip() for cell in row] for row in csv.reader(opened, delimiter=separator) if any(row)]
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; set data.split, as in {{train: labels.csv, val: 0.2}}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as CSV in UTF-8 ({error}); save it again") from error
    if not rows:
        raise DataError(f"{file}: no line in it; give the file and the class of every image")
    return rows


def column(
    header: Sequence[str], columns: dict[str, str | None], key: str, usual: Sequence[str], file: Path
) -> int | None:
    """The index of the column that `columns` names, or that has a usual name. None: there is none."""
    name = columns.get(key)
    if name is not None and name not in header:
        raise LightsegError(f"data.columns.{key}={name}: {file} has no such column: {nearest(name, header)}")
    lower = [cell.lower() for cell in header]
    return header.index(name) if name else next((lower.index(word) for word in usual if word in lower), None)


def existing_names(folder: Path, names: Sequence[str], file: Path) -> list[str]:
    """The names of the images below the folder. Raises DataError for an image that is not there, or has two lines."""
    existing = [_existing(folder, name, file) for name in names]
    if len(set(existing)) < len(existing):
        twice = next(name for name, count in Counter(existing).items() if count > 1)
        raise DataError(f"{file}: {twice} has more than one line: give a single line an image")
    return existing


def _columns(header: Sequence[str], columns: dict[str, str | None], file: Path) -> tuple[int, int, int]:
    """The indices of the columns of file and class, and of the first line with values."""
    at_file, at_label = (
        column(header, columns, key, usual, file) for key, usual in (("file", FILE_COLUMNS), ("label", LABEL_COLUMNS))
    )
    if at_file is not None and at_label is not None:
        return at_file, at_label, 1
    if len(header) == 2 and os.path.splitext(header[0])[1].lower() in ENDINGS:
        return 0, 1, 0
    if at_file is not None and len(header) == 2:
        return at_file, 1 - at_file, 1
    raise DataError(
        f"{file}: the columns are {shorten(header)}: set those of file and class, as in "
        "data.columns={file: filename, label: class}; task=multilabel data=csv_multilabel reads columns of 0 and 1"
    )


def _existing(folder: Path, name: str, file: Path) -> str:
    """The name of an image below the folder, with the ending that a CSV often leaves out."""
    for candidate in (name, *(f"{name}{ending}" for ending in (".jpg", ".jpeg", ".png"))):
        if (folder / candidate).is_file():
            return candidate
    raise DataError(f"{file}: the image {name!r} is not in {folder}; set data.images to its folder")
