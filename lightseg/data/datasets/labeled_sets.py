"""The data sets of detection, pose estimation and segmentation that `Labels` are made into."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco import CocoDetection
from lightseg.data.datasets.coco_boxes import fill_boxes
from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.datasets.label_report import located
from lightseg.data.datasets.labeled import LabeledImage, LabeledObject, Labels
from lightseg.data.datasets.rle import polygon_mask, rle_mask
from lightseg.data.datasets.segmentation import IGNORE, Pair, SegmentationDataset, default_palette
from lightseg.data.io.images import read_header
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError

MOST_CLASSES = 254  # of a mask of bytes
IGNORED = "__ignore__"  # LabelMe's name of regions of no class


def boxes_of(labels: Labels, names: list[str], options: dict[str, Any], transform: Transform | None) -> CocoDetection:
    """Boxes, made from outlines or keypoints where there is none."""
    _require(labels, lambda labeled: True, "label")
    folder, content = _coco(labels, names)
    dataset = CocoDetection(
        folder, images="", annotations=str(labels.file.absolute()), transform=transform, parsed=content,
        boxes_on=options.get("boxes_on", "shown"),
    )  # fmt: skip
    return _with_reports(dataset, labels)


def persons_of(labels: Labels, names: list[str], options: dict[str, Any], transform: Transform | None) -> CocoKeypoints:
    """People, or other objects, with the keypoints that the labels name."""
    _require(labels, lambda labeled: bool(labeled.keypoints), "object with keypoints")
    folder, content = _coco(labels, names, labels.keypoints)
    skeleton = {key: value for key, value in (options.get("skeleton") or {}).items() if value is not None}
    if labels.pairs is not None:
        skeleton.setdefault("pairs", labels.pairs)
    dataset = CocoKeypoints(
        folder, images="", annotations=str(labels.file.absolute()), transform=transform, parsed=content,
        person_boxes=None if labels.split == "train" else options["person_boxes"],
        min_score=options["least_box_score"], category=options["category"], skeleton=skeleton,
        boxes_on=options.get("boxes_on", "shown"), least_visibility=options.get("least_visibility"),
    )  # fmt: skip
    return _with_reports(dataset, labels)


def masks_of(labels: Labels, names: list[str], options: dict[str, Any], transform: Transform | None) -> "ShapeMasks":
    _require(labels, _has_outline, "outline (polygon or mask)")
    return ShapeMasks(labels, names, options.get("background"), transform)


class ShapeMasks(SegmentationDataset):
    """Masks painted from outlines, when a sample is read.

    background: the name of the class of pixels without an outline, which is the first class unless the labels have it.
    None: these pixels are ignored.
    """

    masks_of_ids = False

    def __init__(self, labels: Labels, names: list[str], background: str | None, transform: Transform | None) -> None:
        names = [name for name in names if name != IGNORED]
        if background is not None and background not in names:
            names = [background, *names]
        if len(names) > MOST_CLASSES:
            raise DataError(
                f"{labels.file}: {len(names)} classes: masks hold {MOST_CLASSES}: choose some as data.classes"
            )
        self._images = labels.images
        for labeled in labels.objects():
            if not _has_outline(labeled):
                labels.left_out.add("have no outline, which masks are made from", labeled.where)
        folder = _common_folder(labels.images)
        pairs = [
            Pair(os.path.splitext(os.path.relpath(image.path, folder))[0], image.path, image.file or labels.file)
            for image in labels.images
        ]
        if len({pair.name for pair in pairs}) < len(pairs):
            pairs = [Pair(os.path.relpath(pair.image, folder), pair.image, pair.label) for pair in pairs]
        super().__init__(pairs, names, default_palette(len(names)), np.arange(256, dtype=np.uint8), transform)
        self._ids = {name: number for number, name in enumerate(names)} | {IGNORED: IGNORE}
        self._unlabeled = IGNORE if background is None else names.index(background)
        self._in_order, self._label_files = labels.in_order, labels.label_files()
        self.report, self._notes = labels.left_out.report(), labels.left_out.notes()

    def classes_of(self, index: int) -> list[int]:
        labels = {self._ids[labeled.label] for labeled in self._images[self._image_number(index)].objects}
        return sorted({int(self.table[label]) for label in labels} - {IGNORE})

    def check(self, index: int) -> None:
        """Read the header: DataError for an unreadable image, or another size than the labels say."""
        number = self._image_number(index)
        image, size = self._images[number], self._read_size(number)
        if all(image.size) and size != image.size:
            raise DataError(
                f"{image.path}: the image is {size[1]}x{size[0]} (width x height), but its label says "
                f"{image.size[1]}x{image.size[0]}: make both alike"
            )

    def _mask(self, image: int) -> np.ndarray:
        labeled = self._images[image]
        size = self._sizes.get(image) or (labeled.size if all(labeled.size) else read_header(labeled.path).size)
        mask = paint(labeled.objects, size, self._ids, self._unlabeled, in_order=self._in_order)
        return self.table[mask]

    def _files(self) -> Any:
        images = ((pair.name, pair.image) for pair in self.pairs)
        return [*(("annotations", file) for file in self._label_files), *images]


def paint(
    objects: list[LabeledObject], size: tuple[int, int], ids: dict[str, int], unlabeled: int, *, in_order: bool
) -> np.ndarray:
    """The mask of an image, class ids uint8 [H, W].

    size: height, width. ids: of the classes. unlabeled: the id of pixels without an object. in_order: later objects
    lie on earlier ones; otherwise smaller on larger ones.
    """
    mask = np.full(size, unlabeled, np.uint8, order="F")  # as regions are
    regions = []
    for labeled in objects:
        if labeled.polygons:
            regions.append((polygon_mask(labeled.polygons, size), labeled))
        elif labeled.rle is not None:
            region = rle_mask(labeled.rle, size)
            if region is None:
                raise DataError(
                    f"{labeled.where}: its mask is no RLE of {size[0]} x {size[1]} (height x width): export it again"
                )
            regions.append((region, labeled))
    if not in_order:
        regions.sort(key=lambda pair: -np.count_nonzero(pair[0]))
    for region, labeled in regions:
        mask[region] = ids[labeled.label]
    return np.ascontiguousarray(mask)


def _has_outline(labeled: LabeledObject) -> bool:
    return bool(labeled.polygons) or labeled.rle is not None


def _require(labels: Labels, useful: Any, what: str) -> None:
    if not any(map(useful, labels.objects())):
        reason = labels.left_out.most() or "no image has such a label"
        raise DataError(f"{labels.file}: no {what} in it that can be used ({reason}): give labels of the task")


def _common_folder(images: list[LabeledImage]) -> Path:
    return Path(os.path.commonpath([image.path.parent.absolute() for image in images]))


def _coco(labels: Labels, names: list[str], points: list[str] | None = None) -> tuple[Path, dict[str, Any]]:
    """The folder of the images, and the labels as the content of a COCO file."""
    folder = _common_folder(labels.images)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(labels.images, start=1):
        (height, width), file = image.size, os.path.relpath(image.path.absolute(), folder)
        images.append({"id": image_id, "file_name": file, "height": height or None, "width": width or None})
        for labeled in image.objects:
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1, "image_id": image_id, "category_id": numbers[labeled.label],
                "bbox": _xywh(labeled.box), "segmentation": labeled.rle or labeled.polygons, "iscrowd": labeled.crowd,
            }  # fmt: skip
            if labeled.keypoints:
                listed = points or labeled.keypoints
                annotation["keypoints"] = [v for name in listed for v in labeled.keypoints.get(name, (0.0, 0.0, 0))]
            (annotation["bbox"],), (made,) = fill_boxes([annotation])
            if made:
                labels.left_out.add(
                    "have no box: it is made from their outline or keypoints", labeled.where, of="objects"
                )
            if annotation["bbox"] is not None:
                annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
            annotations.append(annotation)
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    if points:
        categories = [category | {"keypoints": points} for category in categories]
    return folder, {"images": images, "annotations": annotations, "categories": categories}


def _xywh(box: list[float] | None) -> list[float] | None:
    return None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _with_reports(dataset: Any, labels: Labels) -> Any:
    dataset.report = [*labels.left_out.report(), *(located(line, labels) for line in dataset.report)]
    dataset._notes = [*labels.left_out.notes(), *(located(line, labels) for line in dataset._notes)]
    dataset.label_files = labels.label_files()
    return dataset
