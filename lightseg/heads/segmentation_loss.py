"""The loss of a segmentation head: cross-entropy at the label's full resolution, and what is often added to it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError


class SegmentationLoss(nn.Module):
    """Cross-entropy of bilinearly upsampled logits, with optional class weights, OHEM, Dice and label smoothing.

    ignore_index: label that counts nowhere.
    class_weights: one weight a class; the mean is weighted, as in `F.cross_entropy`.
    ohem: probability threshold of online hard example mining (0.7 is usual): only pixels whose true class has less than
        it count, but at least the hardest sixteenth of the labelled pixels (both as in BiSeNet, arXiv 1808.00897).
    dice: weight of the Dice loss (V-Net, arXiv 1606.04797) over the whole batch, averaged over the classes that occur.
    label_smoothing: as in `F.cross_entropy`.
    """

    OHEM_MIN_KEPT = 1 / 16

    def __init__(
        self,
        *,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        ohem: float | None = None,
        dice: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if ohem is not None and not 0 < ohem < 1:
            raise LightsegError(f"ohem is a probability between 0 and 1 (0.7 is usual), not {ohem}")
        if not 0 <= label_smoothing < 1:
            raise LightsegError(f"label_smoothing lies in 0..1, not {label_smoothing}")
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)
        self.ignore_index = ignore_index
        self.ohem = ohem
        self.dice = dice
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """`logits` [B,C,h,w] at any size, `masks` [B,H,W] class ids -> `loss` with its gradient, and its parts without.

        A batch without one labelled pixel has loss 0 and zero gradients.
        """
        if self.class_weights is not None and len(self.class_weights) != logits.shape[1]:
            raise LightsegError(f"{len(self.class_weights)} class_weights for {logits.shape[1]} classes")
        logits = F.interpolate(logits.float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)
        cross_entropy = self._cross_entropy(logits, masks)
        parts = {"loss": cross_entropy, "cross_entropy": cross_entropy.detach()}
        if self.dice:
            dice = dice_loss(logits, masks, self.ignore_index)
            parts |= {"loss": cross_entropy + self.dice * dice, "dice": dice.detach()}
        return parts

    def _cross_entropy(self, logits: Tensor, masks: Tensor) -> Tensor:
        labelled = masks != self.ignore_index
        keep = labelled if self.ohem is None else self._hard_pixels(logits, masks)
        target = masks.masked_fill(~keep, self.ignore_index)
        total = F.cross_entropy(
            logits,
            target,
            weight=self.class_weights,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / _pixel_weight(target, keep, self.class_weights).clamp_min(torch.finfo(torch.float32).tiny)

    @torch.no_grad()
    def _hard_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Mask [B,H,W] of the pixels that OHEM keeps."""
        assert self.ohem is not None
        labelled = masks != self.ignore_index
        # ignored pixels have loss 0 here, and a pixel at the threshold has more
        loss = F.cross_entropy(logits, masks, ignore_index=self.ignore_index, reduction="none")
        min_kept = int(labelled.sum() * self.OHEM_MIN_KEPT)
        threshold = -math.log(self.ohem)
        if min_kept and (loss > threshold).sum() < min_kept:
            threshold = float(loss.flatten().topk(min_kept).values[-1])
            return (loss >= threshold) & labelled
        return (loss > threshold) & labelled


def dice_loss(logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
    """Soft Dice loss of `logits` [B,C,H,W] against `masks` [B,H,W]: 1 - mean of 2|P∩G| / (|P| + |G|), in 0..1."""
    labelled = masks != ignore_index
    probabilities = logits.softmax(1) * labelled[:, None]
    target = masks.masked_fill(~labelled, 0)
    true_probability = probabilities.gather(1, target[:, None])[:, 0]
    size = probabilities.sum((0, 2, 3))
    count = torch.zeros_like(size).scatter_add_(0, target.flatten(), labelled.flatten().to(size.dtype))
    overlap = torch.zeros_like(size).scatter_add(0, target.flatten(), true_probability.flatten())
    occurs = count > 0
    dice = 2 * overlap / (size + count).clamp_min(1e-6)
    return (1 - dice)[occurs].sum() / occurs.sum().clamp_min(1)


def _pixel_weight(masks: Tensor, keep: Tensor, class_weights: Tensor | None) -> Tensor:
    """What a mean over the kept pixels divides by: their number, or the sum of their classes' weights."""
    if class_weights is None:
        return keep.sum()
    return class_weights[masks[keep]].sum()
