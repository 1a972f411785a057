"""Losses of keypoints: squared error of heatmaps, Kullback-Leibler divergence of SimCC's classes, and expected OKS.

Squared error: SimpleBaseline's (arXiv:1804.06208), over all cells and the mean over all keypoints, where invisible ones
count with error 0, as in mmpose's KeypointMSELoss. Deviation: the error of a map is divided by that of an empty map,
pi sigma^2, instead of by the number of cells.

Divergence: SimCC (arXiv:2107.03332) with RTMPose's temperature (arXiv:2303.07399, beta 10): between softmax(beta *
labels) and softmax(beta * logits), the sum of both axes, the mean over all keypoints. Deviation: mmpose divides by the
number of bins and sums over the batch, a constant factor for a setting.

OKS (https://cocodataset.org/#keypoints-eval) of a cell at distance d px from keypoint i of a person of area a px^2 is
exp(-d^2 / (2 a (2 sigma_i)^2)). A distribution p over cells has the expected OKS sum(p * OKS), and ProbPose's loss is 1
minus it (Purkrabek and Matas, CVPR 2025, arXiv:2412.02254). Deviations: a heatmap becomes a distribution by dividing
its positive values by their sum, not by sparsemax; the term is added to the loss above instead of replacing it; for
SimCC it is the product of the expectations over x and over y, because OKS is a product of both.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightseg.errors import LightsegError

SIGMA = 0.05  # of a keypoint if `sigmas` is None: about COCO's mean for face and arms


class PoseLoss(nn.Module):
    """Squared error or divergence, optionally with expected OKS.

    oks: add the loss of the expected OKS, with weight `oks_weight`. sigmas: COCO's constant of each keypoint; None:
    0.05 for all. beta: temperature of SimCC's distributions.
    """

    def __init__(
        self,
        *,
        oks: bool = False,
        oks_weight: float = 1.0,
        sigmas: Sequence[float] | None = None,
        beta: float = 10.0,
    ) -> None:
        super().__init__()
        if not oks_weight >= 0:
            raise LightsegError(f"oks_weight={oks_weight}: must be 0 or more")
        if not beta > 0:
            raise LightsegError(f"beta={beta}: must be above 0 (10 is usual)")
        if sigmas is not None and not all(sigma > 0 for sigma in sigmas):
            raise LightsegError(f"sigmas={list(sigmas)}: give a number above 0 per keypoint")
        self.oks = oks
        self.oks_weight = oks_weight
        self.sigmas = None if sigmas is None else tuple(float(sigma) for sigma in sigmas)
        self.beta = beta

    def heatmap_loss(
        self,
        heatmaps: Tensor,
        targets: Tensor,
        weights: Tensor,
        sigma: float,
        oks: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """heatmaps, targets [B,K,h,w]; weights [B,K]; sigma of the targets, in cells; oks: from `oks_along` -> `loss`,
        and with `oks` its two parts without gradient. All are 0 if no keypoint is visible."""
        with torch.autocast(heatmaps.device.type, enabled=False):
            heatmaps = heatmaps.float()
            error = (heatmaps - targets).square().sum((2, 3)) / (math.pi * sigma**2)
            loss = (error * weights).sum() / max(1, weights.numel())
            if oks is None:
                return {"loss": loss}
            positive = heatmaps.relu()
            distribution = positive / positive.sum((2, 3), keepdim=True).clamp(min=1e-6)
            along_x, along_y = oks
            expected = ((distribution @ along_x[..., None])[..., 0] * along_y).sum(2)
            return self._with_oks("loss_heatmap", loss, expected, weights)

    def simcc_loss(
        self,
        logits: tuple[Tensor, Tensor],
        labels: tuple[Tensor, Tensor],
        weights: Tensor,
        oks: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """logits, labels ([B,K,X], [B,K,Y]); otherwise as `heatmap_loss`."""
        with torch.autocast(logits[0].device.type, enabled=False):
            loss, expected = logits[0].new_zeros((), dtype=torch.float32), torch.ones_like(weights)
            for axis in (0, 1):
                log_prediction = (self.beta * logits[axis].float()).log_softmax(2)
                log_target = (self.beta * labels[axis]).log_softmax(2)
                divergence = (log_target.exp() * (log_target - log_prediction)).sum(2)
                loss = loss + (divergence * weights).sum() / max(1, weights.numel())
                if oks is not None:
                    expected = expected * (log_prediction.exp() * oks[axis]).sum(2)
            return {"loss": loss} if oks is None else self._with_oks("loss_divergence", loss, expected, weights)

    def _with_oks(self, name: str, loss: Tensor, expected: Tensor, weights: Tensor) -> dict[str, Tensor]:
        oks_loss = self.oks_weight * ((1 - expected) * weights).sum() / max(1, weights.numel())
        return {"loss": loss + oks_loss, name: loss.detach(), "loss_oks": oks_loss.detach()}

    def oks_along(self, positions: Sequence[Tensor], keypoints: Tensor, area: Tensor) -> tuple[Tensor, Tensor] | None:
        """The two factors of OKS: at x [B,K,X] and at y [B,K,Y]. None if the loss has no OKS term.

        positions: x [X] and y [Y] in px; keypoints [B,K,2] px; area [B] px^2, at least one pixel.
        """
        if not self.oks:
            return None
        count = keypoints.shape[1]
        sigmas = self.sigmas or (SIGMA,) * count
        if len(sigmas) != count:
            raise LightsegError(f"the loss has {len(sigmas)} sigmas for {count} keypoints: give one per keypoint")
        spread = 2 * keypoints.new_tensor(sigmas) * area.float().clamp(min=1).sqrt()[:, None]  # [B,K] px
        points = keypoints.nan_to_num()
        along_x, along_y = (
            torch.exp(((positions[axis] - points[..., axis, None]) / spread[..., None]).square() / -2)
            for axis in (0, 1)
        )
        return along_x, along_y

    def extra_repr(self) -> str:
        return f"oks={self.oks}, oks_weight={self.oks_weight}, beta={self.beta}"


def check_targets(batch: dict[str, Tensor], images: int, count: int) -> None:
    """Raise LightsegError unless `keypoints` and `visible` fit [images, count]."""
    keypoints, visible = list(batch["keypoints"].shape), list(batch["visible"].shape)
    if (keypoints, visible) != ([images, count, 2], [images, count]):
        raise LightsegError(
            f"keypoints {keypoints} and visible {visible} of the batch do not fit {images} persons of {count} points"
        )
