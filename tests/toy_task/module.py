"""The LightningModule of the task, and its metric: how many depths are right within 25 %, and the RMSE in meters."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from tasks.base import Batch, Task


class DepthMetric(Metric):
    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("squares", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, depth: Tensor) -> None:
        ratio = torch.maximum(prediction / depth, depth / prediction)
        self.right += (ratio < 1.25).sum()
        self.squares += ((prediction - depth) ** 2).sum()
        self.count += len(depth)

    def compute(self) -> dict[str, Tensor]:
        return {"delta1": self.right / self.count, "rmse": (self.squares / self.count).sqrt()}


class DepthTask(Task):
    headings = ("image",)
    colors_mean_classes = False
    resolution = "one number an image"

    def __init__(self, model: dict[str, Any], *args: Any, **options: Any) -> None:
        super().__init__(model, *args, **options)
        self.metric = DepthMetric()

    def evaluate(self, batch: Batch) -> Tensor:
        prediction = self.head.decode(self(batch["images"]), tuple(batch["images"].shape[-2:]))
        self.metric.update(prediction, batch["depths"])
        return prediction

    def draw(self, sample: Batch, prediction: Tensor) -> list[np.ndarray]:
        image = np.ascontiguousarray(sample["images"].permute(1, 2, 0).cpu().numpy())
        text = f"{float(prediction):.1f} / {float(sample['depths']):.1f} m"
        return [cv2.putText(image, text, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (255, 200, 0))]
