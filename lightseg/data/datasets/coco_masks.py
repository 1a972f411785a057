"""Masks from COCO's JSON files: instances and stuff (polygons or RLE), and panoptic segments (PNG files).

    root/train2017/0001.jpg    root/annotations/instances_train2017.json, stuff_train2017.json
    root/train2017/0001.jpg    root/annotations/panoptic_train2017.json, panoptic_train2017/0001.png

Where objects overlap, the smaller lie on the larger. Pixels without an object are the class `data.background`, or
ignored; in panoptic files they always are ignored.

Source: cocodataset.org/#format-data.
"""

from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.coco_json import CocoAnnotations, parse_coco
from lightseg.data.datasets.json_fields import flag, id_number, indices_of, list_of, load_json, number
from lightseg.data.datasets.labeled import LabeledImage, LabeledObject, Labels, dataset_of, split_entry
from lightseg.data.datasets.rle import Polygon
from lightseg.data.datasets.segmentation import IGNORE, UNKNOWN, Pair, SegmentationDataset, default_palette
from lightseg.data.io.images import read_image
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options."""
    if (split_entry(options, split)).get("masks") is None:
        return dataset_of(read_labels, options, split, transform)
    entry, root = options["split"][split], Path(options["root"])
    return PanopticMasks(root / entry["images"], root / entry["annotations"], root / entry["masks"], transform)


def read_labels(options: dict[str, Any], split: str) -> Labels:
    """A split's labels. `data.split.<split>` has the folder of the `images` and the file of the `annotations`."""
    entry, root = split_entry(options, split), Path(options["root"])
    file = root / entry["annotations"]
    content, coco = _read(file)
    annotations = list_of(content, "annotations", file)
    if any(isinstance(annotation, dict) and "segments_info" in annotation for annotation in annotations[:1]):
        raise DataError(f"{file}: panoptic segments: give the folder of their PNG files, data.split.{split}.masks=...")
    labels = Labels(file, others=[file], classes=coco.class_names, in_order=False)
    labels.images = [
        LabeledImage(root / entry["images"] / name, (height, width), [])
        for name, (height, width) in zip(coco.files, coco.sizes.tolist(), strict=True)
    ]
    entries = [annotation if isinstance(annotation, dict) else {} for annotation in annotations]
    images = indices_of([annotation.get("image_id") for annotation in entries], coco.image_ids).tolist()
    classes = indices_of([annotation.get("category_id") for annotation in entries], coco.category_ids).tolist()
    for row, (annotation, image, label) in enumerate(zip(entries, images, classes, strict=True)):
        where = f"{file} annotation {annotation.get('id', f'number {row}')}"
        if image < 0 or label < 0:
            labels.left_out.add("point to no image, or to no category", where)
            continue
        labeled = LabeledObject(coco.class_names[label], where, crowd=bool(flag(annotation.get("iscrowd"))))
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict):
            labeled.rle = segmentation
        elif (polygons := _polygons(segmentation)) is not None:
            labeled.polygons = polygons
        else:
            labels.left_out.add("have polygons that are not lists of numbers", where)
            continue
        labels.images[image].objects.append(labeled)
    return labels


class PanopticMasks(SegmentationDataset):
    """Masks of COCO's panoptic format: the color of a pixel is the id of its segment, red + 256 green + 65536 blue."""

    masks_of_ids = False

    def __init__(self, images: Path, file: Path, masks: Path, transform: Transform | None) -> None:
        content, coco = _read(file)
        self._segments: list[dict[int, int]] = [{} for _ in coco.files]
        pairs: list[Pair | None] = [None] * len(coco.files)
        annotations = [entry for entry in list_of(content, "annotations", file) if isinstance(entry, dict)]
        owners = indices_of([entry.get("image_id") for entry in annotations], coco.image_ids).tolist()
        for annotation, image in zip(annotations, owners, strict=True):
            segments = annotation.get("segments_info")
            if image < 0 or not isinstance(segments, list) or not isinstance(annotation.get("file_name"), str):
                raise DataError(
                    f"{file}: an annotation has no image, `segments_info` or `file_name`: give a panoptic file"
                )
            pairs[image] = Pair(coco.image_names()[image], images / coco.files[image], masks / annotation["file_name"])
            self._segments[image] = _labels_of(segments, coco, file)
        missing = [name for name, pair in zip(coco.files, pairs, strict=True) if pair is None]
        if missing:
            raise DataError(
                f"{file}: {len(missing)} images have no annotation, the first: {missing[0]}: export it again"
            )
        names = coco.class_names
        if len(names) > UNKNOWN:
            raise DataError(f"{file}: {len(names)} categories: masks hold {UNKNOWN}; leave some out")
        table = np.arange(256, dtype=np.uint8)
        super().__init__([pair for pair in pairs if pair], names, default_palette(len(names)), table, transform)
        self._file = file

    def _mask(self, image: int) -> np.ndarray:
        pair = self._pairs[image]
        assert pair.label is not None
        pixels = read_image(pair.label, oriented=False).astype(np.int64)
        ids, inverse = np.unique(pixels @ np.array([1, 256, 65536]), return_inverse=True)
        segments = {0: IGNORE} | self._segments[image]
        unknown = [segment for segment in ids.tolist() if segment not in segments]
        if unknown:
            raise DataError(f"{pair.label}: segment {unknown[0]} is not in {self._file}: export both again")
        labels = np.array([segments[segment] for segment in ids.tolist()], np.uint8)
        return self.table[labels[inverse.reshape(pixels.shape[:2])]]

    def _files(self) -> Any:
        return [("annotations", self._file), *super()._files()]


def _read(file: Path) -> tuple[Any, CocoAnnotations]:
    """A file's content, and its images and categories, checked."""
    content = load_json(file)
    without = {**content, "annotations": []} if isinstance(content, dict) else content
    return content, parse_coco(without, file)


def _labels_of(segments: list[Any], coco: CocoAnnotations, file: Path) -> dict[int, int]:
    """Segment id -> class."""
    entries = [segment if isinstance(segment, dict) else {} for segment in segments]
    ids = [id_number(entry.get("id")) for entry in entries]
    classes = indices_of([entry.get("category_id") for entry in entries], coco.category_ids).tolist()
    if None in ids or -1 in classes:
        raise DataError(f"{file}: a segment has no id, or a category that the file does not have: export it again")
    return {id_: label for id_, label in zip(ids, classes, strict=True) if id_ is not None}


def _polygons(segmentation: Any) -> list[Polygon] | None:
    """Polygons of numbers; none for null. None for anything else."""
    if not isinstance(segmentation, list | None):
        return None
    polygons = []
    for polygon in segmentation or []:
        values = [number(value) for value in polygon] if isinstance(polygon, list) else [None]
        if None in values or len(values) % 2 or not np.isfinite(np.array(values, float)).all():
            return None
        polygons.append([float(value or 0) for value in values])
    return polygons
