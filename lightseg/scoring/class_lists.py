"""Classes of images: a CSV file, or the files that a run leaves."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightseg.errors import DataError, nearest
from lightseg.metrics.classification import TOP, ClassificationMetric
from lightseg.scoring.scored import Scored

Ranked = list[tuple[str, float | None]]  # classes, the most likely first, with probabilities where there are any
NAME_COLUMNS = ("file_name", "name", "image")


def score_classes(dataset: Any, path: Path, options: Mapping[str, Any]) -> Scored:
    """A CSV file with the column file_name and either class (and probability), class_1 to class_5 (and probability_1
    to probability_5), or a column a class of probabilities; or a run's folder `predictions`.

    Top-5 needs five classes an image, the calibration error needs probabilities; otherwise they are left out.
    """
    listed = _of_run(dataset, path) if path.is_dir() else _of_table(dataset, path)
    names, labels = dataset.names, torch.tensor(dataset.labels)
    index = {name: label for label, name in enumerate(dataset.class_names)}
    count = len(index)
    ranks, probabilities = np.zeros((2, len(names), count), np.float32)
    known, depth = True, TOP
    for row, name in enumerate(names):
        ranked = listed.get(name)
        if ranked is None:
            raise DataError(f"{path}: no prediction of {name}: give a row for each image of the split")
        for rank, (class_name, probability) in enumerate(ranked):
            if class_name not in index:
                raise DataError(f"{path}: {name}: no class is named {class_name}: {nearest(class_name, index)}")
            ranks[row, index[class_name]] = 1 / (rank + 1)
            probabilities[row, index[class_name]] = probability or 0
            known = known and probability is not None
        depth = min(depth, len(ranked))
    by_rank, by_probability = (ClassificationMetric(count, dataset.class_names) for _ in range(2))
    by_rank.update(torch.from_numpy(ranks), labels)
    metrics = by_rank.compute()
    del metrics["ece"]
    if depth < min(TOP, count):
        metrics.pop("top5", None)
    if known:
        by_probability.update(torch.from_numpy(probabilities), labels)
        metrics["ece"] = by_probability.compute()["ece"]
    return Scored(metrics, "the evaluation crop's")


def _of_run(dataset: Any, folder: Path) -> dict[str, Ranked]:
    listed: dict[str, Ranked] = {}
    for name in dataset.names:
        file = folder / f"{name}.json"
        try:
            top = json.loads(file.read_text(encoding="utf-8"))["top"]
            listed[name] = [(str(entry["class"]), float(entry["probability"])) for entry in top]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is no prediction of a class: give the folder `predictions` of a run") from error
    return listed


def _of_table(dataset: Any, path: Path) -> dict[str, Ranked]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file: give a table with file_name and class") from error
    columns = list(rows[0]) if rows else []
    name_column = next((name for name in NAME_COLUMNS if name in columns), None)
    if name_column is None:
        raise DataError(f"{path} has no column file_name: give a table with file_name and class")
    numbered = [number for number in range(1, TOP + 1) if f"class_{number}" in columns]
    pairs = [(f"class_{number}", f"probability_{number}") for number in numbered]
    pairs = [("class", "probability")] if "class" in columns else pairs
    every = [name for name in dataset.class_names if name in columns]
    if not pairs and len(every) < dataset.num_classes:
        raise DataError(f"{path} has neither the column class nor one for each class: give one of the two")
    listed: dict[str, Ranked] = {}
    aliases = _aliases(dataset.names)
    for number, row in enumerate(rows, start=2):
        where = f"{path} line {number}"
        name = aliases.get(str(row[name_column]))
        if name is None:
            continue  # of another split
        if name in listed:
            raise DataError(f"{where}: {row[name_column]} is there twice: give a row for each image")
        if pairs:
            listed[name] = [(row[key], _number(row.get(value), where)) for key, value in pairs if row.get(key)]
        else:
            values = [(key, _number(row[key], where) or 0.0) for key in every]
            values.sort(key=lambda pair: -pair[1])
            listed[name] = list(values)
    return listed


def _aliases(names: list[str]) -> dict[str, str]:
    """How a table may name an image: as the data set, without suffix, or by the file's name where it is unique."""
    result: dict[str, str] = {}
    for short in (lambda name: Path(name).name, lambda name: str(Path(name).with_suffix("")), lambda name: name):
        counts: dict[str, list[str]] = {}
        for name in names:
            counts.setdefault(short(name), []).append(name)
        result |= {key: matches[0] for key, matches in counts.items() if len(matches) == 1}
    return result


def _number(text: str | None, where: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"{where}: {text} is no probability: give numbers from 0 to 1")
    return value
