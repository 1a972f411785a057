"""The loss of a segmentation head: cross-entropy at the full resolution of the masks, optionally with OHEM and Dice."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.losses.upsampled_cross_entropy import upsampled_cross_entropy, upsampled_pixel_losses

OHEM_MIN_KEPT = 1 / 16


class SegmentationLoss(nn.Module):
    """Cross-entropy of bilinearly upsampled logits, with optional class weights, OHEM, Dice and label smoothing.

    ignore_index: label that is ignored.
    class_weights: a weight per class; the mean is weighted, as in `F.cross_entropy`.
    ohem: probability threshold of online hard example mining (0.7 is usual): only pixels whose true class has a lower
        probability count, but at least the hardest sixteenth of the batch's labeled pixels (BiSeNet, arXiv 1808.00897).
    dice: weight of the Dice loss (V-Net, arXiv 1606.04797) over the batch, averaged over the classes that occur.
    label_smoothing: as in `F.cross_entropy`.
    """

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
            raise LightsegError(f"ohem={ohem}: must be between 0 and 1 (0.7 is usual)")
        if not 0 <= label_smoothing < 1:
            raise LightsegError(f"label_smoothing={label_smoothing}: must be from 0 to below 1 (0.1 is usual)")
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)
        self.ignore_index = ignore_index
        self.ohem = ohem
        self.dice = dice
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """`logits` [B,C,h,w] of any size, `masks` [B,H,W] class ids -> `loss`, and its parts without gradient.

        Class ids may have any integer type. A batch without labeled pixels has loss 0 and zero gradients.
        """
        masks = masks.long()  # uint8 from the data loader
        self._check(logits, masks)
        with torch.autocast(logits.device.type, enabled=False):  # a sum over 10^5 pixels needs float32
            return self._parts(logits, masks)

    def _parts(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        cross_entropy = upsampled_cross_entropy(
            logits,
            masks if self.ohem is None else self._without_easy_pixels(logits, masks),
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
        parts = {"loss": cross_entropy, "cross_entropy": cross_entropy.detach()}
        if self.dice:
            dice = dice_loss(logits, masks, self.ignore_index)
            parts |= {"loss": cross_entropy + self.dice * dice, "dice": dice.detach()}
        return parts

    def _check(self, logits: Tensor, masks: Tensor) -> None:
        classes = logits.shape[1]
        if self.class_weights is not None and self.class_weights.shape != (classes,):
            values = self.class_weights.numel()
            raise LightsegError(f"class_weights has {values} values for {classes} classes: give one a class")
        if masks.device.type != "cpu":  # reading a value would stall an accelerator, which raises an error itself
            return
        smallest, largest = map(int, masks.masked_fill(masks == self.ignore_index, 0).aminmax())
        if smallest < 0 or largest >= classes:
            label = smallest if smallest < 0 else largest
            raise LightsegError(
                f"label {label} in a mask: classes are 0..{classes - 1}, {self.ignore_index} is ignored"
            )

    def _without_easy_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        assert self.ohem is not None
        losses = upsampled_pixel_losses(logits, masks, ignore_index=self.ignore_index)
        labeled = masks != self.ignore_index
        hard = losses > -math.log(self.ohem)
        min_kept = int(labeled.sum() * OHEM_MIN_KEPT)
        if hard.sum() < min_kept:  # ignored pixels have loss 0 and are never among the hardest
            hard = losses >= losses.flatten().topk(min_kept).values[-1]
        return masks.masked_fill(~(hard & labeled), self.ignore_index)


def dice_loss(logits: Tensor, masks: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Dice loss in 0..1: 1 - 2|P∩G| / (|P| + |G|), averaged over the classes that occur; 0 if there are none.

    `logits` [B,C,h,w] are upsampled bilinearly to `masks` [B,H,W]; the sums of a class run over the batch.
    """
    logits = F.interpolate(logits.float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)
    labeled = masks != ignore_index
    labels = masks.masked_fill(~labeled, 0)
    probabilities = logits.softmax(1) * labeled[:, None]
    true_probabilities = probabilities.gather(1, labels[:, None]).flatten()
    size = probabilities.sum((0, 2, 3))
    count = torch.zeros_like(size).scatter_add_(0, labels.flatten(), labeled.flatten().to(size.dtype))
    overlap = torch.zeros_like(size).scatter_add(0, labels.flatten(), true_probabilities)
    occurs = count > 0
    dice = 2 * overlap / (size + count).clamp_min(torch.finfo(size.dtype).tiny)
    return ((1 - dice) * occurs).sum() / occurs.sum().clamp_min(1)
