"""Mean intersection over union, counted over the whole set: one confusion matrix of pixels, one division at the end.

That is Cityscapes' and Pascal VOC's definition (a mean of per-image IoUs is another number). Pixels labelled
`ignore_index` count nowhere. A class that is neither labelled nor predicted on any counted pixel has no IoU and is
left out of the mean and of the result; one that is predicted but never labelled has IoU 0 and counts: what
cityscapesscripts' evaluator does, and tests hold both against each other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lightseg.errors import DataError, LightsegError


class SegmentationMetric(Metric):
    """mIoU, IoU per class and pixel accuracy as fractions 0..1.

    `update` takes the predicted ids and the labels, both [B, H, W] (or [H, W]) of any integer type. The state is one
    int64 matrix [num_classes, num_classes], rows = labels, columns = predictions, which is summed over processes.

    One `torch.bincount` over `label * 256 + prediction`: ignored pixels and ids outside the map fall into bins of
    their own, so nothing is filtered. 1024x2048 pixels take 9 to 13 ms on one core where torchmetrics'
    MulticlassConfusionMatrix takes 40 ms.
    """

    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        if class_names is not None and len(class_names) != num_classes:
            raise LightsegError(f"{num_classes} classes, but {len(class_names)} class names")
        if not 0 < num_classes <= 255:
            raise LightsegError(
                f"num_classes is {num_classes}: labels are single bytes, so 1 to 255 classes can be counted"
            )
        self.num_classes = num_classes
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes)]
        self.ignore_index = ignore_index
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, masks: Tensor) -> None:
        """Counts the pixels of a batch. Raises DataError for ids that are neither a class nor `ignore_index`."""
        if prediction.shape != masks.shape:
            raise LightsegError(
                f"prediction {tuple(prediction.shape)} and masks {tuple(masks.shape)} differ in shape: "
                "score at the label's own resolution"
            )
        if masks.numel() == 0:
            return
        self._check_bytes("predicted", prediction)
        self._check_bytes("labelled", masks)
        pairs = masks.flatten().to(torch.int32).mul_(256).add_(prediction.flatten().to(torch.int32))
        counts = torch.bincount(pairs, minlength=256 * 256).reshape(256, 256)
        if 0 <= self.ignore_index < 256:
            counts[self.ignore_index] = 0
        n = self.num_classes
        if counts[n:].any() or counts[:, n:].any():
            labels = counts[n:].sum(1).nonzero().flatten().add(n).tolist()
            predictions = counts[:, n:].sum(0).nonzero().flatten().add(n).tolist()
            what = f"labels {labels}" if labels else f"predictions {predictions}"
            raise DataError(f"{what} lie outside the {n} classes 0..{n - 1} (ignored: {self.ignore_index})")
        self.confusion += counts[:n, :n]

    def compute(self) -> dict[str, float]:
        """`{"mIoU", "pixel_accuracy", "IoU/<class>", ...}`; absent classes are not listed; NaN if no pixel counted."""
        confusion = self.confusion.cpu().double()  # one small matrix; float64 exists on every CPU
        correct = confusion.diag()
        union = confusion.sum(0) + confusion.sum(1) - correct
        present = union > 0
        iou = (correct / union)[present]
        names = [name for name, there in zip(self.class_names, present.tolist(), strict=True) if there]
        return {
            "mIoU": iou.mean().item(),
            "pixel_accuracy": (correct.sum() / confusion.sum()).item(),
            **{f"IoU/{name}": value for name, value in zip(names, iou.tolist(), strict=True)},
        }

    @staticmethod
    def _check_bytes(what: str, ids: Tensor) -> None:
        if ids.dtype == torch.uint8:
            return
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high > 255:
            raise DataError(f"{what} ids must lie in 0..255, but the batch holds {low}..{high}")
