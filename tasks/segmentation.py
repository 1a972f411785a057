"""Semantic segmentation: mIoU over the evaluation set, at the resolution of the labels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightseg.draw import segmentation_row
from lightseg.metrics.segmentation import SegmentationMetric

from .base import Batch, Task


class SegmentationTask(Task):
    headings = ("image", "truth", "prediction")

    def __init__(self, model: dict[str, Any], *args: Any, **options: Any) -> None:
        super().__init__(model, *args, **options)
        self.metric = SegmentationMetric(model["num_classes"], self.class_names)

    def evaluate(self, batch: Batch) -> Tensor:
        prediction = self.predict_masks(batch["images"])
        if "masks" in batch:  # a test split may have no labels, for predictions only
            self.metric.update(prediction, batch["masks"])
        return prediction

    def predict_masks(self, images: Tensor) -> Tensor:
        """Class ids [B, H, W] of images uint8 [B, C, H, W]; averaged over the scales and flips of the evaluation."""
        size = tuple(images.shape[-2:])
        views = [(scale, mirrored) for scale in self.scales for mirrored in ((False, True) if self.flip else (False,))]
        if views == [(1.0, False)]:
            return self.head.decode(self(images), size)
        total = torch.zeros(())
        for scale, mirrored in views:
            view = _resize(images, scale)
            logits = self(view.flip(-1) if mirrored else view)
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
            total = total.to(logits.device) + (logits.flip(-1) if mirrored else logits).softmax(1)
        return total.argmax(1)

    def draw(self, sample: Batch, prediction: Tensor) -> list[np.ndarray]:
        image = sample["images"].permute(1, 2, 0).cpu().numpy()
        predicted = prediction.cpu().numpy()
        truth = sample["masks"].cpu().numpy() if "masks" in sample else np.full_like(predicted, 255)
        return segmentation_row(image, truth, predicted, self.palette)

    def annotations(self, sample: Batch, prediction: Tensor) -> dict[str, Any]:
        labels = dict(enumerate(self.class_names)) | {255: "ignored"}
        masks = {"truth": sample.get("masks"), "prediction": prediction}
        shown = {name: mask.cpu().numpy() for name, mask in masks.items() if mask is not None}
        return {"masks": {name: {"mask_data": mask, "class_labels": labels} for name, mask in shown.items()}}


def _resize(images: Tensor, scale: float) -> Tensor:
    if scale == 1.0:
        return images
    height, width = images.shape[-2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    resized = F.interpolate(images.float(), size, mode="bilinear", align_corners=False, antialias=scale < 1)
    return resized.round().clamp(0, 255).to(torch.uint8)
