"""Multi-label classification: mean average precision over the classes, with F1 at a probability of 0.5."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.metrics.multilabel import THRESHOLD, MultiLabelMetric

from .base import Batch
from .classification import ClassificationTask


class MultiLabelTask(ClassificationTask):
    metric_type = MultiLabelMetric

    def prepare_batch(self, batch: Batch) -> Batch:
        """Mixup and CutMix of an image and its mirror in the batch, whose labels are mixed in the same shares."""
        labels = batch["labels"]
        mixed = self.mixed({**batch, "labels": torch.arange(len(labels), device=labels.device)}, len(labels))
        if mixed["labels"].ndim == 1:  # not mixed
            return batch
        share = mixed["labels"].diagonal()[:, None]
        return {**mixed, "labels": share * labels + (1 - share) * labels.flip(0)}

    def true_names(self, sample: Batch) -> list[str]:
        return [self.class_names[label] for label in sample["labels"].nonzero().flatten().tolist()]

    def charts(self) -> dict[str, np.ndarray]:
        return {}

    def annotations(self, sample: Batch, prediction: Tensor) -> dict[str, Any]:
        labels = (prediction >= THRESHOLD).nonzero().flatten().tolist()
        text = ", ".join(f"{self.class_names[label]} {float(prediction[label]):.2f}" for label in labels)
        truth = ", ".join(self.true_names(sample))
        return {"caption": f"{sample['name']}: {text or 'no class'}, truth {truth or 'no class'}"}
