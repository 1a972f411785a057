"""Images of every class in a split of a classifier, of a single class an image or of several."""

from typing import Any

import numpy as np

from lightseg.data.statistics.base import FEW, LabelStatistics
from lightseg.errors import DataError
from lightseg.text import shorten


def class_statistics(dataset: Any) -> LabelStatistics:
    """The images of each class of a split with `labels`."""
    counts = np.bincount(np.asarray(dataset.labels, np.int64), minlength=dataset.num_classes)
    total = len(dataset)
    result = LabelStatistics(dataset.class_names, "images", counts, counts, total, total)
    if (counts > 0).sum() < 2:
        only = dataset.class_names[int(counts.argmax())]
        result.of_training.append(
            DataError(f"{dataset.folder}: all {total} images are of class {only}: give images of another class too")
        )
    elif few := result.few():
        names = shorten([f"{dataset.class_names[label]} ({counts[label]})" for label in few], 6)
        result.warnings[f"{len(few)} of {len(counts)} classes have fewer than {FEW} images: {names}"] = []
    return result


def multi_label_statistics(dataset: Any) -> LabelStatistics:
    """The images that have each class in a split with `labels` bool [N, C]."""
    labels = dataset.labels
    counts, total = labels.sum(0), len(dataset)
    unlabeled = np.flatnonzero(~labels.any(1)).tolist()
    result = LabelStatistics(dataset.class_names, "labels of images", counts, counts, total, total, unlabeled=unlabeled)
    if not counts.any():
        result.faults.append(DataError(f"{dataset.where}: no image of the split has a class: give labels"))
        return result
    if absent := result.absent():
        what = "are not evaluated" if dataset.may_lack else "cannot be learned"
        result.warnings[f"{len(absent)} of {len(counts)} classes have no image and {what}: {shorten(absent, 6)}"] = []
    if always := [name for name, count in zip(dataset.class_names, counts.tolist(), strict=True) if count == total]:
        line = f"{len(always)} of {len(counts)} classes are in every image, which teaches nothing: {shorten(always, 6)}"
        result.warnings[line] = []
    if few := result.few():
        names = shorten([f"{dataset.class_names[label]} ({counts[label]})" for label in few], 6)
        result.warnings[f"{len(few)} of {len(counts)} classes have fewer than {FEW} images: {names}"] = []
    if unlabeled:
        result.notes[f"{len(unlabeled)} of {total} images have no class"] = unlabeled
    return result
