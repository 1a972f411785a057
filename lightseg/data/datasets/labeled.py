"""Labels of any format in one form, and the data sets that are made of them.

A format has a reader, a function (`data` options, split) -> `Labels`. `dataset_of` makes of it the data set of the
task: boxes as from COCO's instances JSON, people with keypoints as from COCO's person_keypoints JSON, or masks. So all
formats have the same checks, reports, samples and evaluation.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightseg.data.datasets.label_report import LeftOut, located
from lightseg.data.io.images import read_size
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten

Keypoint = tuple[float, float, float]  # x, y, visibility: 0 not labeled, 1 occluded, 2 visible


@dataclass(slots=True)
class LabeledObject:
    """An object in pixels of its image, whose corner is 0, 0.

    where: the file and its line or number, for reports. box: x1, y1, x2, y2. polygons: x1, y1, x2, y2, ... each.
    rle: COCO's run-length encoding instead of polygons. keypoints: by name.
    crowd: evaluated as COCO evaluates crowds, and not trained on.
    """

    label: str
    where: str
    box: list[float] | None = None
    polygons: list[list[float]] = field(default_factory=list)
    rle: dict[str, Any] | None = None
    keypoints: dict[str, Keypoint] = field(default_factory=dict)
    crowd: bool = False


@dataclass(slots=True)
class LabeledImage:
    """An image file, its size (height, width; 0, 0 where the labels do not say it), its objects and its label file."""

    path: Path
    size: tuple[int, int]
    objects: list[LabeledObject]
    file: Path | None = None


@dataclass
class Labels:
    """The labels of a split.

    file: the file or folder that stands for all labels, for errors. others: label files of no single image.
    classes, keypoints: their names in order. None: all that occur in the splits, sorted.
    pairs: left and right keypoints, counted from 1. None: by their names.
    in_order: whether later objects lie on earlier ones in masks. False: smaller objects on larger ones.
    """

    file: Path
    images: list[LabeledImage] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    classes: list[str] | None = None
    keypoints: list[str] | None = None
    pairs: list[list[int]] | None = None
    in_order: bool = True
    split: str = ""
    left_out: LeftOut = field(default_factory=LeftOut)

    def objects(self) -> Iterator[LabeledObject]:
        return (labeled for image in self.images for labeled in image.objects)

    def label_files(self) -> list[Path]:
        return [*self.others, *dict.fromkeys(image.file for image in self.images if image.file is not None)]


Reader = Callable[[dict[str, Any], str], Labels]


def dataset_of(reader: Reader, options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options, whose format ends in the task: `yolo_seg`, `yolo_pose`, otherwise boxes.

    Raises DataError for a split without images or without a label that the task can use.
    """
    from lightseg.data.datasets.labeled_sets import boxes_of, masks_of, persons_of

    labels = reader(options, split)
    if not labels.images:
        raise DataError(f"{labels.file}: no image in split {split}; check data.root and data.split.{split}")
    paths = [image.path for image in labels.images]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise DataError(f"{labels.file}: {twice} is in split {split} more than once: leave one out")
    _drop_thin(labels)
    names = class_names(reader, options, split, labels)
    known = set(names)
    for image in labels.images:
        for labeled in image.objects:
            if labeled.label not in known:
                labels.left_out.add("are of classes that data.classes does not name", labeled.where)
        image.objects = [labeled for labeled in image.objects if labeled.label in known]
    labels.split = split
    if labels.keypoints is None and options["format"].endswith("_pose"):
        named = (options.get("skeleton") or {}).get("names")
        labels.keypoints = named or keypoint_names(reader, options, split, labels)
    make = {"seg": masks_of, "pose": persons_of}.get(options["format"].rpartition("_")[2], boxes_of)
    try:
        return make(labels, names, options, transform)
    except DataError as error:
        raise DataError(located(str(error), labels)) from error


def class_names(reader: Reader, options: dict[str, Any], split: str, labels: Labels) -> list[str]:
    """`data.classes`, or the classes of the format's files, or the labels that occur in the splits, sorted."""
    if options.get("classes"):
        return [str(name) for name in options["classes"]]
    if labels.classes is not None:
        return labels.classes
    names = {labeled.label for every in _splits(reader, options, split, labels) for labeled in every.objects()}
    if not names:
        raise DataError(
            f"{labels.file}: no label in it ({labels.left_out.most() or 'its images have none'}): give labels"
        )
    return sorted(names)


def keypoint_names(reader: Reader, options: dict[str, Any], split: str, labels: Labels) -> list[str]:
    """The points that occur in the splits, sorted."""
    every = _splits(reader, options, split, labels)
    return sorted({name for part in every for labeled in part.objects() for name in labeled.keypoints})


def _splits(reader: Reader, options: dict[str, Any], split: str, labels: Labels) -> Iterator[Labels]:
    """The labels of the splits, those of `split` as they are."""
    yield labels
    for other, entry in options["split"].items():
        if other in ("train", "val") and other != split and entry != options["split"][split]:
            yield reader(options, other)


def _drop_thin(labels: Labels) -> None:
    """Leave out polygons of fewer than three points, and objects without anything else."""
    for image in labels.images:
        kept = []
        for labeled in image.objects:
            whole = [polygon for polygon in labeled.polygons if len(polygon) >= 6]
            if len(whole) < len(labeled.polygons):
                labels.left_out.add("are polygons of fewer than three points", labeled.where)
            labeled.polygons = whole
            if whole or labeled.box is not None or labeled.rle is not None or labeled.keypoints:
                kept.append(labeled)
        image.objects = kept


def fill_sizes(images: list[LabeledImage], *, oriented: bool) -> int:
    """Read the sizes that the labels do not say from the images' headers, in threads. Returns their number.

    An unreadable image keeps the size 0, 0: the check of the files, which follows, has the reason.
    """

    def size(image: LabeledImage) -> tuple[int, int]:
        try:
            return read_size(image.path, oriented=oriented)
        except DataError:
            return 0, 0

    missing = [image for image in images if not all(image.size)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for image, read in zip(missing, pool.map(size, missing, chunksize=16), strict=True):
            image.size = read
    return len(missing)


def find_image(candidates: list[Path], label: Path, named: str) -> Path:
    """The first that exists. Raises DataError with the label file and the name of the image in it."""
    for path in candidates:
        if path.is_file():
            return path
    where = shorten(sorted({str(path.parent) for path in candidates}), 3)
    raise DataError(
        f"{label}: its image {named!r} is not there (looked in {where}): put it beside, or correct the file"
    )


def split_entry(options: dict[str, Any], split: str) -> Any:
    entry = options["split"].get(split)
    if entry is None:
        raise LightsegError(f"data.split.{split} is not set: give it, or a share of the training images, as in 0.2")
    return entry
