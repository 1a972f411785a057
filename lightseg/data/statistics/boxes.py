"""Boxes and keypoints of a split, and the size of the boxes at the network's input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.transforms.detection import MIN_SIDE, placement
from lightseg.errors import DataError

MANY = 0.01  # share of boxes under a pixel that is worth a line


def box_statistics(dataset: Any, size: Sequence[int] | None, keep_aspect: bool) -> LabelStatistics:
    """The boxes of a detection split (`CocoDetection`), crowds left out.

    size: (height, width) of the network's input. None: that of the images.
    keep_aspect: images are fitted in, not stretched.
    """
    samples, boxes, labels = dataset.labeled_boxes()
    sides, tiny = _at_network(dataset, samples, boxes, size, keep_aspect)
    result = LabelStatistics(
        dataset.class_names,
        "boxes",
        np.bincount(labels, minlength=dataset.num_classes),
        _images_of(samples, labels, dataset.num_classes),
        len(dataset),
        len(dataset),
        unlabeled=np.setdiff1d(np.arange(len(dataset)), samples).tolist(),
        box_sides=sides,
    )
    if len(boxes) and boxes.max() <= 1:
        result.faults.append(_normalized(len(boxes), "boxes", dataset.file))
    elif len(boxes) and tiny.all():
        result.faults.append(
            DataError(
                f"{dataset.file}: all {len(boxes)} boxes are less than {MIN_SIDE:g} pixel wide or high {_at(size)}, "
                "where none can be learned: give boxes in pixels of the image, or raise data.augment.size"
            )
        )
    elif tiny.sum() >= max(1, MANY * len(boxes)):
        line = (
            f"{int(tiny.sum())} of {len(boxes)} boxes are less than {MIN_SIDE:g} pixel wide or high {_at(size)}, where "
            "they cannot be learned: raise data.augment.size"
        )
        result.warnings[line] = np.unique(samples[tiny]).tolist()
    if result.unlabeled:
        result.notes[f"{len(result.unlabeled)} of {len(dataset)} images have no box"] = result.unlabeled
    return result


def keypoint_statistics(dataset: Any) -> LabelStatistics:
    """The labeled keypoints of a pose split (`CocoKeypoints`). Sides of boxes are those in the images."""
    boxes, points, visible = (tensor.numpy() for tensor in dataset.labeled_persons())
    labeled = visible > 0
    images = dataset.image_sizes
    result = LabelStatistics(
        dataset.class_names,
        "keypoints",
        labeled.sum(0),
        labeled.sum(0),
        len(dataset),
        len(dataset),
        unlabeled=np.flatnonzero(~labeled.any(1)).tolist(),
        box_sides=(boxes[:, 2:] - boxes[:, :2]).astype(np.float32),
    )
    large = bool(len(images)) and images.max() > 2
    if large and labeled.any() and points[labeled].max() <= 1:
        result.faults.append(_normalized(int(labeled.sum()), "keypoints", dataset.file))
    elif large and len(boxes) and boxes.max() <= 1:
        result.faults.append(_normalized(len(boxes), "boxes", dataset.file))
    elif absent := result.absent():
        result.warnings[f"no label of {', '.join(absent)}: these keypoints cannot be learned"] = []
    if result.unlabeled:
        line = f"{len(result.unlabeled)} of {len(dataset)} persons have no keypoint in their image"
        result.warnings[line] = result.unlabeled
    return result


def _normalized(count: int, what: str, file: Any) -> DataError:
    return DataError(
        f"{file}: all {count} {what} lie within 0..1, as if they were normalized by the sides of their images: write "
        "them in pixels, times width and height"
    )


def _at_network(
    dataset: Any, samples: np.ndarray, boxes: np.ndarray, size: Sequence[int] | None, keep_aspect: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Width and height [N, 2] of the boxes at the network's size, and bool [N]: those under MIN_SIDE."""
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float32)
    if size is not None and len(boxes):
        images = dataset.image_sizes.tolist()
        scales = np.ones((len(images), 2), np.float32)
        for index in np.unique(samples).tolist():
            height, width = images[index]
            if height and width:
                _, _, inner_height, inner_width = placement((height, width), (size[0], size[1]), keep_aspect)
                scales[index] = inner_width / width, inner_height / height
        sides *= scales[samples]
    return sides, (sides < MIN_SIDE).any(1)


def _images_of(samples: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 [C], the number of samples with a box of each class."""
    pairs = np.unique(np.stack([samples, labels], 1), axis=0)
    return np.bincount(pairs[:, 1], minlength=classes)


def _at(size: Sequence[int] | None) -> str:
    return "in its image" if size is None else f"at the network's {size[0]}x{size[1]} (height x width)"
