"""Detection: a box and a class for every object.

Batches have `boxes`, a list of float32 [N, 4] x1, y1, x2, y2 in pixels of the images, and `labels`, a list of int64
[N]. A prediction has `boxes` [n, 4], `labels` [n] and `scores` [n], best first.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.boxes import decode as decode_boxes
from lightseg.data.collate import collate_detection
from lightseg.data.datasets.coco import bright_palette, check_same_categories
from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.boxes import box_statistics
from lightseg.data.tiles import MAX_TILES, RandomTile, Tiling, tiles_at_once
from lightseg.data.transforms.detection import eval_transform, to_original, train_transform
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.phase_transform import Transform
from lightseg.decoding.boxes import detections
from lightseg.decoding.tiles import merged_boxes
from lightseg.draw import draw_boxes
from lightseg.errors import LightsegError
from lightseg.heads.default_boxes import LEVELS
from lightseg.heads.ssdlite import FIRST_STRIDE
from lightseg.input_contract import InputContract
from lightseg.predictions.boxes import Detection, coco_boxes, rounded_scores
from lightseg.result_files import GrowingList
from lightseg.task_specs.base import (
    Options,
    Outputs,
    Preprocessing,
    Results,
    Size,
    TaskExport,
    TaskSpec,
    TileRunner,
    about,
    class_names,
    inputs_of,
    pixels_of,
)
from lightseg.text import shorten

CLEAR_SCORE, SAME_IOU = 0.3, 0.9  # minimum score of detections in the agreement, and minimum IoU of equal ones


class DetectionSpec(TaskSpec):
    detects_boxes = True
    selects_classes = True

    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        """`image_size` is the shorter side of the network's input."""
        augment = {
            key: value for key, value in options["augment"].items() if key != "multi_scale"
        }  # applied to batches
        if "image_size" in scheduled:
            factor = scheduled["image_size"] / min(augment["size"])
            augment["size"] = [round(side * factor) for side in augment["size"]]
        augment["pixels"] = pixels_of(options)
        transform = with_extra(train_transform, augment, self.info.extra_target or None)
        tiling = Tiling.of(options.get("tile"))
        return transform if tiling is None else RandomTile(transform, tiling)

    def eval_transform(self, options: Options) -> Transform | None:
        """None for images that are evaluated in tiles."""
        if options.get("tile"):
            return None
        return eval_transform(**options["eval"], fill=pixels_of(options).fill)

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return collate_detection(samples)

    def check_splits(self, train: Any, val: Any) -> None:
        check_same_categories(train, val)

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        if not dataset.has_labels:
            return None
        result = box_statistics(dataset, options["augment"]["size"], bool(options["augment"].get("keep_aspect")))
        result.stride = FIRST_STRIDE
        result.marks = [(stride, f"stride {stride}") for stride in (FIRST_STRIDE << level for level in range(LEVELS))]
        return result

    def draw_labels(self, image: np.ndarray, sample: Mapping[str, Any], dataset: Any, width: int) -> np.ndarray:
        return draw_boxes(image, sample["boxes"], sample["labels"], None, dataset.class_names, dataset.palette, width)

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        labels, counts = np.unique(sample["labels"], return_counts=True)
        names = (dataset.class_names[label] for label in labels.tolist())
        return shorten([f"{count} {name}" for name, count in zip(names, counts.tolist(), strict=True)], 6) or "no box"

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        self.refuse_argmax(argmax)
        return RAW_BOXES

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> list[dict[str, np.ndarray]]:
        """See `lightseg.decoding.boxes.detections`."""
        raw = (outputs[name] for name in ("class_logits", "box_deltas", "default_boxes"))
        return detections(*raw, image_size=image_size, **decoding)

    def agreement(self, a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> tuple[float, int]:
        """Counts the clear detections of either side, each matched once."""
        same, total = 0, 0
        for first, second in zip(a, b, strict=True):
            first, second = ({k: v[d["scores"] > CLEAR_SCORE] for k, v in d.items()} for d in (first, second))
            free = list(range(len(second["labels"])))
            for box, label in zip(first["boxes"], first["labels"], strict=True):
                match = next(
                    (i for i in free if second["labels"][i] == label and _iou(box, second["boxes"][i]) > SAME_IOU), None
                )
                if match is not None:
                    free.remove(match)
                    same += 1
            total += max(len(first["labels"]), len(second["labels"]))
        return float(same), total

    def preprocessing(self, contract: InputContract, size: Size | None = None) -> Preprocessing:
        size = size or contract.size
        if size is None:
            raise LightsegError("its input contract has no size: give --size")
        return FixedSize(size, bool(contract.keep_aspect), PixelFormat.of(contract).fill)

    def predict(self, head: Any, outputs: Any, image_size: Size, sizes: Sequence[Size]) -> list[dict[str, np.ndarray]]:
        decoded = head.decode(outputs, image_size)
        return [{key: value.cpu().numpy() for key, value in image.items()} for image in decoded]

    def predict_tiles(
        self, run: TileRunner, image: np.ndarray, tiling: Tiling, preprocess: Preprocessing
    ) -> dict[str, np.ndarray]:
        tiles = [tile for row in tiling.rows(image.shape[:2]) for tile in row]
        batch = min(tiles_at_once(tiling.size), run.max_images or MAX_TILES)
        parts = []
        for start in range(0, len(tiles), batch):
            some = tiles[start : start + batch]
            sizes = [(tile.height, tile.width) for tile in some]
            predictions = run(inputs_of(image, some, preprocess), sizes)
            parts += [preprocess.restore(part, size) for part, size in zip(predictions, sizes, strict=True)]
        return merged_boxes(parts, tiles, image.shape[:2], run.nms_threshold)

    def explained_score(
        self, head: Any, outputs: Any, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The sum of the log odds of the class's boxes from `score` on: a gradient of scores fades towards 1."""
        logits = outputs["class_logits"][0].float()
        boxes = decode_boxes(outputs["box_deltas"][0].detach().float(), outputs["default_boxes"])
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor(image_size[::-1] * 2))
        scores = logits.detach().softmax(1)[:, 1:]
        (kept,) = head.decode({key: value.detach() for key, value in outputs.items()}, image_size)
        total = []
        for box, kind, value in zip(kept["boxes"], kept["labels"].tolist(), kept["scores"], strict=True):
            if value >= score and label in (None, kind):
                distance = (boxes - box).abs().amax(1) + (scores[:, kind] - value).abs()  # of the box itself: 0
                row = logits[distance.argmin()]
                others = torch.cat([row[: kind + 1], row[kind + 2 :]])
                total.append(row[kind + 1] - others.logsumexp(0))
        return torch.stack(total).sum() if total else None

    def only(self, prediction: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
        kept = np.isin(prediction["labels"], labels)
        return {key: value[kept] for key, value in prediction.items()}

    def typed(
        self, prediction: dict[str, np.ndarray], frame: Frame, index: int, contract: InputContract, score: float | None
    ) -> Detection:
        kept = slice(None) if score is None else prediction["scores"] >= score
        boxes, labels, scores = (prediction[key][kept] for key in ("boxes", "labels", "scores"))
        names = class_names(contract)
        shared = about(frame, index, names, score)
        palette = box_colors(names, contract.palette)
        return Detection(**shared, boxes_xyxy=boxes, labels=labels, scores=scores, palette=palette)

    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        return BoxResults(folder, class_names(contract), contract.palette, score)


RAW_BOXES = TaskExport(
    {
        "class_logits": "float32 [B, N, 1 + classes], the background first; softmax gives scores",
        "box_deltas": "float32 [B, N, 4], offsets of the boxes' center and log size from the default boxes, times 10, "
        "10, 5, 5",
        "default_boxes": "float32 [N, 4], x1, y1, x2, y2 in pixels of the input, the same for every image",
    },
    lambda outputs, size: (outputs["class_logits"], outputs["box_deltas"], outputs["default_boxes"]),
    decoding=("score_threshold", "nms_threshold", "topk_candidates", "detections_per_image"),
)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(shared / max(1e-9, (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


class FixedSize:
    """Resizes images to a fixed size, and maps boxes back.

    size: (height, width) of the network's input. keep_aspect: fit images in instead of stretching them.
    """

    def __init__(self, size: Sequence[int], keep_aspect: bool, fill: Sequence[float] = MEAN_COLOR) -> None:
        self.fit = eval_transform(size, keep_aspect, fill=fill)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        return self.fit(0, image=image, boxes=boxes, labels=labels)["image"]

    def restore(self, prediction: dict[str, np.ndarray], size: Size) -> dict[str, np.ndarray]:
        boxes = to_original(prediction["boxes"], size, self.fit.size, self.fit.keep_aspect)
        return {**prediction, "boxes": boxes}


def box_colors(names: Sequence[str], palette: Sequence[Sequence[int]] | None) -> list[list[int]]:
    """An RGB color a class. palette: of the contract; None: bright ones."""
    return [list(color) for color in palette or bright_palette(len(names))]


class BoxResults:
    """results.json: COCO results, [{image_id, category_id, bbox [x, y, width, height], score, file_name}].

    images.json: COCO's images and categories (class ids from 1): pycocotools' `COCO` reads it and its `loadRes` reads
    the results. Boxes with a score below `score` are not drawn, but are in the file.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], palette: Sequence[Sequence[int]] | None, score: float
    ) -> None:
        self.class_names, self.score = names, score
        self.palette = box_colors(names, palette)
        self.number = 0
        self.list = GrowingList(folder / "results.json")
        categories = json.dumps([{"id": i, "name": name} for i, name in enumerate(names, start=1)])
        head = f'{{"categories": {categories},\n"annotations": [],\n"images": ['
        self.images = GrowingList(folder / "images.json", head, "]}\n")

    def add(self, frame: Frame, prediction: dict[str, np.ndarray]) -> None:
        assert frame.image is not None
        self.number += 1
        height, width = frame.image.shape[:2]
        self.images.append({"id": self.number, **frame.origin, "height": height, "width": width})
        boxes, scores = coco_boxes(prediction["boxes"]), rounded_scores(prediction["scores"])
        for box, label, score in zip(boxes, prediction["labels"].tolist(), scores, strict=True):
            entry = {"image_id": self.number, "category_id": label + 1, "bbox": box, "score": score}
            self.list.append({**entry, **frame.origin})

    def draw(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        drawn = prediction["scores"] >= self.score
        boxes, labels, scores = (prediction[key][drawn] for key in ("boxes", "labels", "scores"))
        return draw_boxes(image, boxes, labels, scores, self.class_names, self.palette)

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.images.finish()
