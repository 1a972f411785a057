"""Semantic segmentation: mIoU over the evaluation set, at the resolution of the labels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightseg.data.collate import as_type, shown
from lightseg.data.tiles import Tile, Tiling, merged_classes, tiles_at_once
from lightseg.draw import segmentation_row
from lightseg.metrics.segmentation import SegmentationMetric

from .base import Batch, Task

MAX_DRAWN = 4096  # columns; of wider images every second is drawn, or every third


class SegmentationTask(Task):
    headings = ("image", "truth", "prediction")

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        return {"tile": config["data"].get("tile")}

    def __init__(self, model: dict[str, Any], *args: Any, tile: Any = None, **options: Any) -> None:
        """
        Args:
            tile: of the `data` group: large images are evaluated in tiles.
        """
        super().__init__(model, *args, **options)
        self.metric = SegmentationMetric(model["num_classes"], self.class_names)

        self.tiling = Tiling.of(tile)

    def protocol(self) -> dict[str, Any]:
        return {} if self.tiling is None else {"tile": self.tiling.plain()}

    def evaluate(self, batch: Batch) -> Tensor:
        prediction = self.predict_masks(batch["images"])
        if "masks" in batch:  # a test split may have no labels, for predictions only
            self.metric.update(prediction, batch["masks"])
        return prediction

    def predict_masks(self, images: Tensor) -> Tensor:
        """Class ids [B, H, W] of images [B, C, H, W]; averaged over the scales and flips of the evaluation."""
        if self.tiling is not None:
            return torch.stack([self._tiled(image, self.tiling) for image in images])
        if self._views() == [(1.0, False)]:
            return self.head.decode(self(images), tuple(images.shape[-2:]))
        return self._scores(images).argmax(1)

    def _tiled(self, image: Tensor, tiling: Tiling) -> Tensor:
        def scores(tiles: list[Tile]) -> Tensor:
            rows = [image[:, tile.top : tile.top + tile.height] for tile in tiles]
            parts = [row[..., tile.left : tile.left + tile.width] for row, tile in zip(rows, tiles, strict=True)]
            return self._scores(torch.stack(parts))

        height, width = image.shape[-2:]
        return merged_classes((height, width), tiling, scores, tiles_at_once(tiling.size))

    def _views(self) -> list[tuple[float, bool]]:
        return [(scale, mirrored) for scale in self.scales for mirrored in ((False, True) if self.flip else (False,))]

    def _scores(self, images: Tensor) -> Tensor:
        """Probabilities [B, classes, H, W], the sum over scales and flips."""
        size = tuple(images.shape[-2:])
        total = torch.zeros(())
        for scale, mirrored in self._views():
            view = _resize(images, scale)
            logits = self(view.flip(-1) if mirrored else view)
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
            total = total.to(logits.device) + (logits.flip(-1) if mirrored else logits).softmax(1)
        return total

    def draw(self, sample: Batch, prediction: Tensor) -> list[np.ndarray]:
        step = -(-prediction.shape[1] // MAX_DRAWN)
        image = shown(sample["images"][:, ::step, ::step], self.model.contract)
        predicted = prediction[::step, ::step].cpu().numpy()
        truth = sample["masks"][::step, ::step].cpu().numpy() if "masks" in sample else np.full_like(predicted, 255)
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
    return as_type(resized, images.dtype)
