"""A folder of PNG files of class ids."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lightseg.data.datasets.cityscapes import Cityscapes
from lightseg.data.io.images import read_mask
from lightseg.errors import DataError
from lightseg.metrics.segmentation import SegmentationMetric, figures
from lightseg.scoring.scored import Scored


def score_masks(dataset: Any, path: Path, options: Mapping[str, Any]) -> Scored:
    """A PNG file an image, at its size: <name>.png of class ids; for Cityscapes the benchmark's
    <name>_pred_labelIds.png of label ids. A folder `masks` in it is taken, as `lightseg predict` leaves it.

    A pixel of no class (255, or a label id that is not evaluated) is a miss of its label.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder: give that of the PNG files of class ids")
    if not dataset.has_labels:
        raise DataError(
            f"{dataset.pairs[0].image}: the split has no labels to score with: give data.split.val=<another>"
        )
    classes = dataset.num_classes
    metric = SegmentationMetric(classes + 1, [*dataset.class_names, ""])  # one more: pixels of no class
    for index, name in enumerate(dataset.names):
        file, table = _file_of(path, name, dataset)
        predicted = read_mask(file)
        truth = dataset.mask(index)
        if predicted.shape != truth.shape:
            raise DataError(
                f"{file} is {predicted.shape[1]}x{predicted.shape[0]} (width x height) and its label "
                f"{truth.shape[1]}x{truth.shape[0]}: give predictions at the label's size"
            )
        ids = predicted if table is None else cv2.LUT(predicted, table)
        if (strange := ids[(ids >= classes) & (ids != 255)]).size:
            raise DataError(f"{file}: id {int(strange[0])} is no class: give 0 to {classes - 1}, or 255 for none")
        ids = np.where(ids == 255, classes, ids).astype(np.uint8)
        metric.update(torch.from_numpy(ids), torch.from_numpy(truth))
    return Scored(figures(metric.confusion[:classes], dataset.class_names), "the label's own")


def _file_of(folder: Path, name: str, dataset: Any) -> tuple[Path, np.ndarray | None]:
    """The file of an image, and the table from its ids to class ids, None where they are class ids."""
    stems = [name, Path(name).name]
    if isinstance(dataset, Cityscapes):
        of_labels = [folder / f"{stem}_pred_labelIds.png" for stem in stems]
        if file := next((path for path in of_labels if path.is_file()), None):
            return file, np.where(dataset.table < dataset.num_classes, dataset.table, 255).astype(np.uint8)
    choices = [below / f"{stem}.png" for below in (folder, folder / "masks") for stem in stems]
    if file := next((path for path in choices if path.is_file()), None):
        return file, None
    raise DataError(f"{folder}: no prediction of {name}: give {choices[0].name}, of class ids")
