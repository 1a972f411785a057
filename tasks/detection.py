"""Detection: COCO's mAP, in pixels of the image files."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightseg.data.collate import as_type, shown
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.tiles import Tiling
from lightseg.data.transforms.checks import optional_range
from lightseg.data.transforms.detection import to_input, to_original
from lightseg.draw import detection_row
from lightseg.metrics.coco import MAX_DETECTIONS
from lightseg.metrics.detection import DetectionMetric
from lightseg.task_specs import task_spec
from lightseg.task_specs.detection import FixedSize

from .base import Batch, Task

STEP = 32  # pixels, of which sizes in multi-scale training are multiples


class DetectionTask(Task):
    headings = ("truth", "prediction")
    one_results_file = True
    colors_mean_classes = False  # boxes have labels with names
    # part of the protocol that the leaderboard compares: the text must not change
    resolution = "boxes in pixels of the pictures on disk"

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        return {"dataset": dataset, "data": config["data"]}

    def __init__(self, model: dict[str, Any], *args: Any, dataset: Any, data: dict[str, Any], **options: Any) -> None:
        """
        Args:
            dataset: the evaluation set, for its ground truth.
            data: the `data` group, for `eval.keep_aspect` (fit images in, do not stretch), `augment.multi_scale` (the
                minimum and maximum factor of a training batch's size, or null), `tile` and `max_detections`.
        """
        super().__init__(model, *args, **options)
        limit = data.get("max_detections", MAX_DETECTIONS)
        self.metric = DetectionMetric(dataset.ground_truth(), self.class_names, dataset.category_ids, limit)
        self.keep_aspect = bool(data["eval"]["keep_aspect"])
        self.tiling = Tiling.of(data.get("tile"))
        form = PixelFormat.of(self.model.contract)
        self.preprocess = FixedSize(data["eval"]["size"], self.keep_aspect, form.fill)  # of tiles
        self.multi_scale = optional_range("data.augment.multi_scale", data["augment"]["multi_scale"], 0.1)

    def protocol(self) -> dict[str, Any]:
        limit = self.metric.max_detections
        tile = {} if self.tiling is None else {"tile": self.tiling.plain()}
        return tile | ({} if limit == MAX_DETECTIONS else {"max_detections": limit})

    def prepare_batch(self, batch: Batch) -> Batch:
        """Multi-scale training: resize the batch to a random size, seeded by the step."""
        if not self.multi_scale:
            return batch
        images = batch["images"]
        scale = random.Random(torch.initial_seed()).uniform(*self.multi_scale)
        height, width = images.shape[-2:]
        size = tuple(max(STEP, round(side * scale / STEP) * STEP) for side in (height, width))
        if size == (height, width):
            return batch
        shrinks = size[0] < height
        resized = F.interpolate(images.float(), size, mode="bilinear", align_corners=False, antialias=shrinks)
        factor = torch.tensor([size[1] / width, size[0] / height] * 2, device=images.device)
        boxes = [box * factor for box in batch["boxes"]]
        return {**batch, "images": as_type(resized, images.dtype), "boxes": boxes}

    def evaluate(self, batch: Batch) -> list[dict[str, Tensor]]:
        if self.tiling is not None:
            predictions = [self._tiled(image, self.tiling) for image in batch["images"]]
            self.metric.update(predictions, batch["image_ids"])
            return predictions
        images = batch["images"]
        size = (int(images.shape[-2]), int(images.shape[-1]))
        decoded = self.head.decode(self(images), size)
        predictions = [
            {**prediction, "boxes": to_original(prediction["boxes"], original, size, self.keep_aspect)}
            for prediction, original in zip(decoded, batch["sizes"], strict=True)
        ]
        self.metric.update(predictions, batch["image_ids"])
        return predictions

    def _tiled(self, image: Tensor, tiling: Tiling) -> dict[str, Tensor]:
        pixels = image.permute(1, 2, 0).cpu().numpy()
        merged = task_spec("det").predict_tiles(_Network(self), pixels, tiling, self.preprocess)
        return {key: torch.from_numpy(value).to(self.device) for key, value in merged.items()}

    def draw(self, sample: Batch, prediction: dict[str, Tensor]) -> list[np.ndarray]:
        image = shown(sample["images"], self.model.contract)
        truth = {key: sample[key].cpu().numpy() for key in ("boxes", "labels")}
        return detection_row(image, truth, self._in_input(sample, prediction), self.class_names, self.palette)

    def annotations(self, sample: Batch, prediction: dict[str, Tensor]) -> dict[str, Any]:
        labels = dict(enumerate(self.class_names))
        truth = {key: sample[key].cpu().numpy() for key in ("boxes", "labels")}
        return {
            "boxes": {
                "truth": {"box_data": _wandb_boxes(truth), "class_labels": labels},
                "prediction": {"box_data": _wandb_boxes(self._in_input(sample, prediction)), "class_labels": labels},
            }
        }

    def _in_input(self, sample: Batch, prediction: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """A prediction with its boxes in pixels of the network's input, for drawing."""
        height, width = sample["images"].shape[-2:]
        boxes = to_input(prediction["boxes"], sample["sizes"], (height, width), self.keep_aspect)
        return {key: value.cpu().numpy() for key, value in {**prediction, "boxes": boxes}.items()}


class _Network:
    """The network as `lightseg.task_specs.base.TileRunner`."""

    max_images: int | None = None

    def __init__(self, task: DetectionTask) -> None:
        self.task, self.nms_threshold = task, float(task.head.nms_threshold)

    def __call__(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[dict[str, np.ndarray]]:
        outputs = self.task(images.to(self.task.device))
        return task_spec("det").predict(self.task.head, outputs, (images.shape[-2], images.shape[-1]), sizes)

    def scores(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        raise NotImplementedError


def _wandb_boxes(detections: dict[str, np.ndarray], min_score: float = 0.05) -> list[dict[str, Any]]:
    scores = detections.get("scores")
    boxes = []
    for index, (box, label) in enumerate(zip(detections["boxes"].tolist(), detections["labels"].tolist(), strict=True)):
        if scores is not None and scores[index] < min_score:
            continue
        position = dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True))
        score = {} if scores is None else {"scores": {"score": float(scores[index])}}
        boxes.append({"position": position, "domain": "pixel", "class_id": label, **score})
    return boxes
