"""Several classes an image in a CSV file: a line an image.

    root/train.csv      file,labels             file,cat,dog,tree           root/images/0001.jpg
                        0001.jpg,cat;tree       0001.jpg,1,0,1
                        0002.jpg,               0002.jpg,0,0,0

Names in a column, separated by `;` or `|`, or a column a class with 0 and 1. The file has columns of 0 and 1 where all
its columns but that of the image are so, or where it has no column of labels; `data.columns.label` names a column of
names. An image may have no class. The first line names the columns; files are as in `csv_labels`.

A sample is that of `imagefolder`, with `label` float32 [C] of 0 and 1.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lightseg.data.datasets.base import Arrays
from lightseg.data.datasets.csv_labels import FILE_COLUMNS, LABEL_COLUMNS, column, existing_names, read_table
from lightseg.data.datasets.imagefolder import ImagesOfClasses
from lightseg.data.datasets.labeled import split_entry
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError
from lightseg.text import shorten

SEPARATORS = ";|"
_BITS = {"0": False, "1": True, "0.0": False, "1.0": True}


class LabelTable(NamedTuple):
    """files: of the N images. labels: bool [N, C]. how: where in the file the labels are."""

    files: list[str]
    labels: np.ndarray
    classes: list[str]
    how: str


class MultiLabelFiles(ImagesOfClasses):
    """Images of any number of classes each. labels: bool [N, C]. The others are those of `ImagesOfClasses`."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        labels: np.ndarray,
        class_names: Sequence[str],
        transform: Transform | None = None,
        *,
        may_lack: bool = False,
        file: Path | None = None,
    ) -> None:
        super().__init__(folder, names, class_names, transform, may_lack=may_lack, file=file)
        self._labels = labels

    @property
    def labels(self) -> np.ndarray:
        """bool [N, C]."""
        return self._labels[self._kept]

    @property
    def where(self) -> Path:
        """The file of the labels."""
        return self._file or self.folder

    def classes_of(self, index: int) -> list[int]:
        return np.flatnonzero(self._labels[self._kept[index]]).tolist()

    def check_evaluable(self) -> None:
        if not self.labels.any():
            raise DataError(f"{self.where}: no image of the evaluation split has a class: give labels")

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {"label": torch.from_numpy(self._labels[sample].astype(np.float32))}

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        labels = np.zeros((len(self._labels), len(first)), bool)
        for old, number in enumerate(new.tolist()):
            labels[:, number] |= self._labels[:, old]
        self._labels = labels

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """Write probabilities [num_classes] as `<name>.json`: those of all classes by name."""
        values = {name: round(float(p), 6) for name, p in zip(self.class_names, prediction, strict=True)}
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "probabilities": values}, indent=2) + "\n")
        return path


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> MultiLabelFiles:
    """The data set of the `data` options."""
    root = Path(options["root"])
    file, train = (root / str(split_entry(options, name)) for name in (split, "train"))
    columns = options.get("columns") or {}
    classes = [str(name) for name in options.get("classes") or ()] or None
    if classes is None and file != train:
        classes = read_labels(train, columns, None).classes
    table = read_labels(file, columns, classes)
    folder = root / options["images"] if options.get("images") else file.parent
    names = existing_names(folder, table.files, file)
    dataset = MultiLabelFiles(
        folder, names, table.labels, table.classes, transform, may_lack=split != "train", file=file
    )
    dataset.add_note(table.how)
    return dataset


def read_labels(file: Path, columns: dict[str, str | None], classes: Sequence[str] | None) -> LabelTable:
    """The labels of a CSV file. columns: the names of `file` and `label`. classes: None: those of the file."""
    header, *rows = read_table(file)
    at_file = column(header, columns, "file", FILE_COLUMNS, file)
    at_label = column(header, columns, "label", LABEL_COLUMNS, file)
    if at_file is None:
        raise DataError(
            f"{file}: the columns are {shorten(header)}: set that of the image, as in data.columns.file=photo; the "
            "first line names the columns"
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(f"{file} line {number}: it has {len(row)} columns, not {len(header)}; give a cell for each")
        if not row[at_file]:
            raise DataError(f"{file} line {number}: the file is empty: give it, or leave the line out")
    if not rows:
        raise DataError(f"{file}: no image in it: give a line an image")
    files = [row[at_file] for row in rows]
    others = [number for number in range(len(header)) if number != at_file]
    are_bits = len(others) > 1 and all(row[number] in _BITS for row in rows for number in others)
    if at_label is None or (are_bits and not columns.get("label")):
        return _of_columns(file, header, rows, files, others, classes)
    return _of_names(file, header, rows, files, at_label, classes)


def _of_columns(
    file: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    files: list[str],
    others: Sequence[int],
    classes: Sequence[str] | None,
) -> LabelTable:
    names = [header[number] for number in others] if classes is None else list(classes)
    missing = [name for name in names if name not in header]
    if missing:
        raise DataError(f"{file}: no column of class {shorten(missing)}; it has {shorten(header)}: add it")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{file}: the column {twice!r} is there twice: leave one out")
    at = [header.index(name) for name in names]
    for number, row in enumerate(rows, 2):
        other = next((place for place in at if row[place] not in _BITS), None)
        if other is not None:
            raise DataError(
                f"{file} line {number}: {header[other]} is {row[other]!r}: give 0 or 1, or name the columns that are "
                "classes in data.classes, or the column with names of classes in data.columns.label"
            )
    labels = np.array([[_BITS[row[place]] for place in at] for row in rows], bool).reshape(len(rows), len(at))
    return LabelTable(files, labels, names, f"labels are {len(at)} columns of 0 and 1")


def _of_names(
    file: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    files: list[str],
    at_label: int,
    classes: Sequence[str] | None,
) -> LabelTable:
    cells = [[name for part in row[at_label].replace("|", ";").split(";") if (name := part.strip())] for row in rows]
    names = sorted({name for cell in cells for name in cell}) if classes is None else list(classes)
    if not names:
        raise DataError(f"{file}: no image has a class in the column {header[at_label]!r}: give labels")
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(rows), len(names)), bool)
    for number, cell in enumerate(cells):
        for name in cell:
            if classes is None and "," in name:
                raise DataError(
                    f"{file} line {number + 2}: {name!r} has a comma; give classes separated by ; or |, or data.classes"
                )
            if name not in numbers:
                raise DataError(f"{file} line {number + 2}: {name} is no class: choose from {shorten(names)}")
            labels[number, numbers[name]] = True
    how = f"labels are names in the column {header[at_label]!r}, separated by {' or '.join(SEPARATORS)}"
    return LabelTable(files, labels, names, how)
