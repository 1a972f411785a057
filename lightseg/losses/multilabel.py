"""The losses of a multi-label classifier: binary cross-entropy of every class, and the asymmetric loss.

Asymmetric loss: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", arXiv:2009.14119. Most classes of an
image are absent, and their easy negatives outweigh the positives. With p the probability of a class, and p_m =
max(p - clip, 0) its shifted probability (equation 5), the loss of a class (equation 7) is

    present: -(1 - p)^gamma_positive log(p)         absent: -p_m^gamma_negative log(1 - p_m)

Both exponents 0 and a clip of 0 make it binary cross-entropy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError, nearest

NAMES = ("bce", "asymmetric")
_LEAST = 1e-30  # of the base of a power, whose gradient at 0 is infinite for exponents below 1


class MultiLabelLoss(nn.Module):
    """The sum over the classes of an image, averaged over the batch (arXiv:2009.14119, section 2).

    name: `bce` or `asymmetric`. The others are of the asymmetric loss: gamma_positive and gamma_negative, the focusing
    exponents of present and absent classes, 0 or more; clip: the shift of the probability of absent classes, 0..1.
    """

    def __init__(
        self, *, name: str = "bce", gamma_positive: float = 0.0, gamma_negative: float = 4.0, clip: float = 0.05
    ) -> None:
        super().__init__()
        if name not in NAMES:
            raise LightsegError(f"loss.name={name}: {nearest(name, NAMES)}")
        self.name, self.gamma_positive, self.gamma_negative, self.clip = name, gamma_positive, gamma_negative, clip

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`logits` [B,C], `labels` [B,C] of 0 and 1, or between them once mixed -> `loss`.

        Raises:
            LightsegError: labels do not fit the logits.
        """
        if labels.shape != logits.shape:
            raise LightsegError(f"labels {list(labels.shape)} do not fit logits {list(logits.shape)}: give [B, C]")
        with torch.autocast(logits.device.type, enabled=False):
            x = logits if logits.dtype == torch.float64 else logits.float()
            y = labels.to(x.dtype)
            of_class = F.binary_cross_entropy_with_logits if self.name == "bce" else self._asymmetric
            loss = of_class(x, y, reduction="none").sum(1).mean()
        return {"loss": loss}

    def _asymmetric(self, x: Tensor, y: Tensor, reduction: str) -> Tensor:
        present = (-x).sigmoid().clamp(min=_LEAST) ** self.gamma_positive * F.logsigmoid(x)
        shifted = (x.sigmoid() - self.clip).clamp(min=0)
        log = (-shifted).log1p() if self.clip else F.logsigmoid(-x)
        absent = shifted.clamp(min=_LEAST) ** self.gamma_negative * log
        return -(y * present + (1 - y) * absent)

    @staticmethod
    def probabilities(logits: Tensor) -> Tensor:
        """Of every class by itself."""
        return logits.sigmoid()
