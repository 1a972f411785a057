"""Mean intersection over union (mIoU) from one confusion matrix of the pixels of the data set.

This is the definition of Cityscapes and Pascal VOC; a mean of the IoUs of single images is different. Pixels labeled
`ignore_index` do not count. A class that is neither labeled nor predicted on a counted pixel has no IoU and is left out
of the mean. A class that is predicted but never labeled has IoU 0, as in cityscapesscripts' evaluator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lightseg.errors import DataError, LightsegError


class SegmentationMetric(Metric):
    """mIoU, IoU per class and pixel accuracy as fractions 0..1.

    Attributes:
        confusion: int64 [num_classes, num_classes], rows = labels, columns = predictions; summed over processes.
    """

    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        if class_names is not None and len(class_names) != num_classes:
            raise LightsegError(f"{num_classes} classes, but {len(class_names)} class names")
        if not 0 < num_classes <= 255:
            raise LightsegError(f"num_classes is {num_classes}: labels are bytes: give 1 to 255")
        self.num_classes = num_classes
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        self.ignore_index = ignore_index
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, masks: Tensor) -> None:
        """Add a batch of ids, both [B, H, W] or [H, W] of any integer type.

        Raises DataError for an id that is neither a class nor `ignore_index`, LightsegError for different shapes.
        """
        if prediction.shape != masks.shape:
            raise LightsegError(
                f"prediction {tuple(prediction.shape)} and masks {tuple(masks.shape)} differ in shape: "
                "score at the label's own resolution"
            )
        if masks.numel() == 0:
            return
        self._check_bytes("predicted", prediction)
        self._check_bytes("labeled", masks)
        # Ignored pixels and ids outside the classes have bins of their own, so that nothing is filtered: 1024x2048
        # pixels take 9 to 13 ms on one core, with torchmetrics' MulticlassConfusionMatrix 40 ms.
        pairs = masks.flatten().to(torch.int32).mul_(256).add_(prediction.flatten().to(torch.int32))
        counts = torch.bincount(pairs, minlength=256 * 256).reshape(256, 256)
        if 0 <= self.ignore_index < 256:
            counts[self.ignore_index] = 0
        n = self.num_classes
        if counts[n:].any() or counts[:, n:].any():
            labels = counts[n:].sum(1).nonzero().flatten().add(n).tolist()
            predictions = counts[:, n:].sum(0).nonzero().flatten().add(n).tolist()
            ids = f"labels {labels}" if labels else f"predictions {predictions}"
            raise DataError(f"{ids} are outside the {n} classes 0..{n - 1} (ignored: {self.ignore_index})")
        self.confusion += counts[:n, :n]

    def compute(self) -> dict[str, float]:
        """`{"mIoU", "pixel_accuracy", "IoU/<class>", ...}` without absent classes; NaN if no pixel counts."""
        return figures(self.confusion, self.class_names)

    @staticmethod
    def _check_bytes(kind: str, ids: Tensor) -> None:
        if ids.dtype == torch.uint8:
            return
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high > 255:
            raise DataError(f"{kind} ids must be in 0..255, the batch has {low}..{high}")


def figures(confusion: Tensor, class_names: Sequence[str]) -> dict[str, float]:
    """What `SegmentationMetric.compute` returns, of counts [C, C] or, with a column of pixels of no class, [C, C + 1]:
    such a pixel is a miss of its label and of no other class."""
    confusion = confusion.cpu().double()  # small; float64 exists on every CPU
    correct = confusion.diag()
    union = confusion.sum(0)[: len(correct)] + confusion.sum(1) - correct
    present = union > 0
    iou = (correct / union)[present]
    names = [name for name, is_present in zip(class_names, present.tolist(), strict=True) if is_present]
    return {
        "mIoU": iou.mean().item(),
        "pixel_accuracy": (correct.sum() / confusion.sum()).item(),
        **{f"IoU/{name}": value for name, value in zip(names, iou.tolist(), strict=True)},
    }
