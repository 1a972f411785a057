"""What every segmentation data set shares: pairs of picture and label files in, checked samples and batches out.

A sample is
    image: uint8 [3, H, W] RGB, 0..255 (in channels_last memory: the picture as it was decoded, not copied)
    mask:  uint8 [H, W] class ids, 255 = ignore (one byte a pixel through loader and bus; cast it where the loss
           wants int64). Missing where the split has no labels
    name:  str, the picture's name without folder and ending, unique within the split
    index: int
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate

from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import read_image, read_mask, read_size
from lightseg.data.io.integrity import fingerprint
from lightseg.data.transforms.stage_transform import Key, Transform, augment, index_of
from lightseg.errors import DataError

IGNORE = 255
UNKNOWN = 254  # in a table of ids: an id that the class list does not speak of


@dataclass(frozen=True)
class Pair:
    """One picture and its label file (None where the split has no labels)."""

    name: str
    image: Path
    label: Path | None


class SegmentationDataset(Dataset[dict[str, Any]]):
    """Samples of `pairs`, which subclasses find in their layout.

    table: uint8 [256], id in a label file -> class id, IGNORE, or UNKNOWN for an id that may not occur.
    transform: see `lightseg.data.transforms.segmentation`; None gives whole pictures at full resolution.
    """

    ignore_index = IGNORE

    def __init__(
        self,
        pairs: Sequence[Pair],
        class_names: Sequence[str],
        palette: Sequence[Sequence[int]],
        table: np.ndarray,
        transform: Transform | None = None,
    ) -> None:
        self.pairs = list(pairs)
        self.class_names = list(class_names)
        self.palette = [[int(value) for value in colour] for colour in palette]
        self.table = table
        self.transform = transform
        self._cache: DecodedCache | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def names(self) -> list[str]:
        return [pair.name for pair in self.pairs]

    @property
    def paths(self) -> list[Path]:
        return [pair.image for pair in self.pairs]

    @property
    def has_labels(self) -> bool:
        return all(pair.label is not None for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample `index`, `(index, seed)` or `(index, seed, stage)`, augmented with that seed's randomness."""
        index = index_of(key)
        arrays = augment(self.transform, key, self.read(index))
        sample: dict[str, Any] = {"image": torch.from_numpy(arrays["image"]).permute(2, 0, 1)}
        if "mask" in arrays:
            sample["mask"] = torch.from_numpy(arrays["mask"])
        return {**sample, "name": self.pairs[index].name, "index": index}

    def keep_decoded(self) -> None:
        """Keep every sample in memory once it has been read. Call it after `verify` and before workers start.

        A sample takes 4 bytes a pixel; raises LightsegError if the set does not fit.
        """
        self._cache = DecodedCache([read_size(pair.image) for pair in self.pairs])

    def read(self, index: int) -> dict[str, np.ndarray]:
        """Image uint8 [H, W, 3] and, where there are labels, mask uint8 [H, W] of class ids, as they are on disk."""
        if self._cache is None:
            return self._decode(self.pairs[index])
        arrays = self._cache.get(index)
        if arrays is None:
            arrays = self._decode(self.pairs[index])
            self._cache.put(index, arrays)
        return arrays

    def _decode(self, pair: Pair) -> dict[str, np.ndarray]:
        image = read_image(pair.image)
        if pair.label is None:
            return {"image": image}
        if not pair.label.is_file():
            raise _no_label(pair)
        mask = self.read_label(pair.label)
        if mask.shape != image.shape[:2]:
            raise _other_size(pair, image.shape[:2], mask.shape)
        return {"image": image, "mask": mask}

    def check(self, index: int) -> None:
        """Headers alone: DataError for an unreadable picture, a missing label or one of another size."""
        pair = self.pairs[index]
        size = read_size(pair.image)
        if pair.label is None:
            return
        if not pair.label.is_file():
            raise _no_label(pair)
        label_size = read_size(pair.label, oriented=False)
        if label_size != size:
            raise _other_size(pair, size, label_size)

    def read_label(self, path: Path) -> np.ndarray:
        """A label file as class ids, uint8 [H, W]. Raises DataError for ids outside the map, naming them."""
        ids = read_mask(path)
        mask = cv2.LUT(ids, self.table)
        if mask.size and (mask == UNKNOWN).any():
            unknown = np.unique(ids[mask == UNKNOWN]).tolist()
            known = np.flatnonzero(self.table < UNKNOWN).tolist()
            raise DataError(f"{path}: label id {_few(unknown)} is not in the class map, which knows {_few(known)}")
        return mask

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """A prediction [H, W] of class ids as a single-channel PNG of class ids, named after its picture."""
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(prediction.astype(np.uint8)).save(path)
        return path

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Takes the samples that are not chosen out of the data set; the others move up."""
        self.pairs = [pair for pair, keep in zip(self.pairs, chosen, strict=True) if keep]
        self._cache = None

    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the names and sizes (not the contents) of the split's files."""
        files = ((pair.name, path) for pair in self.pairs for path in (pair.image, pair.label) if path is not None)
        return fingerprint(files)


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: image uint8 [B, 3, H, W] in channels_last memory, mask uint8 [B, H, W], name list[str], index int64 [B].

    torch's default collate would write the images out channel by channel; kept as decoded, a batch is B plain copies
    and the network need not turn it round again. Raises DataError for samples of different sizes.
    """
    for key in ("image", "mask"):
        sizes = {tuple(sample[key].shape[-2:]): sample["name"] for sample in samples if key in sample}
        if len(sizes) > 1:
            of = ", ".join(f"{name} is {width}x{height}" for (height, width), name in list(sizes.items())[:3])
            raise DataError(
                f"the {key}s of a batch differ in size ({of}): use batches of 1 or a transform with a fixed size"
            )
    batch = default_collate([{**sample, "image": sample["image"].permute(1, 2, 0)} for sample in samples])
    return {**batch, "image": batch["image"].permute(0, 3, 1, 2)}


def find_folder(path: Path, what: str) -> Path:
    """`path`, or a DataError that says which folder was looked for."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder ({what}); check data.root; the mini data sets need none")
    return path


def default_palette(num_classes: int) -> list[list[int]]:
    """Well separated colours for classes that come without: Pascal VOC's bit-spreading colour map, black left out."""
    colours = []
    for number in range(1, num_classes + 1):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append(colour)
    return colours


def _no_label(pair: Pair) -> DataError:
    return DataError(f"{pair.image}: the picture has no label; {pair.label} does not exist")


def _other_size(pair: Pair, image: Sequence[int], label: Sequence[int]) -> DataError:
    return DataError(
        f"{pair.label}: the label is {label[1]}x{label[0]} (width x height), but its picture {pair.image} is "
        f"{image[1]}x{image[0]}"
    )


def _few(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:12])) + (", ..." if len(ids) > 12 else "")
