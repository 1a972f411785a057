"""Top-1, top-5, accuracy per class and calibration, counted over the whole set: sums first, divisions at the end.

Expected calibration error: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2: the
samples go into 15 bins by the confidence of their prediction, ((m-1)/15, m/15]; the distance between mean confidence
and accuracy is averaged over the bins, weighted by their samples. torchmetrics' MulticlassCalibrationError (norm `l1`)
is the same figure but for its keeping every confidence until the end, and for bins that are open on the other side:
there a confidence of exactly 1.0 has a bin to itself. Tests hold both against each other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lightseg.errors import DataError, LightsegError

BINS = 15
TOP = 5


class ClassificationMetric(Metric):
    """Scores of probabilities [B, C] against labels [B], as fractions 0..1.

    Attributes:
        confusion: int64 [num_classes, num_classes], rows = labels, columns = predictions.
    All states are sums, which are summed over processes.
    """

    higher_is_better = True
    full_state_update = False
    confusion: Tensor
    in_top: Tensor
    bins: Tensor

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        if num_classes < 2:
            raise LightsegError(f"num_classes is {num_classes}: a classifier tells at least two classes apart")
        if class_names is not None and len(class_names) != num_classes:
            raise LightsegError(f"{num_classes} classes, but {len(class_names)} class names")
        self.num_classes = num_classes
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("in_top", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bins", torch.zeros(2, BINS), dist_reduce_fx="sum")  # sum of confidences, right predictions

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Counts a batch. Raises DataError for labels that are no class, LightsegError for shapes that do not fit."""
        n = self.num_classes
        if probabilities.ndim != 2 or probabilities.shape[1] != n or labels.shape != probabilities.shape[:1]:
            raise LightsegError(
                f"probabilities {list(probabilities.shape)} and labels {list(labels.shape)} do not fit {n} classes: "
                f"they are [B, {n}] and [B]"
            )
        if labels.numel() == 0:
            return
        lowest, highest = (int(bound) for bound in labels.aminmax())
        if lowest < 0 or highest >= n:
            raise DataError(f"labels {lowest}..{highest} lie outside the {n} classes 0..{n - 1}")
        probabilities, labels = probabilities.float(), labels.long()
        confidence, prediction = probabilities.max(1)
        right = prediction == labels
        self.confusion.index_put_((labels, prediction), torch.ones_like(labels), accumulate=True)
        if n > TOP:
            self.in_top += (probabilities.topk(TOP).indices == labels[:, None]).sum()
        inner = torch.arange(1, BINS, device=confidence.device) / BINS
        # no matrix product: autocast would take it in half precision
        self.bins.index_add_(1, torch.bucketize(confidence, inner), torch.stack([confidence, right.float()]))

    def compute(self) -> dict[str, float]:
        """`{"top1", "top5" (of more than 5 classes), "mean_class_accuracy", "ece", "class_accuracy/<class>", ...}`.

        Classes without a sample are not listed and not in the mean; everything is NaN if nothing was counted.
        """
        confusion = self.confusion.cpu().double()  # small; float64 exists on every CPU
        correct, samples = confusion.diag(), confusion.sum(1)
        total = samples.sum()
        present = samples > 0
        accuracy = (correct / samples)[present]
        names = [name for name, there in zip(self.class_names, present.tolist(), strict=True) if there]
        confidence, right = self.bins.cpu().double()
        return {
            "top1": (correct.sum() / total).item(),
            **({"top5": (self.in_top.cpu() / total).item()} if self.num_classes > TOP else {}),
            "mean_class_accuracy": accuracy.mean().item(),
            "ece": ((confidence - right).abs().sum() / total).item(),
            **{f"class_accuracy/{name}": value for name, value in zip(names, accuracy.tolist(), strict=True)},
        }
