"""Average precision and F1 of a multi-label classifier, over the whole set.

Average precision of a class is that of scikit-learn's `average_precision_score`: the sum over the thresholds of
(R_n - R_n-1) P_n, without interpolation. It is torchmetrics' `binary_average_precision`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from lightseg.errors import LightsegError

THRESHOLD = 0.5  # of the probability from which a class is predicted, for F1


class MultiLabelMetric(Metric):
    """Scores of probabilities [B, C] against labels [B, C] of 0 and 1, as fractions 0..1.

    All probabilities are kept, 5 bytes a class of an image, and gathered from all processes.
    """

    higher_is_better = True
    full_state_update = False
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        if class_names is not None and len(class_names) != num_classes:
            raise LightsegError(f"{num_classes} classes, but {len(class_names)} class names")
        self.num_classes = num_classes
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch. Raises LightsegError for shapes that do not fit."""
        if probabilities.ndim != 2 or probabilities.shape[1] != self.num_classes or labels.shape != probabilities.shape:
            raise LightsegError(
                f"probabilities {list(probabilities.shape)} and labels {list(labels.shape)} do not fit "
                f"{self.num_classes} classes: give [B, {self.num_classes}] of both"
            )
        self.probabilities.append(probabilities.float())
        self.labels.append(labels > 0.5)

    def compute(self) -> dict[str, float]:
        """`{"mAP", "F1", "micro_F1", "class_AP/<class>", ...}`.

        mAP and F1 are means over the classes (macro). Classes without an image that has them are neither listed nor in
        the means: their average precision is undefined. micro_F1 counts the predictions of all classes together.
        Without any label all are NaN.
        """
        if not len(self.labels):
            return dict.fromkeys(("mAP", "F1", "micro_F1"), float("nan"))
        probabilities, labels = dim_zero_cat(self.probabilities).cpu(), dim_zero_cat(self.labels).cpu()
        present = labels.any(0)
        if not present.any():
            return dict.fromkeys(("mAP", "F1", "micro_F1"), float("nan"))
        predicted = probabilities >= THRESHOLD
        right, wrong = ((predicted & truth).sum(0).double() for truth in (labels, ~labels))
        positives = labels.sum(0).double()
        names = [name for name, is_present in zip(self.class_names, present.tolist(), strict=True) if is_present]
        precisions = average_precisions(probabilities[:, present], labels[:, present])
        return {
            "mAP": precisions.mean().item(),
            "F1": (2 * right / (right + wrong + positives))[present].mean().item(),
            "micro_F1": (2 * right.sum() / (right.sum() + wrong.sum() + positives.sum())).item(),
            **{f"class_AP/{name}": value for name, value in zip(names, precisions.tolist(), strict=True)},
        }


def average_precisions(probabilities: Tensor, labels: Tensor) -> Tensor:
    """float64 [C], of classes that each have a label. probabilities: [N, C]; labels: bool [N, C]."""
    pairs = zip(probabilities.double().T, labels.long().T, strict=True)
    return torch.stack([binary_average_precision(scores, truths).double() for scores, truths in pairs])
