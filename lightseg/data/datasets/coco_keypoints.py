"""People with keypoints from COCO's person_keypoints JSON, or anybody's own: a sample is one person.

    root/train2017/000000000036.jpg   root/annotations/person_keypoints_train2017.json

Trained on are single people with labelled points; evaluated are the same, or the boxes that a detector found
(`person_boxes`). `ground_truth` has everybody, as COCO's evaluation wants it.

A sample is
    image:     uint8 [3, H, W] RGB, the crop (in channels_last memory)
    keypoints: float32 [K, 2] pixel indices of the crop (0 = centre of the first pixel); 0, 0 where not visible
    visible:   int64 [K], 0 not labelled or outside the crop, 1 covered, 2 seen
    area:      float32, the annotation's area in square pixels of the crop (a detection's: its box's)
    matrix:    float32 [2, 3], pixel indices of the crop to those of the picture
    image_id:  int, the file's own
    id:        int, of the annotation in `ground_truth()`; 0 for a detection
    box:       float32 [4] x1, y1, x2, y2 in the picture
    box_score: float32, 1 for an annotated box
    name:      str, the picture's name without ending, "#" and the annotation's id (a detection's: "d" and its place in
               the file)
    index:     int
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightseg.data.datasets import segmentation
from lightseg.data.datasets.coco import bright_palette
from lightseg.data.datasets.keypoints_json import read_persons
from lightseg.data.datasets.segmentation import find_folder
from lightseg.data.io.cache import DecodedCache
from lightseg.data.io.images import read_image, read_size
from lightseg.data.io.integrity import fingerprint
from lightseg.data.person_boxes import read_person_boxes
from lightseg.data.transforms.stage_transform import Key, Transform, augment, index_of
from lightseg.errors import DataError


class CocoKeypoints(Dataset[dict[str, Any]]):
    """The people of one annotation file.

    images, annotations: the folder of the pictures and the JSON, below `root`.
    transform: `lightseg.data.transforms.pose` or a StagedTransform; None gives whole pictures.
    person_boxes: a JSON of COCO results; the samples are then its boxes with at least `least_score`, without keypoints.
    category: the name of the category to read; needed where several have different keypoints.
    skeleton: edges, pairs and sigmas to use instead of the file's (see `read_skeleton`).

    Attributes:
        report: a line for everything in the files that was left out, changed or odd, with its count.
        category_id: the id that ground truth and results have.
    """

    has_labels, unit = True, "persons"  # what a sample is

    def __init__(
        self,
        root: str | Path,
        *,
        images: str,
        annotations: str,
        transform: Transform | None = None,
        person_boxes: str | Path | None = None,
        least_score: float = 0.0,
        category: str | None = None,
        skeleton: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = find_folder(Path(root) / images, "the pictures of the split")
        self.file = Path(root) / annotations
        self.person_boxes = None if person_boxes is None else Path(person_boxes)
        self.transform = transform
        self._all = read_persons(self.file, category=category, skeleton=skeleton)
        self.skeleton, self.category_id = self._all.skeleton, self._all.category_id
        self.class_names = list(self.skeleton.names)
        self.palette = bright_palette(self.num_classes)
        self.report = list(self._all.report)
        self._swap, self._lower = np.array(self.skeleton.swap), np.array(self.skeleton.lower)

        files = self._all.boxes.files
        stems = [str(Path(file).with_suffix("")) for file in files]
        stems = stems if len(set(stems)) == len(stems) else files
        if self.person_boxes is None:
            # of every sample: the place of its annotation, or -1, and of its picture; its box and score
            self._rows = np.flatnonzero(self._all.trained)
            self._pictures = np.repeat(np.arange(len(files)), np.diff(self._all.boxes.starts))[self._rows]
            self._boxes = self._all.boxes.boxes[self._rows]
            self._scores = np.ones(len(self._rows), np.float32)
            ends = [str(number) for number in self._all.ids[self._rows].tolist()]
        else:
            known = self._all.boxes
            found = read_person_boxes(
                self.person_boxes, known.image_ids, known.sizes, set(known.category_ids), least_score
            )
            self.report += found.report
            self._rows = np.full(len(found.rows), -1)
            self._pictures, self._boxes, self._scores = found.picture, found.boxes, found.scores
            ends = [f"d{row}" for row in found.rows.tolist()]
        if not len(self._rows):
            raise DataError(f"{self.file}: nobody in it has keypoints ({'; '.join(self.report) or 'no annotations'})")
        self._names = [f"{stems[place]}#{end}" for place, end in zip(self._pictures.tolist(), ends, strict=True)]
        self._kept = list(range(len(self._names)))
        self._cache: DecodedCache | None = None
        self._slots: dict[int, int] = {}  # picture -> place in the cache
        self._last: tuple[int, np.ndarray | None] = (-1, None)  # people of one picture come one after another

    @property
    def num_classes(self) -> int:
        """The number of points."""
        return len(self.class_names)

    @property
    def names(self) -> list[str]:
        return [self._names[sample] for sample in self._kept]

    @property
    def paths(self) -> list[Path]:
        return [self._path(self._pictures[sample]) for sample in self._kept]

    @property
    def image_ids(self) -> list[int]:
        """Of every sample."""
        return [self._all.boxes.image_ids[self._pictures[sample]] for sample in self._kept]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample `index`, `(index, seed)` or `(index, seed, stage)`, augmented with that seed's randomness."""
        index = index_of(key)
        sample = self._kept[index]
        arrays: dict[str, Any] = {**self.read(index), "swap": self._swap, "lower": self._lower}
        if self.transform is None:
            arrays |= {"image": arrays["image"].copy(), "matrix": np.eye(2, 3, dtype=np.float32)}
        arrays = augment(self.transform, key, arrays)
        return {
            "image": torch.from_numpy(arrays["image"]).permute(2, 0, 1),
            "keypoints": torch.from_numpy(arrays["keypoints"]),
            "visible": torch.from_numpy(arrays["visible"]),
            "area": torch.tensor(arrays["area"], dtype=torch.float32),
            "matrix": torch.from_numpy(arrays["matrix"]),
            "image_id": self._all.boxes.image_ids[self._pictures[sample]],
            "id": int(self._rows[sample]) + 1,
            "box": torch.from_numpy(self._boxes[sample].copy()),
            "box_score": torch.tensor(self._scores[sample]),
            "name": self._names[sample],
            "index": index,
        }

    def keep_decoded(self) -> None:
        """Keep every picture in memory once it has been read. Call it after `verify` and before workers start.

        A picture takes 3 bytes a pixel, however many people are in it; raises LightsegError if the set does not fit.
        """
        places = sorted({int(self._pictures[sample]) for sample in self._kept})
        self._slots = {place: slot for slot, place in enumerate(places)}
        self._cache = DecodedCache([read_size(self._path(place)) for place in places], masks=False)

    def read(self, index: int) -> dict[str, Any]:
        """Image uint8 [H, W, 3] (not to be written to), box float32 [4] xyxy, keypoints float32 [K, 2], visible int64
        [K] and area, all of the picture on disk. Points outside the picture are not visible.
        """
        sample = self._kept[index]
        row, image = self._rows[sample], self._image(int(self._pictures[sample]))
        box = self._boxes[sample]
        if row < 0:
            count, area = self.num_classes, float((box[2] - box[0]) * (box[3] - box[1]))
            keypoints, visible = np.zeros((count, 2), np.float32), np.zeros(count, np.int64)
        else:
            keypoints, area = self._all.keypoints[row].astype(np.float32), max(float(self._all.boxes.area[row]), 1.0)
            visible = np.where(self._all.outside[row], 0, self._all.visible[row]).astype(np.int64)
        return {"image": image, "box": box, "keypoints": keypoints, "visible": visible, "area": area}

    def check(self, index: int) -> None:
        """Headers alone, once a picture: DataError for an unreadable one or one of another size than the file says."""
        place = int(self._pictures[self._kept[index]])
        if index == 0 or place != self._pictures[self._kept[index - 1]]:
            self._check_size(place, read_size(self._path(place)))

    def keep_only(self, chosen: Sequence[bool]) -> None:
        """Takes the people who are not chosen out of the data set and its ground truth, and pictures of which nobody
        is left; the others move up.
        """
        self._kept = [sample for sample, keep in zip(self._kept, chosen, strict=True) if keep]
        self._cache = None

    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the size of annotation and detections file, the people chosen and the
        names and sizes (not the contents) of their pictures.
        """
        boxes = [] if self.person_boxes is None else [("person_boxes", self.person_boxes)]
        pictures = zip(self.names, self.paths, strict=True)
        return fingerprint([("annotations", self.file), *boxes, *pictures])

    def ground_truth(self) -> dict[str, Any]:
        """COCO's `images`, `annotations` and `categories`, with crowds and people without points, which COCO ignores.

        Pictures without people stay, and so do points outside their picture: figures are the file's own. Annotations
        that were left out are missing, and ids are new, from 1 (to the evaluators, a match with id 0 is none).
        """
        known, kept = self._all.boxes, set(self._kept)
        dropped = [sample for sample in range(len(self._names)) if sample not in kept]
        left = {int(self._pictures[sample]) for sample in self._kept}
        gone = {int(self._pictures[sample]) for sample in dropped} - left
        gone_rows = set(self._rows[dropped].tolist())
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for place, image_id in enumerate(known.image_ids):
            if place in gone:
                continue
            height, width = known.sizes[place].tolist()
            images.append({"id": image_id, "file_name": known.files[place], "height": height, "width": width})
            for row in range(*known.starts[place : place + 2].tolist()):
                if row not in gone_rows:
                    annotations.append({"id": row + 1, "image_id": image_id, **self._all.annotation(row)})
        return {"images": images, "annotations": annotations, "categories": [self._all.category()]}

    def labelled_persons(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the samples: boxes float32 [N, 4] xyxy, keypoints float32 [N, K, 2], both in px of their pictures, and
        visible int64 [N, K]. Of a detector's boxes no point is labelled: all are 0, 0 and not visible."""
        rows = self._rows[self._kept]
        known, shape = rows >= 0, (len(rows), self.num_classes)
        keypoints, visible = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.int64)
        keypoints[known] = self._all.keypoints[rows[known]]
        visible[known] = np.where(self._all.outside, 0, self._all.visible)[rows[known]]
        return torch.from_numpy(self._boxes[self._kept]), torch.from_numpy(keypoints), torch.from_numpy(visible)

    def evaluated_boxes(self) -> tuple[Tensor, Tensor, list[int], list[int]]:
        """Of the samples: boxes float32 [N, 4] xyxy px, their scores float32 [N], image_ids, and ids as in a sample."""
        boxes, scores = torch.from_numpy(self._boxes[self._kept]), torch.from_numpy(self._scores[self._kept])
        return boxes, scores, self.image_ids, (self._rows[self._kept] + 1).tolist()

    def write_prediction(self, prediction: Mapping[str, Any], name: str, folder: Path) -> Path:
        """keypoints [K, 2] px of the picture on disk, scores [K] and score as `<name>.json`: a list of one result."""
        if not hasattr(self, "_sample_of"):
            self._sample_of = {name: sample for sample, name in enumerate(self._names)}
        points, scores = (np.asarray(prediction[key], np.float64) for key in ("keypoints", "scores"))
        result = {
            "image_id": self._all.boxes.image_ids[self._pictures[self._sample_of[name]]],
            "category_id": self.category_id,
            "keypoints": np.concatenate([points, scores[:, None]], 1).ravel().tolist(),
            "score": float(prediction["score"]),
        }
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([result]) + "\n")
        return path

    def _path(self, place: int) -> Path:
        return self.folder / self._all.boxes.files[place]

    def _image(self, place: int) -> np.ndarray:
        last, image = self._last
        if last == place and image is not None:
            return image
        slot = self._slots.get(place, -1)
        kept = None if self._cache is None else self._cache.get(slot)
        if kept is None:
            image = read_image(self._path(place))
            self._check_size(place, image.shape[:2])
            if self._cache is not None:
                self._cache.put(slot, {"image": image})
        else:
            image = kept["image"]
        self._last = (place, image)
        return image

    def _check_size(self, place: int, size: Sequence[int]) -> None:
        known = self._all.boxes.sizes[place].tolist()
        if all(known) and known != list(size):
            raise DataError(
                f"{self._path(place)}: the picture is {size[1]}x{size[0]} (width x height, turned as its EXIF data "
                f"say), but {self.file.name} says {known[1]}x{known[0]}: the keypoints would not fit"
            )


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: images uint8 [B, 3, H, W] in channels_last memory, keypoints [B, K, 2], visible [B, K], area [B],
    matrices [B, 2, 3], boxes [B, 4], box_scores [B], image_ids and ids list[int], names list[str].

    Raises DataError for images of different sizes.
    """
    images = segmentation.collate([{"image": sample["image"], "name": sample["name"]} for sample in samples])["image"]
    names = {"keypoints": "keypoints", "visible": "visible", "area": "area", "matrix": "matrices", "box": "boxes"}
    names["box_score"] = "box_scores"
    stacked = {ours: torch.stack([sample[key] for sample in samples]) for key, ours in names.items()}
    lists = {f"{key}s": [sample[key] for sample in samples] for key in ("image_id", "id", "name")}
    return {"images": images, **stacked, **lists}


def check_same_skeletons(train: CocoKeypoints, val: CocoKeypoints) -> None:
    """DataError unless both splits have the same points in the same order, and the same left/right pairs."""
    what = train.skeleton.difference(val.skeleton)
    if what:
        raise DataError(f"{train.file} and {val.file} differ in their {what}")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> CocoKeypoints:
    """Of the `data` options. A detector's boxes serve evaluation alone."""
    files = options["split"][split]
    return CocoKeypoints(
        options["root"],
        images=files["images"],
        annotations=files["annotations"],
        transform=transform,
        person_boxes=None if split == "train" else options["person_boxes"],
        least_score=options["least_box_score"],
        category=options["category"],
        skeleton=options["skeleton"],
    )
