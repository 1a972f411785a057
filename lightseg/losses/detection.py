"""The loss of a detection head: SSD's MultiBox loss, or focal loss instead of its hard negative mining.

SSD (Liu et al., ECCV 2016, arXiv:1512.02325), section 2.2: every default box is matched to the ground-truth box with
the largest IoU, if it is 0.5 or more, and every ground-truth box to its best default box. The loss is smooth L1 on the
matched boxes, and cross-entropy on them and on the three times as many hardest negatives, both divided by the number of
matched boxes of the batch. Value and gradient equal those of torchvision's `SSD.compute_loss` with its `SSDMatcher`.
Deviation: if an image has fewer than three negatives per match, torchvision counts matched boxes a second time; here
all negatives count once.

Focal loss: "Focal Loss for Dense Object Detection" (Lin et al., ICCV 2017, arXiv:1708.02002), section 3.2. Deviation:
on the softmax over classes and background instead of a sigmoid per class, so that scores are decoded alike.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lightseg.boxes import encode
from lightseg.errors import LightsegError

MAX_OVERLAPS = 2**20  # at once: 4 MB of float32 per array; 24 images of 100 boxes have 8 M overlaps at 320x320


class DetectionLoss(nn.Module):
    """Smooth L1 and cross-entropy over default boxes.

    iou_threshold: IoU from which a default box is matched. negative_ratio: hardest negatives per matched box. focal:
    focal loss on all default boxes instead of the hardest; `focal_alpha` is the weight of matched boxes, 1 - alpha that
    of the others, and `focal_gamma` the exponent that reduces the weight of easy boxes.
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
            raise LightsegError(f"iou_threshold={iou_threshold}: must be above 0 and at most 1 (0.5 is usual)")
        if negative_ratio <= 0:
            raise LightsegError(f"negative_ratio={negative_ratio}: must be above 0 (3 is usual)")
        if not 0 < focal_alpha < 1 or focal_gamma < 0:
            raise LightsegError(
                f"focal_alpha={focal_alpha} must be between 0 and 1 (0.25 is usual) and focal_gamma={focal_gamma} "
                "0 or more (2 is usual)"
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
            boxes, labels: per image [n,4] xyxy and [n] in 0..C-1; n may be 0.

        Returns:
            `loss`, and its summands `loss_box` and `loss_class` without gradient. A batch without boxes has loss 0 and
            zero gradients (with focal loss, those of its background).

        Raises:
            LightsegError: on the CPU, for a label that is not a class, or a box without area.
        """
        self._check(class_logits, boxes, labels)
        with torch.autocast(class_logits.device.type, enabled=False):  # sums over many boxes are for float32
            matches = match(boxes, default_boxes, self.iou_threshold)
            image, default = torch.where(matches >= 0)
            box = matches[image, default]
            starts = torch.tensor([0, *(len(b) for b in boxes[:-1])], device=box.device).cumsum(0)
            truth = starts[image] + box  # index among all boxes of the batch
            rows = image * class_logits.shape[1] + default  # index among all default boxes of the batch
            matched = max(1, len(rows))
            offsets = encode(torch.cat(list(boxes)).float()[truth], default_boxes[default])
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

    def _loss_with_hard_negatives(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of the cross-entropy of the matched boxes and of each image's hardest negatives."""
        # the choice needs the losses of all boxes, but gradients are needed only for the chosen few
        positive = targets > 0
        count = (positive.sum(1) * self.negative_ratio).minimum((~positive).sum(1))
        max_count = int(count.ceil().max()) if len(count) else 0
        with torch.no_grad():  # the target of a negative is the background, whose logit is the first
            losses = (logits.logsumexp(2) - logits[..., 0]).masked_fill_(positive, -torch.inf)
            hardest = losses.topk(max_count, sorted=True).indices
        rank = torch.arange(max_count, device=logits.device)
        row = hardest + torch.arange(len(logits), device=logits.device)[:, None] * logits.shape[1]
        rows = torch.cat([positive.flatten().nonzero()[:, 0], row[rank < count[:, None]]])
        chosen = logits.flatten(0, 1).index_select(0, rows)
        return F.cross_entropy(chosen, targets.flatten()[rows], reduction="sum")

    def _focal_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_probability = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(2)
        log_probability = log_probability.clamp(max=0)  # above 0 by rounding, the power of 1 - p would be NaN
        weight = torch.where(targets > 0, self.focal_alpha, 1 - self.focal_alpha)
        return -(weight * (1 - log_probability.exp()) ** self.focal_gamma * log_probability).sum()

    def _check(self, class_logits: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
        if not len(class_logits) == len(boxes) == len(labels):
            raise LightsegError(f"{len(class_logits)} images, but boxes of {len(boxes)} and labels of {len(labels)}")
        for index, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
            if image_boxes.shape != (len(image_labels), 4):
                raise LightsegError(
                    f"image {index} of the batch: boxes {list(image_boxes.shape)} for {len(image_labels)} labels"
                )
        if class_logits.device.type != "cpu":  # reading a value would stall an accelerator
            return
        all_labels, all_boxes = torch.cat(list(labels)), torch.cat(list(boxes))
        if not len(all_labels):
            return
        classes = class_logits.shape[2] - 1
        smallest, largest = map(int, all_labels.aminmax())
        if smallest < 0 or largest >= classes:
            label = smallest if smallest < 0 else largest
            raise LightsegError(f"label {label} of a box is not one of the classes 0..{classes - 1}")
        if not bool((all_boxes[:, 2:] > all_boxes[:, :2]).all()):  # false for NaN too
            bad = next(box for box in all_boxes.tolist() if not (box[2] > box[0] and box[3] > box[1]))
            raise LightsegError(f"box {bad} (x0, y0, x1, y1) has no area")


@torch.no_grad()
def match(boxes: Sequence[Tensor], default_boxes: Tensor, iou_threshold: float = 0.5) -> Tensor:
    """The index of the box that each default box of each image is matched to: int64 [B,N], -1 for none.

    A default box is matched to the box with the largest IoU, if it reaches the threshold. In addition each box is
    matched to the default box with the largest IoU; if two boxes have the same one, the last box is matched.

    boxes: per image [n,4] xyxy; n may be 0. default_boxes: [N,4] xyxy.
    """
    matches = torch.full((len(boxes), len(default_boxes)), -1, device=default_boxes.device)
    counts = [len(b) for b in boxes]
    max_count = max(counts, default=0)
    if not max_count:
        return matches
    padded = pad_sequence([b.to(default_boxes) for b in boxes], batch_first=True)  # [B,M,4]; padding has IoU 0
    step = max(1, MAX_OVERLAPS // (max_count * len(default_boxes)))
    for start in range(0, len(boxes), step):
        images = slice(start, start + step)
        max_count = max(counts[images])
        if not max_count:
            continue
        overlaps = _overlaps(padded[images, :max_count], default_boxes)  # [b,M,N]
        best, best_box = overlaps.max(1)
        matches[images] = best_box.masked_fill_(best < iou_threshold, -1)
        order = torch.arange(max_count, device=matches.device)
        real = order < torch.tensor(counts[images], device=matches.device)[:, None]
        forced = torch.full_like(matches[images], -1)
        forced.scatter_reduce_(1, overlaps.argmax(2), order.where(real, -1), "amax")
        matches[images] = forced.where(forced >= 0, matches[images])
    return matches


def _overlaps(boxes: Tensor, default_boxes: Tensor) -> Tensor:
    """IoU [b,M,N] of boxes [b,M,4] and default boxes [N,4], both xyxy, with the rounding of torchvision."""
    x0, y0, x1, y1 = boxes[..., None].unbind(2)  # [b,M,1]
    left, top, right, bottom = default_boxes.t()  # [N]
    width = x1.minimum(right).sub_(x0.maximum(left)).clamp_(min=0)
    height = y1.minimum(bottom).sub_(y0.maximum(top)).clamp_(min=0)
    common = width.mul_(height)
    union = ((x1 - x0) * (y1 - y0) + (right - left) * (bottom - top)).sub_(common)
    return common.div_(union)
