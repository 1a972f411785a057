"""Images of every class in a classification split."""

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
