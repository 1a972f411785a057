"""Images in class folders, the layout of torchvision's ImageFolder and of unpacked ImageNet:

    root/train/ants/0013035.jpg         root/val/ants/10308379.jpg
    root/train/n01440764/n01440764_10026.JPEG       (ImageNet: the folders are synsets)

A class is a folder directly below the split's, with any depth of subfolders. Files with the ending of an image, or
without any, are its images; others are counted and left out, and so are names that begin with a dot.

A sample is
    image: uint8 [3, H, W] RGB, 0..255 (in channels_last memory)
    label: int, the class; classes are numbered in the alphabetic order of their folders
    name:  str, the file below the split's folder, `ants/0013035.jpg`
    index: int
`lightseg.data.collate.collate` makes batches of them.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.base import Arrays, ImageDataset, find_folder
from lightseg.data.datasets.segmentation import default_palette
from lightseg.data.io.bands import check_pixels
from lightseg.data.io.images import check_image
from lightseg.data.io.walk import files_below
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten

_JPEG_AND_PNG = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng")
_OTHERS = (
    ".bmp",
    ".dib",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".avif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".jp2",
    ".tga",
    ".npy",
)
ALL_ENDINGS = _JPEG_AND_PNG + _OTHERS
ENDINGS = frozenset(ALL_ENDINGS)
TOP = 5  # classes that a written prediction names


class ImagesOfClasses(ImageDataset):
    """Images with classes as their labels, without masks, boxes or points.

    folder: of the image files `names`.
    may_lack: classes may have no image, as in an evaluation.
    file: of the labels. None: there is none.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        class_names: Sequence[str],
        transform: Transform | None = None,
        *,
        may_lack: bool = False,
        file: Path | None = None,
    ) -> None:
        self.folder, self.may_lack, self._file = folder, may_lack, file
        super().__init__(names, class_names, default_palette(len(class_names)), transform)

    def check(self, index: int) -> None:
        """Raise DataError for a file that is not an image, without decoding it."""
        path = self._path(self._image_number(index))
        check_image(path)
        check_pixels(path, self.pixels)

    def _path(self, image: int) -> str:
        return f"{self.folder}/{self._names[image]}"

    def _files(self) -> Iterable[tuple[str, str | Path]]:
        files = [] if self._file is None else [("labels", self._file)]
        return [*files, *super()._files()]


class ClassificationFiles(ImagesOfClasses):
    """Images of a class each.

    folder: of the image files `names`, each of the class in `labels`.
    class_names: in the order of the labels.
    transform: of `lightseg.data.transforms.classification`, or a PhaseTransform. None: images are not changed.
    may_lack: classes may have no image, as in an evaluation.
    file: of the labels. None: there is none.

    Raises DataError for a label that is no class, for less than two classes, and for a class without images.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        labels: Sequence[str],
        class_names: Sequence[str],
        transform: Transform | None = None,
        *,
        may_lack: bool = False,
        file: Path | None = None,
    ) -> None:
        classes = [str(name) for name in class_names]
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = sorted(set(labels) - set(classes))
        if unknown:
            raise DataError(f"{file or folder}: {shorten(unknown)} is no class: choose from {shorten(classes)}")
        super().__init__(folder, names, classes, transform, may_lack=may_lack, file=file)
        self._labels = np.array([numbers[label] for label in labels], np.int64)
        if not may_lack:
            self._check_classes()

    def _check_classes(self) -> None:
        if len(self.class_names) < 2:
            raise DataError(
                f"{self._file or self.folder}: {shorten(self.class_names)} is the only class; a classifier needs two"
            )
        absent = set(self.class_names) - {self.class_names[label] for label in self.labels}
        if absent:
            where = self._file or self.folder
            raise DataError(f"{where}: class {min(absent)!r} has no image to train on: give some, or data.classes")

    @property
    def notes(self) -> list[str]:
        counts = np.bincount(self._labels[self._kept], minlength=len(self.class_names))
        absent = [name for name, count in zip(self.class_names, counts.tolist(), strict=True) if not count]
        if not absent:
            return super().notes
        line = f"{len(absent)} of {len(counts)} classes have no image and are not evaluated: {shorten(absent)}"
        return [*super().notes, line]

    @property
    def labels(self) -> list[int]:
        return self._labels[self._kept].tolist()

    def classes_of(self, index: int) -> list[int]:
        return [int(self._labels[self._kept[index]])]

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Remove the images that are not chosen and renumber the others. Raises DataError if a class has none left."""
        labels = self._labels[self._kept]
        lost = np.setdiff1d(labels, labels[np.asarray(chosen, bool)])
        if len(lost) and not self.may_lack:
            raise DataError(f"{self.folder / self.class_names[lost[0]]}: no usable image of this class is left")
        super().keep_only(chosen)

    def add_classes(self, names: Sequence[str]) -> None:
        if not self.may_lack or not set(self.class_names) < set(names):
            return
        self._labels = np.array([list(names).index(name) for name in self.class_names])[self._labels]
        self.class_names, self.palette = list(names), default_palette(len(names))
        self.file_classes = np.arange(len(names))

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {"label": int(self._labels[sample])}

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        self._labels = new[self._labels]

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """Write probabilities [num_classes] as `<name>.json`: the best class and the TOP best with probabilities."""
        order = np.argsort(-prediction, kind="stable")[:TOP]
        top = [{"class": self.class_names[i], "probability": round(float(prediction[i]), 6)} for i in order]
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "class": top[0]["class"], "top": top}, indent=2) + "\n")
        return path


class ClassificationFolder(ClassificationFiles):
    """The images of one split.

    folder: the split's folder below `root`.
    class_names: the class folders to read, in the order of their labels. Default: all, sorted.
    transform: of `lightseg.data.transforms.classification`, or a PhaseTransform. None: images are not changed.
    may_lack: classes may have no image, as in an evaluation.

    Raises DataError for less than two class folders and for a class folder without images.
    """

    def __init__(
        self,
        root: str | Path,
        folder: str,
        *,
        class_names: Sequence[str] | None = None,
        transform: Transform | None = None,
        may_lack: bool = False,
    ) -> None:
        path = find_folder(Path(root) / folder, "the class folders of the split")
        classes = _class_folders(path, class_names, may_lack)
        names: list[str] = []
        labels: list[str] = []
        others: list[str] = []
        for class_name in classes:
            files: list[str] = []
            for file in sorted(_class_files(path / class_name)):
                is_image = os.path.splitext(file)[1].lower() in ENDINGS | {""}
                (files if is_image else others).append(file if is_image else f"{class_name}/{file}")
            if not files and not may_lack:
                raise DataError(f"{path / class_name}: the folder of class {class_name!r} holds no image")
            names += [f"{class_name}/{file}" for file in files]
            labels += [class_name] * len(files)
        if not names:
            raise DataError(f"{path}: the class folders hold no image: give files that end in {shorten(ALL_ENDINGS)}")
        super().__init__(path, names, labels, classes, transform, may_lack=may_lack)
        if others:
            self._notes.append(f"{len(others)} files are no images by their ending and are left out: {shorten(others)}")


def check_same_classes(train: ImagesOfClasses, val: ImagesOfClasses) -> None:
    """Raise DataError unless both splits have the same classes in the same order; `val` gets those that it lacks."""
    val.add_classes(train.class_names)
    if train.class_names == val.class_names:
        return
    differences = []
    for split, other in ((train, val), (val, train)):
        only = [name for name in split.class_names if name not in set(other.class_names)]
        if only:
            differences.append(f"only {split.folder.name} has {shorten(only)}")
    text = "; ".join(differences) or "their order is not the same"
    raise DataError(f"{train.folder} and {val.folder} differ in their classes: {text}")


def _class_folders(folder: Path, class_names: Sequence[str] | None, may_lack: bool) -> list[str]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        fault = "class folders are missing"
        if any(folder.glob("ILSVRC2012_val_*")):
            fault = "ImageNet's validation images must be moved into a folder for each synset, as valprep.sh does"
        raise DataError(f"{folder}: {fault}; expected {folder.name}/<class>/<image>")
    if class_names is not None:
        existing, names = names, [str(name) for name in class_names]
        missing = [name for name in names if name not in set(existing)]
        if missing and not may_lack:
            raise DataError(f"{folder}: no folder of class {shorten(missing)}; there are {shorten(existing)}")
        if len(set(names)) < len(names):
            raise LightsegError(f"class_names must differ: {shorten(names)}")
    if len(names) == 1 and not may_lack:
        raise DataError(f"{folder}: {names[0]} is the only class; a classifier needs at least two class folders")
    return names


def _class_files(folder: Path) -> list[str]:
    """The files of a class, none where its folder is missing."""
    return list(files_below(folder)) if folder.is_dir() else []


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> ClassificationFolder:
    """The data set of the `data` options."""
    folder = options["split"][split]
    classes, may_lack = options["classes"], split != "train"
    return ClassificationFolder(options["root"], folder, class_names=classes, transform=transform, may_lack=may_lack)
