"""The loss of a classifier: cross-entropy, with labels or with mixtures of them.

Label smoothing is that of Szegedy et al., arXiv:1512.00567, section 7, which MobileNetV3, MNASNet, EfficientNet and V2
and ShuffleNetV2 train with at 0.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError


class ClassificationLoss(nn.Module):
    """Cross-entropy with labels or with shares of classes, as mixup and CutMix make them.

    label_smoothing: share of every target that is spread evenly over all classes. Mixed targets are smoothed here too:
        timm's `Mixup(label_smoothing=0)` and this give what its own smoothing gives.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise LightsegError(f"label_smoothing is a share from 0 up to 1 (0.1 is usual), not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`logits` [B,C]; `labels` int64 [B] or float [B,C] of rows that sum to 1 -> `loss`, the mean over the batch.

        Raises LightsegError for labels that do not fit the logits.
        """
        batch, classes = logits.shape
        if labels.shape not in ((batch,), (batch, classes)):
            raise LightsegError(f"labels {list(labels.shape)} do not fit logits {[batch, classes]}: give [B] or [B, C]")
        if labels.ndim == 1 and batch and labels.device.type == "cpu":  # elsewhere a look would stall the accelerator
            smallest, largest = map(int, labels.aminmax())
            if smallest < 0 or largest >= classes:
                label = smallest if smallest < 0 else largest
                raise LightsegError(f"label {label} is none of the classes 0..{classes - 1}")
        with torch.autocast(logits.device.type, enabled=False):
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        return {"loss": loss}
