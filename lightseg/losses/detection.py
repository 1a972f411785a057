"""The loss of a detection head: SSD's MultiBox loss, or focal loss in place of its hard negatives.

SSD (Liu et al., ECCV 2016, arXiv:1512.02325), section 2.2: every default box is matched to the ground truth that
overlaps it most, by 0.5 or more, and every ground-truth box to its best default box; smooth L1 on the matched, and
cross-entropy on them and on three times as many of the hardest others, both divided by the number of matched boxes of
the batch. Value and gradient are those of torchvision's `SSD.compute_loss` with its `SSDMatcher`, for a whole batch at
once. Deviation: where an image has fewer negatives than three for each match (more than a quarter of all default boxes
matched), torchvision counts matched boxes a second time in their place; here all negatives count once.

Focal loss: "Focal Loss for Dense Object Detection" (Lin et al., ICCV 2017, arXiv:1708.02002), section 3.2. Deviation:
over the softmax of the classes and the background, not over one sigmoid a class, so that scores are decoded alike.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lightseg.boxes import encode
from lightseg.errors import LightsegError

OVERLAPS_IN_FLIGHT = 2**20  # 4 MB of float32 an array; 24 images of 100 boxes have 8 M overlaps at 320x320


class DetectionLoss(nn.Module):
    """Smooth L1 and cross-entropy over default boxes.

    iou_threshold: overlap from which a default box is matched. negative_ratio: hardest unmatched boxes that count, for
    each matched one. focal: focal loss over all default boxes in place of the hardest; `focal_alpha` weighs matched
    boxes, 1 - alpha the others, `focal_gamma` is the exponent that fades out what is easy.
    """

    def __init__(
        self,
        *,
        iou_threshold: float = 0.5,
        negative_ratio: float = 3.0,
        focal: bool = False,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
    ) -> None:
        super().__init__()
        if not 0 < iou_threshold <= 1:
            raise LightsegError(f"iou_threshold is an overlap above 0 up to 1 (0.5 is usual), not {iou_threshold}")
        if negative_ratio <= 0:
            raise LightsegError(f"negative_ratio is a number above 0 (3 is usual), not {negative_ratio}")
        if not 0 < focal_alpha < 1 or focal_gamma < 0:
            raise LightsegError(
                f"focal_alpha is a weight between 0 and 1 (0.25 is usual), not {focal_alpha}, "
                f"and focal_gamma 0 or more (2 is usual), not {focal_gamma}"
            )
        self.iou_threshold = iou_threshold
        self.negative_ratio = negative_ratio
        self.focal = focal
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma

    def forward(
        self,
        class_logits: Tensor,
        box_deltas: Tensor,
        default_boxes: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Args:
            class_logits: [B,N,C+1], background first. box_deltas: [B,N,4]. default_boxes: [N,4] xyxy.
            boxes, labels: one [n,4] xyxy and one [n] in 0..C-1 an image; n may be 0.

        Returns:
            `loss` with its gradient, `loss_box` and `loss_class` without, which it is the sum of. A batch without one
            box has loss 0 and zero gradients (with focal loss, that of its background).

        Raises:
            LightsegError: on the CPU, for a label that is no class, or a box without an area.
        """
        self._check(class_logits, boxes, labels)
        with torch.autocast(class_logits.device.type, enabled=False):  # sums over many boxes are for float32
            image, place, box = self._matched(boxes, default_boxes)
            starts = torch.tensor([0, *(len(b) for b in boxes[:-1])], device=box.device).cumsum(0)
            truth = starts[image] + box  # of all boxes of the batch in a row
            rows = image * class_logits.shape[1] + place  # of all default boxes of the batch in a row
            matched = max(1, len(rows))
            offsets = encode(torch.cat(list(boxes)).float()[truth], default_boxes[place])
            deltas = box_deltas.float().flatten(0, 1).index_select(0, rows)
            loss_box = F.smooth_l1_loss(deltas, offsets, reduction="sum") / matched
            targets = rows.new_zeros(class_logits.shape[:2])
            targets.view(-1)[rows] = torch.cat(list(labels))[truth] + 1
            class_loss = self._focal_loss if self.focal else self._loss_with_hard_negatives
            loss_class = class_loss(class_logits.float(), targets) / matched
        return {
            "loss": loss_box + loss_class,
            "loss_box": loss_box.detach(),
            "loss_class": loss_class.detach(),
        }

    def _matched(self, boxes: Sequence[Tensor], default_boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image, default box and ground-truth box (all int64) of every matched default box, image by image."""
        matches = match(boxes, default_boxes, self.iou_threshold)
        image, place = torch.where(matches >= 0)
        return image, place, matches[image, place]

    def _loss_with_hard_negatives(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of the cross-entropy of the matched and of the hardest unmatched, three for each match of their image."""
        # All losses are needed to choose, but only the chosen ones' gradients: a small part of the batch.
        positive = targets > 0
        count = (positive.sum(1) * self.negative_ratio).minimum((~positive).sum(1))
        most = int(count.ceil().max()) if len(count) else 0
        with torch.no_grad():  # an unmatched box is one of the background, whose logit is the first
            losses = (logits.logsumexp(2) - logits[..., 0]).masked_fill_(positive, -torch.inf)
            hardest = losses.topk(most, sorted=True).indices
        rank = torch.arange(most, device=logits.device)
        row = hardest + torch.arange(len(logits), device=logits.device)[:, None] * logits.shape[1]
        rows = torch.cat([positive.flatten().nonzero()[:, 0], row[rank < count[:, None]]])
        chosen = logits.flatten(0, 1).index_select(0, rows)
        return F.cross_entropy(chosen, targets.flatten()[rows], reduction="sum")

    def _focal_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_probability = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(2)
        log_probability = log_probability.clamp(max=0)  # rounding may lead above 0, where 1 - p has no power
        weight = torch.where(targets > 0, self.focal_alpha, 1 - self.focal_alpha)
        return -(weight * (1 - log_probability.exp()) ** self.focal_gamma * log_probability).sum()

    def _check(self, class_logits: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
        if not len(class_logits) == len(boxes) == len(labels):
            raise LightsegError(f"{len(class_logits)} images, but boxes of {len(boxes)} and labels of {len(labels)}")
        for index, (b, one) in enumerate(zip(boxes, labels, strict=True)):
            if b.shape != (len(one), 4):
                raise LightsegError(f"image {index} of the batch: boxes {list(b.shape)} for {len(one)} labels")
        if class_logits.device.type != "cpu":  # reading a value would stall an accelerator
            return
        every_label, every_box = torch.cat(list(labels)), torch.cat(list(boxes))
        if not len(every_label):
            return
        classes = class_logits.shape[2] - 1
        smallest, largest = map(int, every_label.aminmax())
        if smallest < 0 or largest >= classes:
            label = smallest if smallest < 0 else largest
            raise LightsegError(f"label {label} of a box is none of the classes 0..{classes - 1}")
        if not bool((every_box[:, 2:] > every_box[:, :2]).all()):  # false for NaN too
            bad = next(box for box in every_box.tolist() if not (box[2] > box[0] and box[3] > box[1]))
            raise LightsegError(f"box {bad} (x0, y0, x1, y1) has no area")


@torch.no_grad()
def match(boxes: Sequence[Tensor], default_boxes: Tensor, iou_threshold: float = 0.5) -> Tensor:
    """The box that each default box of each image stands for: int64 [B,N], -1 for none.

    That is the box with the largest overlap (intersection over union), if it reaches the threshold; and each box has
    the default box that overlaps it most, whatever the overlap (the last of two boxes that want the same one).

    boxes: one [n,4] xyxy an image; n may be 0. default_boxes: [N,4] xyxy.
    """
    matches = torch.full((len(boxes), len(default_boxes)), -1, device=default_boxes.device)
    counts = [len(b) for b in boxes]
    most = max(counts, default=0)
    if not most:
        return matches
    padded = pad_sequence([b.to(default_boxes) for b in boxes], batch_first=True)  # [B,M,4]; padding overlaps nothing
    step = max(1, OVERLAPS_IN_FLIGHT // (most * len(default_boxes)))
    for start in range(0, len(boxes), step):
        here = slice(start, start + step)
        most = max(counts[here])
        if not most:
            continue
        overlaps = _overlaps(padded[here, :most], default_boxes)  # [b,M,N]
        best, of_box = overlaps.max(1)
        matches[here] = of_box.masked_fill_(best < iou_threshold, -1)
        order = torch.arange(most, device=matches.device)
        real = order < torch.tensor(counts[here], device=matches.device)[:, None]
        forced = torch.full_like(matches[here], -1)
        forced.scatter_reduce_(1, overlaps.argmax(2), order.where(real, -1), "amax")
        matches[here] = forced.where(forced >= 0, matches[here])
    return matches


def _overlaps(boxes: Tensor, default_boxes: Tensor) -> Tensor:
    """Intersection over union [b,M,N] of boxes [b,M,4] and default boxes [N,4], both xyxy, rounded as torchvision's."""
    x0, y0, x1, y1 = boxes[..., None].unbind(2)  # [b,M,1]
    left, top, right, bottom = default_boxes.t()  # [N]
    width = x1.minimum(right).sub_(x0.maximum(left)).clamp_(min=0)
    height = y1.minimum(bottom).sub_(y0.maximum(top)).clamp_(min=0)
    common = width.mul_(height)
    union = ((x1 - x0) * (y1 - y0) + (right - left) * (bottom - top)).sub_(common)
    return common.div_(union)
