"""Pictures in class folders, the layout of torchvision's ImageFolder and of ImageNet as everybody unpacks it:

    root/train/ants/0013035.jpg         root/val/ants/10308379.jpg
    root/train/n01440764/n01440764_10026.JPEG       (ImageNet: the folders are synsets)

A class is a folder directly below the split's; its pictures may lie in folders of their own. Every file there whose
name does not begin with a dot is taken for a picture and is judged by what it holds, not by its ending.

A sample is
    image: uint8 [3, H, W] RGB, 0..255 (in channels_last memory)
    label: int, the class; classes are numbered in the alphabetic order of their folders
    name:  str, the file below the split's folder, `ants/0013035.jpg`
    index: int
`lightseg.data.datasets.segmentation.collate` makes batches of them.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lightseg.data.datasets.segmentation import default_palette, find_folder
from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import check_picture, read_image, read_size
from lightseg.data.io.integrity import fingerprint
from lightseg.data.transforms.stage_transform import Key, Transform, augment, index_of
from lightseg.errors import DataError, LightsegError

TOP = 5  # classes that a written prediction names


class ClassificationFolder(Dataset[dict[str, Any]]):
    """The pictures of one split.

    folder: the split's folder below `root`.
    class_names: the class folders to take, in the order of their labels; by default all of them, sorted.
    transform: `lightseg.data.transforms.classification` or a StagedTransform; None gives whole pictures.

    Raises DataError where there are no class folders, only one, or one without a file.
    """

    has_labels = True

    def __init__(
        self,
        root: str | Path,
        folder: str,
        *,
        class_names: Sequence[str] | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.folder = find_folder(Path(root) / folder, "the class folders of the split")
        self.class_names = _class_folders(self.folder, class_names)
        self.palette = default_palette(self.num_classes)
        self.transform = transform
        self.names: list[str] = []
        self.labels: list[int] = []
        for label, class_name in enumerate(self.class_names):
            files = sorted(_files(self.folder / class_name))
            if not files:
                raise DataError(f"{self.folder / class_name}: the folder of class {class_name!r} holds no picture")
            self.names += [f"{class_name}/{file}" for file in files]
            self.labels += [label] * len(files)
        self._cache: DecodedCache | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample `index`, `(index, seed)` or `(index, seed, stage)`, augmented with that seed's randomness."""
        index = index_of(key)
        image = augment(self.transform, key, {"image": self.read(index)})["image"]
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1),
            "label": self.labels[index],
            "name": self.names[index],
            "index": index,
        }

    def keep_decoded(self) -> None:
        """Keep every picture in memory once it has been read. Call it after `verify` and before workers start.

        A picture takes 3 bytes a pixel; raises LightsegError if the set does not fit.
        """
        self._cache = DecodedCache([read_size(path) for path in self.paths], masks=False)

    def read(self, index: int) -> np.ndarray:
        """The picture as it is on disk, uint8 [H, W, 3]."""
        arrays = None if self._cache is None else self._cache.get(index)
        if arrays is None:
            arrays = {"image": read_image(f"{self.folder}/{self.names[index]}")}
            if self._cache is not None:
                self._cache.put(index, arrays)
        return arrays["image"]

    def check(self, index: int) -> None:
        """DataError for a file that is no picture; nothing is decoded."""
        check_picture(f"{self.folder}/{self.names[index]}")

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Takes the pictures that are not chosen out of the data set; the others move up.

        Raises DataError if a class is left without any.
        """
        names = [name for name, keep in zip(self.names, chosen, strict=True) if keep]
        labels = [label for label, keep in zip(self.labels, chosen, strict=True) if keep]
        lost = sorted(set(self.labels) - set(labels))
        if lost:
            raise DataError(f"{self.folder / self.class_names[lost[0]]}: no usable picture of this class is left")
        self.names, self.labels = names, labels
        self._cache = None

    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the names and sizes (not the contents) of the split's files."""
        return fingerprint((name, f"{self.folder}/{name}") for name in self.names)

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """Probabilities [num_classes] as `<name>.json`: the most likely class, and up to 5 with their probability."""
        order = np.argsort(-prediction, kind="stable")[:TOP]
        top = [{"class": self.class_names[i], "probability": round(float(prediction[i]), 6)} for i in order]
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "class": top[0]["class"], "top": top}, indent=2) + "\n")
        return path


def check_same_classes(train: ClassificationFolder, val: ClassificationFolder) -> None:
    """DataError unless both splits have the same classes in the same order."""
    if train.class_names == val.class_names:
        return
    parts = []
    for here, there in ((train, val), (val, train)):
        only = [name for name in here.class_names if name not in set(there.class_names)]
        if only:
            parts.append(f"only {here.folder.name} has {_few(only)}")
    differ = "; ".join(parts) or "their order is not the same"
    raise DataError(f"{train.folder} and {val.folder} differ in their classes: {differ}")


def _class_folders(folder: Path, wanted: Sequence[str] | None) -> list[str]:
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        what = "class folders are missing"
        if any(folder.glob("ILSVRC2012_val_*")):
            what = "ImageNet's validation pictures must be moved into a folder for each synset, as valprep.sh does"
        raise DataError(f"{folder}: {what}; expected {folder.name}/<class>/<picture>")
    if wanted is not None:
        found, have = [str(name) for name in wanted], set(found)
        missing = [name for name in found if name not in have]
        if missing:
            raise DataError(f"{folder}: no folder of class {_few(missing)}; there are {_few(sorted(have))}")
        if len(set(found)) < len(found):
            raise LightsegError(f"class_names must differ: {_few(found)}")
    if len(found) == 1:
        raise DataError(f"{folder}: {found[0]} is the only class; a classifier needs at least two class folders")
    return found


def _files(folder: Path) -> Iterator[str]:
    """Files below a folder relative to it, hidden ones left out. os.walk, because ImageNet has 1.3 million."""
    for here, below, files in os.walk(folder, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        inside = "" if here == str(folder) else Path(here).relative_to(folder).as_posix() + "/"
        yield from (inside + name for name in files if not name.startswith("."))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> ClassificationFolder:
    """Of the `data` options."""
    folder = options["split"][split]
    return ClassificationFolder(options["root"], folder, class_names=options["classes"], transform=transform)
