"""The loss of a classifier: cross-entropy, with labels or with mixtures of labels.

Label smoothing: Szegedy et al., arXiv:1512.00567, section 7. MobileNetV3, MNASNet, EfficientNet, EfficientNetV2 and
ShuffleNetV2 are trained with 0.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError


class ClassificationLoss(nn.Module):
    """Cross-entropy with labels or with class probabilities, as from mixup and CutMix.

    label_smoothing: fraction of every target that is spread evenly over all classes. Mixed targets are smoothed too,
        with the same result as timm's `Mixup(label_smoothing=...)`.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise LightsegError(f"label_smoothing={label_smoothing}: must be from 0 to below 1 (0.1 is usual)")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`logits` [B,C]; `labels` int64 [B], or float [B,C] with rows of sum 1 -> `loss`, the mean over the batch.

        Raises:
            LightsegError: labels do not fit the logits.
        """
        batch, classes = logits.shape
        if labels.shape not in ((batch,), (batch, classes)):
            raise LightsegError(f"labels {list(labels.shape)} do not fit logits {[batch, classes]}: give [B] or [B, C]")
        if labels.ndim == 1 and batch and labels.device.type == "cpu":  # reading a value would stall an accelerator
            smallest, largest = map(int, labels.aminmax())
            if smallest < 0 or largest >= classes:
                label = smallest if smallest < 0 else largest
                raise LightsegError(f"label {label} is not one of the classes 0..{classes - 1}")
        with torch.autocast(logits.device.type, enabled=False):
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        return {"loss": loss}

    @staticmethod
    def probabilities(logits: Tensor) -> Tensor:
        """Of the classes, of which an image has a single one."""
        return logits.softmax(1)
