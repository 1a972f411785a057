"""People with keypoints from a file in the format of COCO's person_keypoints JSON: a sample is one person.

    root/train2017/000000000036.jpg   root/annotations/person_keypoints_train2017.json

Samples for training are single people with labeled keypoints. Samples for evaluation are the same, or a detector's
boxes (`person_boxes`). `ground_truth` has all annotations, for COCO's evaluation.

A sample is
    image:     uint8 [3, H, W] RGB, the crop (in channels_last memory)
    keypoints: float32 [K, 2] pixel indices of the crop (0 = center of the first pixel); 0, 0 where not visible
    visible:   int64 [K], 0 not labeled or outside the crop, 1 covered, 2 seen
    area:      float32, the annotation's area in square pixels of the crop (a detection's: its box's)
    matrix:    float32 [2, 3], pixel indices of the crop to those of the image
    image_id:  int, or text where the file has text
    id:        int, of the annotation in `ground_truth()`; 0 for a detection
    box:       float32 [4] x1, y1, x2, y2 in the image
    box_score: float32, 1 for an annotated box
    name:      str, the image's name without suffix, "#" and the annotation's id (of a detection: "d" and its index in
               the file)
    index:     int
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.data.datasets.base import Arrays, find_folder
from lightseg.data.datasets.coco import CocoImages, bright_palette
from lightseg.data.datasets.json_fields import Id
from lightseg.data.datasets.keypoints_json import read_persons
from lightseg.data.person_boxes import read_person_boxes
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError


class CocoKeypoints(CocoImages):
    """The people of one annotation file.

    images, annotations: the folder of the images and the JSON, below `root`.
    transform: of `lightseg.data.transforms.pose`, or a PhaseTransform. None: images are not changed.
    person_boxes: a JSON of COCO results. Its boxes with a score of at least `min_score` are the samples, without
        keypoints.
    category: the name of the category to read, needed if several have different keypoints.
    skeleton: names, edges, pairs and sigmas instead of the file's (see `read_skeleton`).
    least_visibility: see `read_persons`.
    boxes_on: "shown" or "stored", see `CocoImages`.
    parsed: the content of the JSON, if it is not to be read.

    Attributes:
        skeleton: of the keypoints, whose names are `class_names`.
        category_id: of ground truth and results.
    """

    unit = "persons"
    _annotation_kind = "keypoints"

    def __init__(
        self,
        root: str | Path,
        *,
        images: str,
        annotations: str,
        transform: Transform | None = None,
        person_boxes: str | Path | None = None,
        min_score: float = 0.0,
        category: str | None = None,
        skeleton: Mapping[str, Any] | None = None,
        boxes_on: str = "shown",
        least_visibility: float | None = None,
        parsed: dict[str, Any] | None = None,
    ) -> None:
        folder, file = find_folder(Path(root) / images, "the images of the split"), Path(root) / annotations
        self.person_boxes = None if person_boxes is None else Path(person_boxes)
        self._persons = read_persons(
            file, category=category, skeleton=skeleton, least_visibility=least_visibility, content=parsed
        )
        report = list(self._persons.report)
        content = self._persons.boxes
        # for every sample: the row of its annotation, or -1, and its image; its box and score
        if self.person_boxes is None and not content.labeled:
            raise DataError(f"{file} has no `annotations`: give the boxes of a detector as data.person_boxes")
        if self.person_boxes is None:
            self._rows = np.flatnonzero(self._persons.trained)
            image_numbers = np.repeat(np.arange(len(content.files)), np.diff(content.starts))[self._rows]
            self._boxes = content.boxes[self._rows]
            self._scores = np.ones(len(self._rows), np.float32)
            ends = [str(self._persons.ids[row]) for row in self._rows.tolist()]
        else:
            detected = read_person_boxes(
                self.person_boxes, content.image_ids, content.sizes, set(content.category_ids), min_score
            )
            report += detected.report
            self._rows = np.full(len(detected.rows), -1)
            image_numbers, self._boxes, self._scores = detected.image_numbers, detected.boxes, detected.scores
            ends = [f"d{row}" for row in detected.rows.tolist()]
        if not len(self._rows):
            reason = max(content.left_out)[1] if content.left_out else "the list of annotations is empty"
            raise DataError(f"{file}: nobody in it has keypoints: {reason}")
        files = content.image_names()
        names = [f"{files[image]}#{end}" for image, end in zip(image_numbers.tolist(), ends, strict=True)]
        points = self._persons.skeleton.names
        palette = bright_palette(len(points))
        super().__init__(folder, file, content, boxes_on, names, points, palette, transform, image_numbers)
        self.report, self._notes = report, content.notes
        self.category_id = self._persons.category_id
        self._other_images: set[int] = set()  # of another split
        self._last: tuple[int, np.ndarray | None] = (-1, None)  # consecutive samples often share their image
        self._set_skeleton()

    def _set_skeleton(self) -> None:
        self.skeleton = self._persons.skeleton
        self._swap, self._lower = np.array(self.skeleton.swap), np.array(self.skeleton.lower)

    def read(self, index: int) -> Arrays:
        """Image uint8 [H, W, 3] (read-only), box float32 [4] xyxy, keypoints float32 [K, 2], visible int64 [K] and
        area, in pixels of the image on disk. Keypoints outside the image are not visible.
        """
        sample = int(self._kept[index])
        row, image = self._rows[sample], self._image(int(self._image_numbers[sample]))
        box, persons = self._boxes[sample], self._persons
        if row < 0:
            count, area = self.num_classes, float((box[2] - box[0]) * (box[3] - box[1]))
            keypoints, visible = np.zeros((count, 2), np.float32), np.zeros(count, np.int64)
        else:
            keypoints, area = persons.keypoints[row].astype(np.float32), max(float(persons.boxes.area[row]), 1.0)
            visible = np.where(persons.outside[row], 0, persons.visible[row]).astype(np.int64)
        return {"image": image, "box": box, "keypoints": keypoints, "visible": visible, "area": area}

    def keep_images(self, chosen: Callable[[str], bool]) -> None:
        """Images without samples leave the ground truth too."""
        self._other_images = {n for n in range(len(self._persons.boxes.files)) if not chosen(str(self._path(n)))}
        super().keep_images(chosen)

    def check(self, index: int) -> None:
        """Like the base class, once per image."""
        if index == 0 or self._image_number(index) != self._image_number(index - 1):
            super().check(index)

    def check_evaluable(self) -> None:
        content, persons = self._persons.boxes, self._persons
        numbers = np.diff(content.starts)
        evaluated = np.isin(np.repeat(np.arange(len(numbers)), numbers), self._image_numbers[self._kept])
        if not (evaluated & ~content.crowd & (persons.visible > 0).any(1)).any():
            raise DataError(
                f"{self.file}: nobody to evaluate on: the images have crowds, people without keypoints, or nobody; "
                "give images of people with keypoints"
            )

    def ground_truth(self) -> dict[str, Any]:
        """COCO's `images`, `annotations` and `categories`, with crowds and people without keypoints, which COCO
        ignores, images without people, and keypoints outside their image.

        Annotations that were left out are missing, and ids are numbered from 1 (for the evaluators, id 0 means no
        match).
        """
        content = self._persons.boxes
        dropped = np.setdiff1d(np.arange(len(self._names)), self._kept)
        dropped_images = set(self._image_numbers[dropped].tolist()) - set(self._image_numbers[self._kept].tolist())
        dropped_rows = set(self._rows[dropped].tolist())
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image, image_id in enumerate(content.image_ids):
            if image in dropped_images or image in self._other_images:
                continue
            height, width = content.sizes[image].tolist()
            images.append({"id": image_id, "file_name": content.files[image], "height": height, "width": width})
            for row in range(*content.starts[image : image + 2].tolist()):
                if row not in dropped_rows:
                    annotations.append({"id": row + 1, "image_id": image_id, **self._persons.annotation(row)})
        return {"images": images, "annotations": annotations, "categories": [self._persons.category()]}

    def labeled_persons(self) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes float32 [N, 4] xyxy and keypoints float32 [N, K, 2] of the samples, in px of their images, and visible
        int64 [N, K]. The keypoints of a detector's boxes are 0, 0 and not visible."""
        rows = self._rows[self._kept]
        annotated, shape = rows >= 0, (len(rows), self.num_classes)
        keypoints, visible = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.int64)
        keypoints[annotated] = self._persons.keypoints[rows[annotated]]
        visible[annotated] = np.where(self._persons.outside, 0, self._persons.visible)[rows[annotated]]
        return torch.from_numpy(self._boxes[self._kept]), torch.from_numpy(keypoints), torch.from_numpy(visible)

    def evaluated_boxes(self) -> tuple[Tensor, Tensor, list[Id], list[int]]:
        """Boxes float32 [N, 4] xyxy px of the samples, their scores float32 [N], image_ids, and ids as in a sample."""
        boxes, scores = torch.from_numpy(self._boxes[self._kept]), torch.from_numpy(self._scores[self._kept])
        return boxes, scores, self.image_ids, (self._rows[self._kept] + 1).tolist()

    def _image(self, number: int) -> np.ndarray:
        last, image = self._last
        if last != number or image is None:
            image = self._decoded(number)["image"]
            self._last = (number, image)
        return image

    def _transform_inputs(self, original: Arrays) -> Arrays:
        arrays = {**original, "swap": self._swap, "lower": self._lower}
        if self.transform is None:
            arrays |= {"image": arrays["image"].copy(), "matrix": np.eye(2, 3, dtype=np.float32)}
        return arrays

    def _targets(self, arrays: Arrays, original: Arrays, sample: int) -> dict[str, Any]:
        return {
            "keypoints": torch.from_numpy(arrays["keypoints"]),
            "visible": torch.from_numpy(arrays["visible"]),
            "area": torch.tensor(arrays["area"], dtype=torch.float32),
            "matrix": torch.from_numpy(arrays["matrix"]),
            "image_id": self._persons.boxes.image_ids[self._image_numbers[sample]],
            "id": int(self._rows[sample]) + 1,
            "box": torch.from_numpy(self._boxes[sample].copy()),
            "box_score": torch.tensor(self._scores[sample]),
        }

    def _renumber(self, new: np.ndarray, first: np.ndarray) -> None:
        self._persons.reorder_points(first.tolist())
        self._set_skeleton()

    def _files(self) -> Iterable[tuple[str, str | Path]]:
        annotations, *images = super()._files()
        boxes = [] if self.person_boxes is None else [("person_boxes", self.person_boxes)]
        return [annotations, *boxes, *images]


def check_same_skeletons(train: CocoKeypoints, val: CocoKeypoints) -> None:
    """Raise DataError unless both splits have the same keypoints, in the same order, and the same left/right pairs."""
    difference = train.skeleton.difference(val.skeleton)
    if difference:
        raise DataError(f"{train.file} and {val.file} differ in their {difference}")


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> CocoKeypoints:
    """The data set of the `data` options. A detector's boxes are for evaluation only."""
    files = options["split"][split]
    return CocoKeypoints(
        options["root"],
        images=files["images"],
        annotations=files["annotations"],
        transform=transform,
        person_boxes=None if split == "train" else options["person_boxes"],
        min_score=options["least_box_score"],
        category=options["category"],
        skeleton=options["skeleton"],
        boxes_on=options.get("boxes_on", "shown"),
        least_visibility=options.get("least_visibility"),
    )
