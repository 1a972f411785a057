"""Pose, top-down: the keypoints of a single person per crop.

Batches have `keypoints` float32 [B, K, 2] in pixels of the crops and `visible` int64 [B, K]. A prediction of the
network for a crop has `keypoints` [K, 2] and `scores` [K]. A prediction for an image with n persons has `boxes` [n, 4]
x1, y1, x2, y2, `box_scores` [n], `keypoints` [n, K, 2] and `scores` [n, K].
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from lightseg.data.collate import collate_pose
from lightseg.data.datasets.coco_keypoints import check_same_skeletons
from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat
from lightseg.data.skeleton import DEFAULT_SIGMA
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.boxes import keypoint_statistics
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.phase_transform import Transform
from lightseg.data.transforms.pose import center_and_sides, crop_matrix, eval_transform, train_transform, window_width
from lightseg.decoding.keypoints import heatmap_keypoints, simcc_keypoints
from lightseg.draw_pose import draw_pose
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract
from lightseg.metrics.oks import person_scores
from lightseg.predictions.boxes import coco_boxes
from lightseg.predictions.poses import Pose, draw_persons, flat_keypoints
from lightseg.result_files import GrowingList
from lightseg.task_specs.base import (
    Options,
    Outputs,
    Results,
    Size,
    TaskExport,
    TaskSpec,
    about,
    class_names,
    pixels_of,
)

# of the agreement: minimum score of keypoints, and maximum distance of equal ones in pixels
CLEAR_SCORE, SAME_PX = 0.3, 1.0
MIN_SCORE = 0.2  # of keypoints that are averaged to the score of a person, as in the evaluation

Skeleton = dict[str, list[Any]]  # edges, pairs, sigmas


class PoseSpec(TaskSpec):
    top_down = True

    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        """`image_size` is the shorter side of the crop."""
        augment = dict(options["augment"])
        if "image_size" in scheduled:
            factor = scheduled["image_size"] / min(augment["size"])
            augment["size"] = [round(side * factor) for side in augment["size"]]
        augment["pixels"] = pixels_of(options)
        return with_extra(train_transform, augment, self.info.extra_target or None)

    def eval_transform(self, options: Options) -> Transform:
        return eval_transform(**options["eval"], fill=pixels_of(options).fill)

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return collate_pose(samples)

    def check_splits(self, train: Any, val: Any) -> None:
        check_same_skeletons(train, val)

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        if not dataset.has_labels or dataset.person_boxes is not None:
            return None
        result = keypoint_statistics(dataset)
        height, width = options["augment"]["size"]
        result.marks = [(round((height * width) ** 0.5), "the crop")]
        return result

    def draw_labels(self, image: np.ndarray, sample: Mapping[str, Any], dataset: Any, width: int) -> np.ndarray:
        skeleton = dataset.skeleton
        keypoints, visible = sample["keypoints"], sample["visible"]
        return draw_pose(image, keypoints, visible, skeleton.edges, skeleton.pairs, width=width)

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        return f"{int((sample['visible'] > 0).sum())} of {len(sample['visible'])} keypoints"

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        self.refuse_argmax(argmax)
        return SIMCC if self.info.head(head).single_size else HEATMAPS

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> list[dict[str, np.ndarray]]:
        """`keypoints` [K, 2] and `scores` [K] of each crop."""
        if "heatmaps" in outputs:
            return heatmap_keypoints(outputs["heatmaps"], image_size=image_size, **decoding)
        return simcc_keypoints(outputs["x"], outputs["y"], image_size=image_size, **decoding)

    def agreement(self, a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> tuple[float, int]:
        """Counts the keypoints that are clear on either side; equal ones are at the same position."""
        same, total = 0, 0
        for first, second in zip(a, b, strict=True):
            clear = np.maximum(first["scores"], second["scores"]) > CLEAR_SCORE
            near = np.linalg.norm(first["keypoints"] - second["keypoints"], axis=1) <= SAME_PX
            same, total = same + int((clear & near).sum()), total + int(clear.sum())
        return float(same), total

    def complete(self, contract: InputContract, num_classes: int, where: str | Path) -> InputContract:
        skeleton = read_skeleton(contract.skeleton, num_classes, where)
        return super().complete(contract, num_classes, where).replace(skeleton=skeleton)

    def preprocessing(self, contract: InputContract, size: Size | None = None) -> "PersonCrop":
        size = size or contract.size
        if size is None:
            raise LightsegError("its input contract has no size: give --size")
        return PersonCrop(size, PixelFormat.of(contract).fill)

    def predict(self, head: Any, outputs: Any, image_size: Size, sizes: Sequence[Size]) -> list[dict[str, np.ndarray]]:
        decoded = {key: value.cpu().numpy() for key, value in head.decode(outputs, image_size).items()}
        return [{key: value[i] for key, value in decoded.items()} for i in range(len(sizes))]

    def explained_score(
        self, head: Any, outputs: Any, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The highest value of the keypoint's heatmap, or of SimCC's bins along x and y; the sum over all keypoints."""
        maps = [outputs] if isinstance(outputs, Tensor) else [outputs["x"], outputs["y"]]
        peaks = torch.stack([m[0].flatten(1).amax(1) for m in maps]).sum(0)
        return peaks.sum() if label is None else peaks[label]

    def typed(
        self, prediction: dict[str, np.ndarray], frame: Frame, index: int, contract: InputContract, score: float | None
    ) -> Pose:
        assert contract.skeleton is not None
        scores = person_scores(prediction["box_scores"], prediction["scores"], MIN_SCORE)
        kept = slice(None) if score is None else scores >= score
        return Pose(
            **about(frame, index, ["person"], score),
            keypoints=prediction["keypoints"][kept],
            keypoint_scores=prediction["scores"][kept],
            scores=scores[kept],
            boxes_xyxy=prediction["boxes"][kept],
            box_scores=prediction["box_scores"][kept],
            labels=np.zeros(len(scores[kept]), np.int64),
            keypoint_names=tuple(class_names(contract)),
            skeleton=contract.skeleton,
        )

    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        assert contract.skeleton is not None
        return PoseResults(folder, class_names(contract), contract.skeleton, score)


HEATMAPS = TaskExport(
    {"heatmaps": "float32 [B, keypoints, h, w], around 0..1 at a quarter of the image's height and width, rounded up"},
    lambda outputs, size: (outputs,),
    any_size=True,
    decoding=("codec.kind", "codec.dark", "codec.sigma"),
)
SIMCC = TaskExport(
    {
        "x": "float32 [B, keypoints, bins], logits of the bins along the width",
        "y": "float32 [B, keypoints, bins], logits of the bins along the height",
    },
    lambda outputs, size: (outputs["x"], outputs["y"]),
    decoding=("codec.split", "codec.sigma", "criterion.beta"),
)


class PersonCrop:
    """Crops a person's box with padding. As a preprocessing, the box is the full image.

    size: (height, width) of the crops in pixels.
    """

    def __init__(self, size: Sequence[int], fill: Sequence[float] = MEAN_COLOR) -> None:
        self.crop = eval_transform(size, fill=fill)
        self.size = self.crop.size

    def cut(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """box [4] xyxy -> the crop [h, w, C] and the matrix float32 [2, 3] from pixels of the crop to pixels of
        the image."""
        points, visible = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        crop = self.crop(0, image=image, box=np.asarray(box), keypoints=points, visible=visible, area=0.0)
        return crop["image"], crop["matrix"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.cut(image, self._full_box(image.shape[:2]))[0]

    def restore(self, prediction: dict[str, np.ndarray], size: Size) -> dict[str, np.ndarray]:
        """One person's keypoints [K, 2] and scores [K] -> the prediction of an image with a single person."""
        box = self._full_box(size)
        center, sides = center_and_sides(box)
        matrix = cv2.invertAffineTransform(crop_matrix(center, window_width(sides, self.size), self.size))
        keypoints = prediction["keypoints"] @ matrix[:, :2].T + matrix[:, 2]
        person = {"boxes": box, "box_scores": np.float32(1), "keypoints": keypoints, "scores": prediction["scores"]}
        return {key: np.asarray(value)[None] for key, value in person.items()}

    @staticmethod
    def _full_box(size: Size) -> np.ndarray:
        return np.array([0, 0, size[1], size[0]], np.float32)


def read_skeleton(skeleton: Mapping[str, Any] | None, count: int, where: str | Path) -> Skeleton:
    """The skeleton of `count` keypoints. The default has no edges and default sigmas.

    Raises:
        LightsegError: an edge or pair has an index out of range, or the number of sigmas is wrong.
    """
    values = {"edges": [], "pairs": [], "sigmas": [DEFAULT_SIGMA] * count, **(skeleton or {})}
    links = [link for key in ("edges", "pairs") for link in _list(values[key])]
    joined = all(
        isinstance(link, list | tuple) and len(link) == 2 and all(_is_index(p, count) for p in link) for link in links
    )
    sigmas = _list(values["sigmas"])
    if not joined or len(sigmas) != count or not all(isinstance(s, int | float) and s > 0 for s in sigmas):
        raise LightsegError(f"{where}: its skeleton does not fit its {count} keypoints")
    return {key: list(values[key]) for key in ("edges", "pairs", "sigmas")}


def _list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [None]


def _is_index(point: Any, count: int) -> bool:
    return isinstance(point, int) and 0 <= point < count


class PoseResults:
    """results.json: COCO keypoint results, [{image_id, category_id, keypoints [x, y, score, ...], score, file_name,
    box [x, y, width, height], box_score}]. images.json: COCO's images and categories, with keypoints and skeleton.

    Keypoints with a score below `score` are not drawn, but are in the file.
    """

    def __init__(self, folder: Path, names: Sequence[str], skeleton: Mapping[str, Any], score: float) -> None:
        self.skeleton, self.score = skeleton, score
        self.number = 0
        self.list = GrowingList(folder / "results.json")
        lines = [[start + 1, end + 1] for start, end in skeleton["edges"]]
        category = {"id": 1, "name": "person", "keypoints": list(names), "skeleton": lines}
        head = f'{{"categories": [{json.dumps(category, ensure_ascii=False)}],\n"annotations": [],\n"images": ['
        self.images = GrowingList(folder / "images.json", head, "]}\n")

    def add(self, frame: Frame, prediction: dict[str, np.ndarray]) -> None:
        assert frame.image is not None
        self.number += 1
        height, width = frame.image.shape[:2]
        self.images.append({"id": self.number, **frame.origin, "height": height, "width": width})
        scores = person_scores(prediction["box_scores"], prediction["scores"], MIN_SCORE).tolist()
        points, boxes = flat_keypoints(prediction["keypoints"], prediction["scores"]), coco_boxes(prediction["boxes"])
        rows = zip(points, scores, boxes, prediction["box_scores"].tolist(), strict=True)
        for keypoints, score, box, box_score in rows:
            entry = {"image_id": self.number, "category_id": 1, "keypoints": keypoints, "score": round(score, 6)}
            self.list.append({**entry, "box": box, "box_score": round(box_score, 6), **frame.origin})

    def draw(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        return draw_persons(image, prediction["keypoints"], prediction["scores"], self.skeleton, self.score)

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.images.finish()
