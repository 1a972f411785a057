"""Top-1, top-5, accuracy per class and calibration, from sums over the data set.

Expected calibration error (Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2): the
samples are sorted into 15 bins by the confidence of their prediction, ((m-1)/15, m/15]. The distance between mean
confidence and accuracy is averaged over the bins, weighted by their number of samples. torchmetrics'
MulticlassCalibrationError (norm `l1`) has the same definition, except that its bins are open on the other side, so that
a confidence of exactly 1.0 has a separate bin; it also keeps every confidence in memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lightseg.errors import DataError, LightsegError

BINS = 15
TOP = 5


class ClassificationMetric(Metric):
    """Scores of probabilities [B, C] against labels [B], as fractions 0..1. All states are summed over processes.

    Attributes:
        confusion: int64 [num_classes, num_classes], rows = labels, columns = predictions.
    """

    higher_is_better = True
    full_state_update = False
    confusion: Tensor
    in_top: Tensor
    bins: Tensor

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        if num_classes < 2:
            raise LightsegError(f"num_classes is {num_classes}: a classifier needs at least two classes")
        if class_names is not None and len(class_names) != num_classes:
            raise LightsegError(f"{num_classes} classes, but {len(class_names)} class names")
        self.num_classes = num_classes
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("in_top", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bins", torch.zeros(2, BINS), dist_reduce_fx="sum")  # sums of confidences and of correct

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. Raises DataError for a label that is not a class, LightsegError for shapes that do not fit."""
        n = self.num_classes
        if probabilities.ndim != 2 or probabilities.shape[1] != n or labels.shape != probabilities.shape[:1]:
            raise LightsegError(
                f"probabilities {list(probabilities.shape)} and labels {list(labels.shape)} do not fit {n} classes: "
                f"they are [B, {n}] and [B]"
            )
        if labels.numel() == 0:
            return
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= n:
            raise DataError(f"labels {low}..{high} are outside the {n} classes 0..{n - 1}")
        probabilities, labels = probabilities.float(), labels.long()
        confidence, prediction = probabilities.max(1)
        is_correct = prediction == labels
        self.confusion.index_put_((labels, prediction), torch.ones_like(labels), accumulate=True)
        if n > TOP:
            self.in_top += (probabilities.topk(TOP).indices == labels[:, None]).sum()
        bounds = torch.arange(1, BINS, device=confidence.device) / BINS
        # no matrix product: autocast would compute it in half precision
        self.bins.index_add_(1, torch.bucketize(confidence, bounds), torch.stack([confidence, is_correct.float()]))

    def compute(self) -> dict[str, float]:
        """`{"top1", "top5" (with more than 5 classes), "mean_class_accuracy", "ece", "class_accuracy/<class>", ...}`.

        Classes without a sample are neither listed nor in the mean. Without any sample the metrics are NaN.
        """
        confusion = self.confusion.cpu().double()  # small; float64 exists on every CPU
        correct, samples = confusion.diag(), confusion.sum(1)
        total = samples.sum()
        present = samples > 0
        accuracy = (correct / samples)[present]
        names = [name for name, is_present in zip(self.class_names, present.tolist(), strict=True) if is_present]
        confidence, hits = self.bins.cpu().double()
        return {
            "top1": (correct.sum() / total).item(),
            **({"top5": (self.in_top.cpu() / total).item()} if self.num_classes > TOP else {}),
            "mean_class_accuracy": accuracy.mean().item(),
            "ece": ((confidence - hits).abs().sum() / total).item(),
            **{f"class_accuracy/{name}": value for name, value in zip(names, accuracy.tolist(), strict=True)},
        }
