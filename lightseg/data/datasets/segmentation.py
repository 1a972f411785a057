"""The base class of the segmentation data sets, made from pairs of image and label files.

A sample is
    image: uint8 [3, H, W] RGB, 0..255 (in channels_last memory: as decoded, not copied)
    mask:  uint8 [H, W] class ids, 255 = ignore (a byte a pixel; losses cast it to int64). Missing if the split has no
           labels
    name:  str, the image's name without folder and suffix, unique within the split
    index: int
`lightseg.data.collate.collate` makes batches of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from lightseg.data.datasets.base import Arrays, ImageDataset
from lightseg.data.io.images import read_mask, read_size
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError
from lightseg.text import shorten

IGNORE = 255
UNKNOWN = 254  # in a table of ids: an id without a class


@dataclass(frozen=True)
class Pair:
    """An image and its label file (None if the split has no labels)."""

    name: str
    image: Path
    label: Path | None


class SegmentationDataset(ImageDataset):
    """Samples of `pairs`, which subclasses read from their folder layout.

    table: uint8 [256], id in a label file -> class id, IGNORE, or UNKNOWN for an id that must not occur.
    transform: see `lightseg.data.transforms.segmentation`. None: images are not changed.
    """

    ignore_index = IGNORE
    masks_of_ids = True  # whether label files are images of class ids, or of colors that stand for them
    _caches_masks = True

    def __init__(
        self,
        pairs: Sequence[Pair],
        class_names: Sequence[str],
        palette: Sequence[Sequence[int]],
        table: np.ndarray,
        transform: Transform | None = None,
    ) -> None:
        super().__init__([pair.name for pair in pairs], class_names, palette, transform)
        self._pairs = list(pairs)
        self.table = table
        self.has_labels = all(pair.label is not None for pair in pairs)

    @property
    def pairs(self) -> list[Pair]:
        return [self._pairs[sample] for sample in self._kept.tolist()]

    def check(self, index: int) -> None:
        """Read the headers: DataError for an unreadable image, a missing label or a label of another size."""
        pair = self._pairs[self._image_number(index)]
        size = self._read_size(self._image_number(index))
        if pair.label is None:
            return
        if not pair.label.is_file():
            raise self._no_label(pair)
        label_size = read_size(pair.label, oriented=False)
        if label_size != size:
            raise _other_size(pair, size, label_size)

    def check_evaluable(self) -> None:
        """Reads masks up to the first with a pixel that counts."""
        masks = (self._mask(image) for image in self._kept.tolist() if self._pairs[image].label is not None)
        if not any((mask != IGNORE).any() for mask in masks):
            raise DataError(
                f"{self.pairs[0].label}: this and the {len(self) - 1} other masks of the evaluation have ignored "
                "pixels alone; set data.classes and data.ignore as the masks have them"
            )

    def read_label(self, path: Path) -> np.ndarray:
        """A label file as class ids, uint8 [H, W]. Raises DataError for ids without a class."""
        ids = read_mask(path)
        mask = cv2.LUT(ids, self.table)
        if mask.size and (mask == UNKNOWN).any():
            unknown = np.unique(ids[mask == UNKNOWN]).tolist()
            mapped = np.flatnonzero(self.table < UNKNOWN).tolist()
            raise DataError(
                f"{path}: label id {shorten(unknown, 12)} is not in the class map, which has {shorten(mapped, 12)}"
            )
        return mask

    def mask(self, index: int) -> np.ndarray:
        """The mask of a labeled sample on disk, class ids uint8 [H, W], without its image."""
        return self._mask(self._image_number(index))

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """Write a prediction [H, W] of class ids as a grayscale PNG of the files' ids, `<name>.png`."""
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.file_ids(prediction).astype(np.uint8)).save(path)
        return path

    def file_ids(self, prediction: np.ndarray) -> np.ndarray:
        """Class ids -> the ids before `reorder_classes`; 255 stays 255."""
        table = np.arange(256)
        table[: self.num_classes] = self.file_classes
        return table[prediction]

    def _mask(self, image: int) -> np.ndarray:
        label = self._pairs[image].label
        assert label is not None
        return self.read_label(label)

    def _path(self, image: int) -> Path:
        return self._pairs[image].image

    def _decode(self, image: int) -> Arrays:
        pair = self._pairs[image]
        pixels = self._read_image(image)
        if pair.label is None:
            return {"image": pixels}
        if not pair.label.is_file():
            raise self._no_label(pair)
        mask = self._mask(image)
        if mask.shape != pixels.shape[:2]:
            raise _other_size(pair, pixels.shape[:2], mask.shape)
        return {"image": pixels, "mask": mask}

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {"mask": torch.from_numpy(arrays["mask"])} if "mask" in arrays else {}

    def _no_label(self, pair: Pair) -> DataError:
        return DataError(f"{pair.image}: the image has no label; {pair.label} does not exist")

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        new_ids = np.arange(256, dtype=np.uint8)  # IGNORE and UNKNOWN stay
        new_ids[: len(new)] = new
        self.table = new_ids[self.table]

    def _files(self) -> Iterable[tuple[str, Path]]:
        return ((pair.name, path) for pair in self.pairs for path in (pair.image, pair.label) if path is not None)


def default_palette(num_classes: int) -> list[list[int]]:
    """Well separated colors: Pascal VOC's color map, without black."""
    colors = []
    for number in range(1, num_classes + 1):
        color = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                color[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colors.append(color)
    return colors


def _other_size(pair: Pair, image: Sequence[int], label: Sequence[int]) -> DataError:
    return DataError(
        f"{pair.label}: the label is {label[1]}x{label[0]} (width x height), but its image {pair.image} is "
        f"{image[1]}x{image[0]}"
    )
