"""Pictures with boxes from COCO's instances JSON (Lin et al., arXiv:1405.0312), official or anybody's own.

    root/train2017/000000000009.jpg   root/annotations/instances_train2017.json

Category ids may have gaps and names may be any; classes are numbered 0..C-1 in the order of their ids. Crowds (regions
too dense to box, `iscrowd`) are in the ground truth of the evaluation and not among the boxes to train on; pictures
without boxes are samples like others.

A sample is
    image:    uint8 [3, H, W] RGB, 0..255 (in channels_last memory)
    boxes:    float32 [N, 4] x1, y1, x2, y2 in pixels of `image`; N may be 0
    labels:   int64 [N], 0..C-1
    size:     (height, width) of the picture on disk
    image_id: int, the file's own
    name:     str, the picture's name without ending
    index:    int
"""

import colorsys
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lightseg.data.datasets import segmentation
from lightseg.data.datasets.coco_json import few, read_coco
from lightseg.data.datasets.segmentation import find_folder
from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import read_image, read_size
from lightseg.data.io.integrity import fingerprint
from lightseg.data.transforms.stage_transform import Key, Transform, augment, index_of
from lightseg.errors import DataError


class CocoDetection(Dataset[dict[str, Any]]):
    """The pictures of one annotation file.

    images, annotations: the folder of the pictures and the JSON, below `root`.
    transform: `lightseg.data.transforms.detection` or a StagedTransform; None gives whole pictures.

    Attributes:
        report: a line for every kind of annotation that was left out or changed, with its count.
        category_ids: the file's id of each class.
    """

    has_labels = True

    def __init__(self, root: str | Path, *, images: str, annotations: str, transform: Transform | None = None) -> None:
        self.folder = find_folder(Path(root) / images, "the pictures of the split")
        self.file = Path(root) / annotations
        self.transform = transform
        self._all = read_coco(self.file)
        self.class_names, self.category_ids = self._all.class_names, self._all.category_ids
        self.report = self._all.report
        self.palette = bright_palette(self.num_classes)
        self._kept = list(range(len(self._all.files)))  # places in the file
        stems = [str(Path(file).with_suffix("")) for file in self._all.files]
        self._names = stems if len(set(stems)) == len(stems) else self._all.files
        self._cache: DecodedCache | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def names(self) -> list[str]:
        return [self._names[place] for place in self._kept]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / self._all.files[place] for place in self._kept]

    @property
    def image_ids(self) -> list[int]:
        return [self._all.image_ids[place] for place in self._kept]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample `index`, `(index, seed)` or `(index, seed, stage)`, augmented with that seed's randomness."""
        index = index_of(key)
        place = self._kept[index]
        arrays = self.read(index)
        size = arrays["image"].shape[:2]
        more: dict[str, Any] = {"read": self.read, "count": len(self)}  # for transforms that mix pictures
        arrays = augment(self.transform, key, {**arrays, **more})
        return {
            "image": torch.from_numpy(arrays["image"]).permute(2, 0, 1),
            "boxes": torch.from_numpy(arrays["boxes"]),
            "labels": torch.from_numpy(arrays["labels"]),
            "size": size,
            "image_id": self._all.image_ids[place],
            "name": self._names[place],
            "index": index,
        }

    def keep_decoded(self) -> None:
        """Keep every picture in memory once it has been read. Call it after `verify` and before workers start.

        A picture takes 3 bytes a pixel; raises LightsegError if the set does not fit.
        """
        self._cache = DecodedCache([read_size(path) for path in self.paths], masks=False)

    def read(self, index: int) -> dict[str, np.ndarray]:
        """Image uint8 [H, W, 3], boxes float32 [N, 4] xyxy and labels int64 [N], as on disk, without crowds."""
        place = self._kept[index]
        arrays = None if self._cache is None else self._cache.get(index)
        if arrays is None:
            arrays = {"image": read_image(self.folder / self._all.files[place])}
            self._check_size(place, arrays["image"].shape[:2])
            if self._cache is not None:
                self._cache.put(index, arrays)
        rows = slice(*self._all.starts[place : place + 2])
        single = ~self._all.crowd[rows]
        return {
            "image": arrays["image"],
            "boxes": self._all.boxes[rows][single],
            "labels": self._all.labels[rows][single],
        }

    def check(self, index: int) -> None:
        """Headers alone: DataError for an unreadable picture, or one of another size than the annotations say."""
        place = self._kept[index]
        self._check_size(place, read_size(self.folder / self._all.files[place]))

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Takes the pictures that are not chosen out of the data set and its ground truth; the others move up."""
        self._kept = [place for place, keep in zip(self._kept, chosen, strict=True) if keep]
        self._cache = None

    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the annotation file's size and the pictures' names and sizes (not
        their contents).
        """
        pictures = ((self._names[place], f"{self.folder}/{self._all.files[place]}") for place in self._kept)
        return fingerprint([("annotations", self.file), *pictures])

    def ground_truth(self) -> dict[str, Any]:
        """COCO's `images`, `annotations` and `categories` of the pictures in the data set, crowds included.

        Boxes and areas are the file's own figures, as published scores ask for; annotations that were left out are
        missing, and ids are numbered from 1 (to the evaluators, a match with id 0 is none).
        """
        known = self._all
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for place in self._kept:
            image_id = known.image_ids[place]
            height, width = known.sizes[place].tolist()
            images.append({"id": image_id, "file_name": known.files[place], "height": height, "width": width})
            rows = slice(*known.starts[place : place + 2])
            columns = (known.labels, known.bbox, known.area, known.crowd)
            for label, bbox, area, crowd in zip(*(column[rows].tolist() for column in columns), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": image_id, "category_id": known.category_ids[label],
                        "bbox": bbox, "area": area, "iscrowd": int(crowd),
                    }
                )  # fmt: skip
        categories = [{"id": i, "name": name} for i, name in zip(self.category_ids, self.class_names, strict=True)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def write_prediction(self, prediction: Mapping[str, Any], name: str, folder: Path) -> Path:
        """boxes [n, 4] xyxy in pixels of the picture on disk, labels [n] and scores [n] as `<name>.json`: a list of
        COCO results.
        """
        image_id = self._all.image_ids[self._place_of[name]]
        boxes, labels, scores = (np.asarray(prediction[key]) for key in ("boxes", "labels", "scores"))
        boxes = boxes.astype(np.float64).reshape(-1, 4)
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        results = [
            {"image_id": image_id, "category_id": self.category_ids[label], "bbox": bbox, "score": score}
            for label, bbox, score in zip(labels.tolist(), sides.tolist(), scores.tolist(), strict=True)
        ]
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results) + "\n")
        return path

    @property
    def _place_of(self) -> dict[str, int]:
        if not hasattr(self, "_places"):
            self._places = {name: place for place, name in enumerate(self._names)}
        return self._places

    def _check_size(self, place: int, size: Sequence[int]) -> None:
        known = self._all.sizes[place].tolist()
        if all(known) and known != list(size):
            raise DataError(
                f"{self.folder / self._all.files[place]}: the picture is {size[1]}x{size[0]} (width x height, turned "
                f"as its EXIF data say), but {self.file.name} says {known[1]}x{known[0]}: the boxes would not fit"
            )


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: images uint8 [B, 3, H, W] in channels_last memory, boxes list of [Ni, 4], labels list of [Ni], sizes
    list of (height, width), image_ids list[int], names list[str]. Raises DataError for images of different sizes.
    """
    images = segmentation.collate([{"image": sample["image"], "name": sample["name"]} for sample in samples])["image"]
    lists = {f"{key}s": [sample[key] for sample in samples] for key in ("size", "image_id", "name")}
    return {"images": images, **{key: [sample[key] for sample in samples] for key in ("boxes", "labels")}, **lists}


def bright_palette(num_classes: int) -> list[list[int]]:
    """Colours that thin lines can be seen in on any picture: hues a golden section apart, all of them light."""
    hues = [(0.61803 * number) % 1 for number in range(num_classes)]
    shades = [(1.0, 1.0), (0.6, 1.0), (1.0, 0.8)]  # saturation, value; in turn once the hues come close
    colours = [colorsys.hsv_to_rgb(hue, *shades[number // 10 % 3]) for number, hue in enumerate(hues)]
    return [[round(255 * value) for value in colour] for colour in colours]


def check_same_categories(train: CocoDetection, val: CocoDetection) -> None:
    """DataError unless both splits have the same categories, and the one to train on has a box."""
    ours, theirs = (dict(zip(one.category_ids, one.class_names, strict=True)) for one in (train, val))
    if ours != theirs:
        differ = [f"{i} is {ours.get(i, 'missing')} / {theirs.get(i, 'missing')}" for i in sorted({*ours, *theirs})
                  if ours.get(i) != theirs.get(i)]  # fmt: skip
        raise DataError(f"{train.file} and {val.file} differ in their categories: {few(differ, 4)}")
    if train._all.crowd.all():
        raise DataError(f"{train.file}: no box is left to train on ({len(train._all.labels)} annotations, all crowds)")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> CocoDetection:
    """Of the `data` options."""
    files = options["split"][split]
    return CocoDetection(options["root"], images=files["images"], annotations=files["annotations"], transform=transform)
