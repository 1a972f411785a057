"""The base class of the data sets: samples of an image and targets, read through a cache, checked and augmented.

The data set of a format defines the paths of the image files (`_path`), their decoding (`_decode`), the checks of a
sample (`check`) and its targets (`_targets`). Samples are numbered in the order of the files; an `index` counts only
those that `keep_only` has kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lightseg.data.datasets.merging import merged_classes
from lightseg.data.io.bands import check_pixels, read_pixels
from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import read_header, read_size
from lightseg.data.io.integrity import fingerprint
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.transforms.phase_transform import Key, Transform, augment, index_of
from lightseg.errors import DataError

Arrays = dict[str, Any]  # image [H, W, C], uint8 RGB unless `pixels` says otherwise, and the format's targets


class ImageDataset(Dataset[dict[str, Any]]):
    """The samples of one split.

    names: of all samples, unique within the split.
    class_names, palette: the name and the RGB color of every class, in the order of the labels.
    transform: a transform of `lightseg.data.transforms` or a PhaseTransform. None: images are not changed.
    image_numbers: int64 [N], the image of every sample, if samples share images. None: an image per sample.

    Attributes:
        has_labels: whether the split has labels.
        may_lack: whether the split may lack classes, so that it has no number for them.
        unit: the name of the samples, in the plural.
        report: a line for every kind of label that is left out or changed, with its count.
        file_classes: int64 [C], the number of every class in the files; 0..C-1 before `reorder_classes`.
        oriented: whether images are read as they are displayed, or as they are stored.
        pixels: the channels and values of the images. Set it before files are checked or read.
    """

    has_labels = True
    may_lack = False
    unit = "images"
    oriented = True
    pixels = PixelFormat()
    _caches_masks = False

    def __init__(
        self,
        names: Sequence[str],
        class_names: Sequence[str],
        palette: Sequence[Sequence[int]],
        transform: Transform | None = None,
        image_numbers: np.ndarray | None = None,
    ) -> None:
        self.class_names = list(class_names)
        self.palette = [[int(value) for value in color] for color in palette]
        self.transform = transform
        self.file_classes = np.arange(len(self.class_names))
        self._names = names
        self._image_numbers = np.arange(len(names)) if image_numbers is None else image_numbers
        self._kept = np.arange(len(names))
        self._cache: DecodedCache | None = None
        self._cached = np.zeros(0, np.int64)  # the images of the cache, ascending
        self._turned: set[int] = set()  # images that are stored in another orientation than they are displayed
        self._sizes: dict[int, tuple[int, int]] = {}  # of images whose header was read
        self.report: list[str] = []
        self._notes: list[str] = []

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def names(self) -> list[str]:
        return [self._names[sample] for sample in self._kept.tolist()]

    @property
    def paths(self) -> list[Path]:
        """The image file of every sample."""
        return [Path(self._path(image)) for image in self._image_numbers[self._kept].tolist()]

    @property
    def image_sizes(self) -> np.ndarray:
        """int64 [N, 2], height and width of every sample's image; 0 where `check` has not read its header."""
        sizes = [self._sizes.get(image, (0, 0)) for image in self._image_numbers[self._kept].tolist()]
        return np.array(sizes, np.int64).reshape(-1, 2)

    @property
    def notes(self) -> list[str]:
        """A line for everything odd in the split's files that changes no label, with its count."""
        images = set(self._image_numbers[self._kept].tolist())
        turned = len(self._turned & images)
        if not turned:
            return list(self._notes)
        how = "turned as their EXIF data say" if self.oriented else "read as stored, not turned as their EXIF data say"
        return [*self._notes, f"{turned} of {len(images)} images are {how}"]

    def add_note(self, line: str) -> None:
        """Add a line to `notes`."""
        self._notes.append(line)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample of a key `index`, `(index, seed)` or `(index, seed, phase)`, augmented with that seed."""
        index = index_of(key)
        sample = int(self._kept[index])
        original = self.read(index)
        arrays = augment(self.transform, key, self._transform_inputs(original))
        return {
            "image": torch.from_numpy(arrays["image"]).permute(2, 0, 1),
            **self._targets(arrays, original, sample),
            "name": self._names[sample],
            "index": index,
        }

    def read(self, index: int) -> Arrays:
        """The arrays of a sample on disk: image uint8 [H, W, 3] and the targets."""
        return self._decoded(self._image_number(index))

    def check(self, index: int) -> None:
        """Raise DataError for errors in a sample that show without decoding it."""
        raise NotImplementedError

    def check_evaluable(self) -> None:
        """Raise DataError if no label of the split counts in the evaluation, whose figures would be undefined."""
        return None

    def check_batches(self, size: int) -> None:
        """Raise DataError if images of an evaluation batch differ in size, as far as `check` has read their headers."""
        if self.transform is not None:
            return
        images = self._image_numbers[self._kept].tolist()
        for start in range(0, len(images), size):
            sizes = {self._sizes[image]: image for image in images[start : start + size] if image in self._sizes}
            if len(sizes) > 1:
                shown = ", ".join(f"{self._path(image)} is {w}x{h}" for (h, w), image in list(sizes.items())[:2])
                raise DataError(f"images of an evaluation batch differ in size ({shown}): set data.eval_batch_size=1")

    def keep_decoded(self) -> None:
        """Keep images in memory after their first reading. Call it after `verify` and before workers start.

        A uint8 RGB image takes 3 bytes a pixel, with a mask 4. Raises LightsegError if the data set does not fit.
        """
        self._cached = np.unique(self._image_numbers[self._kept])
        sizes = [read_size(self._path(image), oriented=self.oriented) for image in self._cached.tolist()]
        self._cache = DecodedCache(sizes, masks=self._caches_masks, pixels=self.pixels)

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Remove the samples that are not chosen from the data set and its ground truth, and renumber the others."""
        self._kept = self._kept[np.asarray(chosen, bool)]
        self._cache = None

    def keep_images(self, chosen: Callable[[str], bool]) -> None:
        """Like `keep_only`, for the image files that are chosen by their path."""
        self.keep_only([chosen(str(path)) for path in self.paths])

    def classes_of(self, index: int) -> list[int]:
        """The labels that occur in a sample, as far as they are known without decoding it."""
        return []

    def fingerprint(self) -> str:
        """12 hexadecimal digits that depend on the names and sizes (not the contents) of the split's files."""
        return fingerprint(self._files())

    def add_classes(self, names: Sequence[str]) -> None:
        """Give an evaluation split the classes of the training split or of a checkpoint that it has no sample of, where
        its format allows that. Call it before workers start."""
        return None

    def reorder_classes(self, names: Sequence[str]) -> None:
        """Renumber the labels in the order of `names`, a checkpoint's permutation of `class_names`.

        Results for evaluators keep the ids of the files. Call it before workers start. Raises ValueError if `names` is
        not a permutation of `class_names`.
        """
        if len(set(names)) < len(names) or set(names) != set(self.class_names):
            raise ValueError(f"{list(names)} is not a permutation of {self.class_names}")
        order = np.array([self.class_names.index(name) for name in names])
        self._set_classes(names, np.argsort(order), order)

    def merge_classes(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Make one class of several. Call it before workers start.

        groups: the name of each new class -> the names of its classes. A new class has the number and the color of its
        first class. Raises LightsegError for names that do not exist, or are in two groups.
        """
        names, new = merged_classes(self.class_names, groups, may_lack=self.may_lack)
        first = np.array([new.tolist().index(label) for label in range(len(names))], np.int64)
        self._set_classes(names, new, first)

    def _set_classes(self, names: Sequence[str], new: np.ndarray, first: np.ndarray) -> None:
        """new: int64, the new label of every label. first: int64, the first label of every new label."""
        self.class_names = list(names)
        self.palette = [self.palette[label] for label in first.tolist()]
        self.file_classes = self.file_classes[first]
        self._renumber(new, first)
        if self._cache is not None and self._caches_masks:
            self.keep_decoded()  # a new cache: the old one has the old labels

    # -- methods of a format -------------------------------------------------------------------------------------------

    def _path(self, image: int) -> str | Path:
        raise NotImplementedError

    def _decode(self, image: int) -> Arrays:
        """The arrays that the cache keeps: the image and, in segmentation, its mask."""
        return {"image": self._read_image(image)}

    def _read_image(self, image: int) -> np.ndarray:
        return read_pixels(self._path(image), self.pixels, oriented=self.oriented)

    def _transform_inputs(self, original: Arrays) -> Arrays:
        return original

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        """A sample's entries besides image, name and index. arrays: transformed; original: as on disk."""
        raise NotImplementedError

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        """Renumber the labels: the label c becomes `new[c]`. first: int64, the first label of every new label."""
        raise NotImplementedError

    def _files(self) -> Iterable[tuple[str, str | Path]]:
        """(name, path) of the files of the fingerprint."""
        images = self._image_numbers[self._kept].tolist()
        return zip(self.names, map(self._path, images), strict=True)

    def _image_number(self, index: int) -> int:
        return int(self._image_numbers[self._kept[index]])

    def size_of(self, index: int) -> tuple[int, int]:
        """(height, width) of a sample's image as it is read, from its header."""
        image = self._image_number(index)
        return self._sizes[image] if image in self._sizes else self._read_size(image)

    def _read_size(self, image: int) -> tuple[int, int]:
        """(height, width) of an image as it is read. Counts those that are stored in another orientation.

        Raises DataError for an image that does not have the channels and values of `pixels`.
        """
        header = read_header(self._path(image))
        check_pixels(self._path(image), self.pixels)
        if header.orientation != 1:
            self._turned.add(image)
        self._sizes[image] = header.size if self.oriented else (header.height, header.width)
        return self._sizes[image]

    def _decoded(self, image: int) -> Arrays:
        if self._cache is None:
            return self._decode(image)
        slot = int(np.searchsorted(self._cached, image))
        arrays = self._cache.get(slot)
        if arrays is None:
            arrays = self._decode(image)
            self._cache.put(slot, arrays)
        return arrays


def find_folder(path: Path, contents: str) -> Path:
    """`path`. Raises DataError, with the folder's contents in the text, if there is no such folder."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder ({contents}); check data.root; the mini data sets need none")
    return path
