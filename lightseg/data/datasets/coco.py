"""Images with boxes from a file in the format of COCO's instances JSON (Lin et al., arXiv:1405.0312).

    root/train2017/000000000009.jpg   root/annotations/instances_train2017.json

Category ids may have gaps; classes are numbered 0..C-1 in the order of their ids. Crowds (`iscrowd`, regions with too
many objects for single boxes) are in the ground truth of the evaluation but not in training. Images without boxes are
samples too.

A sample is
    image:    uint8 [3, H, W] RGB, 0..255 (in channels_last memory)
    boxes:    float32 [N, 4] x1, y1, x2, y2 in pixels of `image`; N may be 0
    labels:   int64 [N], 0..C-1
    size:     (height, width) of the image on disk
    image_id: int, or text where the file has text
    name:     str, the image's name without ending
    index:    int
"""

import colorsys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightseg.data.datasets.base import Arrays, ImageDataset, find_folder
from lightseg.data.datasets.coco_json import CocoAnnotations, read_coco
from lightseg.data.datasets.json_fields import Id, id_number
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError
from lightseg.text import shorten

BOXES_ON = ("shown", "stored")


class CocoImages(ImageDataset):
    """The images of a COCO annotation file, in its order. Their sizes must equal those in the file.

    Attributes:
        folder, file: the folder of the images; the annotation file.
        label_files: the files of the annotations.
    """

    _annotation_kind = "boxes"

    def __init__(
        self, folder: Path, file: Path, annotations: CocoAnnotations, boxes_on: str, *args: Any, **options: Any
    ) -> None:
        """
        Args:
            boxes_on: "shown": boxes and keypoints are in pixels of the images as they are displayed. "stored": as they
                are stored, which is how they are then read.
            args, options: of `ImageDataset`.
        """
        super().__init__(*args, **options)
        if boxes_on not in BOXES_ON:
            raise LightsegError(f"data.boxes_on={boxes_on}: choose from {', '.join(BOXES_ON)}")
        self.folder, self.file, self.oriented = folder, file, boxes_on == "shown"
        self.label_files = [file]
        self._annotations = annotations
        self.has_labels = annotations.labeled

    @property
    def image_ids(self) -> list[Id]:
        """The image id of every sample."""
        return [self._annotations.image_ids[image] for image in self._image_numbers[self._kept].tolist()]

    def check(self, index: int) -> None:
        """Read the header: DataError for an unreadable image or another size than in the annotation file."""
        image = self._image_number(index)
        self._check_size(image, self._read_size(image))

    def _path(self, image: int) -> Path:
        return self.folder / self._annotations.files[image]

    def _decode(self, image: int) -> Arrays:
        arrays = super()._decode(image)
        self._check_size(image, arrays["image"].shape[:2])
        return arrays

    def _check_size(self, image: int, size: Sequence[int]) -> None:
        annotated = self._annotations.sizes[image].tolist()
        if all(annotated) and annotated != list(size):
            how = "turned as its EXIF data say" if self.oriented else "as stored"
            other = "stored" if self.oriented else "shown"
            cure = f"set data.boxes_on={other}" if annotated == list(size)[::-1] else "correct the file or the image"
            raise DataError(
                f"{self._path(image)}: the image is {size[1]}x{size[0]} (width x height, {how}), but {self.file.name} "
                f"says {annotated[1]}x{annotated[0]}, so that {self._annotation_kind} would not fit: {cure}"
            )

    def _files(self) -> Iterable[tuple[str, str | Path]]:
        return [*(("annotations", file) for file in self.label_files), *super()._files()]


class CocoDetection(CocoImages):
    """The images of one annotation file.

    images, annotations: the folder of the images and the JSON, below `root`.
    transform: of `lightseg.data.transforms.detection`, or a PhaseTransform. None: images are not changed.
    boxes_on: "shown" or "stored", see `CocoImages`.
    parsed: the content of the JSON, if it is not to be read.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        images: str,
        annotations: str,
        transform: Transform | None = None,
        boxes_on: str = "shown",
        parsed: dict[str, Any] | None = None,
    ) -> None:
        folder = find_folder(Path(root) / images, "the images of the split")
        file = Path(root) / annotations
        content = read_coco(file, parsed)
        names, palette = content.image_names(), bright_palette(len(content.class_names))
        super().__init__(folder, file, content, boxes_on, names, content.class_names, palette, transform)
        self.report, self._notes = content.report, content.notes

    @property
    def category_ids(self) -> list[Id]:
        """The category id of each class in the file."""
        return self._annotations.category_ids

    def read(self, index: int) -> Arrays:
        """Image uint8 [H, W, 3], boxes float32 [N, 4] xyxy and labels int64 [N], without crowds."""
        image = self._image_number(index)
        rows = slice(*self._annotations.starts[image : image + 2])
        single = ~self._annotations.crowd[rows]
        return {
            "image": self._decoded(image)["image"],
            "boxes": self._annotations.boxes[rows][single],
            "labels": self._annotations.labels[rows][single],
        }

    def classes_of(self, index: int) -> list[int]:
        image = self._image_number(index)
        return np.unique(self._annotations.labels[slice(*self._annotations.starts[image : image + 2])]).tolist()

    def check_evaluable(self) -> None:
        content = self._annotations
        numbers = np.diff(content.starts)
        evaluated = np.isin(np.repeat(np.arange(len(numbers)), numbers), self._image_numbers[self._kept])
        if not (evaluated & ~content.crowd).any():
            crowds = int((evaluated & content.crowd).sum())
            raise DataError(f"{self.file}: no box to evaluate on: {_why_none(crowds)}; give images with boxes")

    def labeled_boxes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The boxes of all samples without crowds: the index of their sample int64 [N], boxes float32 [N, 4] xyxy in px
        of their images, and labels int64 [N]."""
        content = self._annotations
        index = np.full(len(content.files), -1)
        index[self._image_numbers[self._kept]] = np.arange(len(self))
        samples = np.repeat(index, np.diff(content.starts))
        kept = (samples >= 0) & ~content.crowd
        return samples[kept], content.boxes[kept], content.labels[kept]

    def ground_truth(self) -> dict[str, Any]:
        """COCO's `images`, `annotations` and `categories` of the images in the data set, crowds included.

        Boxes and areas are those of the file, not clipped, as for published scores. Annotations that were left out are
        missing, and ids are numbered from 1 (for the evaluators, id 0 means no match).
        """
        content = self._annotations
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image in self._kept.tolist():
            image_id = content.image_ids[image]
            height, width = content.sizes[image].tolist()
            images.append({"id": image_id, "file_name": content.files[image], "height": height, "width": width})
            rows = slice(*content.starts[image : image + 2])
            columns = (content.labels, content.bbox, content.area, content.crowd)
            for label, bbox, area, crowd in zip(*(column[rows].tolist() for column in columns), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": image_id, "category_id": content.category_ids[label],
                        "bbox": bbox, "area": area, "iscrowd": int(crowd),
                    }
                )  # fmt: skip
        categories = sorted(
            zip(self.category_ids, self.class_names, strict=True), key=lambda category: id_number(category[0]) or 0
        )
        return {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": category_id, "name": name} for category_id, name in categories],
        }

    def _transform_inputs(self, original: Arrays) -> Arrays:
        return {**original, "read": self.read, "count": len(self)}  # for transforms that mix images

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {
            "boxes": torch.from_numpy(arrays["boxes"]),
            "labels": torch.from_numpy(arrays["labels"]),
            "size": original["image"].shape[:2],
            "image_id": self._annotations.image_ids[sample],
        }

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        content = self._annotations
        content.labels = new[content.labels]
        content.category_ids = [content.category_ids[label] for label in first.tolist()]
        content.class_names = list(self.class_names)


def bright_palette(num_classes: int) -> list[list[int]]:
    """Light colors, visible as thin lines on any image. Consecutive hues are a golden section apart."""
    hues = [(0.61803 * number) % 1 for number in range(num_classes)]
    shades = [(1.0, 1.0), (0.6, 1.0), (1.0, 0.8)]  # (saturation, value), the next every 10 classes
    colors = [colorsys.hsv_to_rgb(hue, *shades[number // 10 % 3]) for number, hue in enumerate(hues)]
    return [[round(255 * value) for value in color] for color in colors]


def check_same_categories(train: CocoDetection, val: CocoDetection) -> None:
    """Raise DataError unless both splits have the same categories and the training split has a box."""
    of_train, of_val = (
        dict(zip(map(id_number, split.category_ids), split.class_names, strict=True)) for split in (train, val)
    )
    if of_train != of_val:
        differences = [
            f"{i} is {of_train.get(i, 'missing')} / {of_val.get(i, 'missing')}"
            for i in sorted({*of_train, *of_val}, key=lambda number: number or 0)
            if of_train.get(i) != of_val.get(i)
        ]
        raise DataError(f"{train.file} and {val.file} differ in their categories: {shorten(differences, 4)}")
    crowd = train._annotations.crowd
    if crowd.all():
        raise DataError(f"{train.file}: no box to train on: {_why_none(len(crowd))}; give images with boxes")


def _why_none(crowds: int) -> str:
    return f"all {crowds} annotations are crowds" if crowds else "its images have no annotations"


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> CocoDetection:
    """The data set of the `data` options."""
    files = options["split"][split]
    return CocoDetection(
        options["root"],
        images=files["images"],
        annotations=files["annotations"],
        transform=transform,
        boxes_on=options.get("boxes_on", "shown"),
    )
