"""SSDLite: a light detection head for any feature pyramid.

MobileNetV2 (Sandler et al., CVPR 2018, arXiv:1801.04381), section 6.2: SSD with depthwise-separable predictors.
MobileNetV3 (Howard et al., ICCV 2019, arXiv:1905.02244), section 6.3: the first predictor is on the expansion of the
first block at stride 32 (a map of stride 16), the second on the layer before pooling (stride 32); four extra blocks
follow. Layers and results equal those of torchvision's `ssdlite320_mobilenet_v3_large`: 21.3 AP on COCO val, 3.44 M
parameters and 583 M multiply-adds at 320x320 with the reduced tail. Figures of the papers on test-dev: MobileNetV2
22.1 AP, 4.3 M, 0.80 B; MobileNetV3-Large 22.0, 4.97 M, 0.62 B, reduced 22.0, 3.22 M, 0.51 B.

Deviation from torchvision: a backbone without weights keeps its initialization and batch-norm momentum; torchvision
uses N(0, 0.03) and 0.03 there too.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, nms

from lightseg.boxes import decode
from lightseg.errors import LightsegError, nearest
from lightseg.heads.default_boxes import BOXES_PER_CELL, LEVELS, default_boxes
from lightseg.losses.detection import DetectionLoss

FIRST_STRIDE = 16
FOREGROUND_PRIOR = 0.01  # initial probability of foreground with focal loss (arXiv:1708.02002, section 4.1)
# Up to this number of boxes torchvision's `batched_nms` offsets boxes by class and runs NMS once, which rounds the
# overlaps differently from NMS class by class
MAX_OFFSET_BOXES = 1000
SHORT_LIST = 1024  # candidates per image that NMS begins with


class SSDLite(nn.Module):
    """Six feature maps with two predictors each, default boxes, loss and decoding.

    stages: (channels, stride) of each feature map, shallow to deep. The deepest maps of stride 16 and of each larger
        stride are used; extra blocks follow until there are six maps.
    variant: "torchvision" builds the backbone with batch norm eps 1e-3, as torchvision's weights need; the head is the
        same.
    extra_channels: width of the four extra blocks; a net that ends at stride 16 has one more before them, as wide as
        the first.
    score_threshold: detections have a score above it. topk_candidates: number of best boxes per class before NMS.
    nms_threshold: IoU above which NMS drops the box with the lower score, of two boxes of a class.
    detections_per_image: number of best detections that are kept.
    """

    # The first of the taps that the net supports: only inverted residuals have expansions.
    BACKBONE_OPTIONS: dict[str | None, dict[str, Any]] = {
        None: {"taps": ("expansion", "last")},
        "torchvision": {"taps": ("expansion", "last"), "bn_eps": 1e-3},
    }

    # options that weights do not depend on: evaluation may differ from training
    DECODING = ("score_threshold", "topk_candidates", "nms_threshold", "detections_per_image")

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        variant: str | None = None,
        extra_channels: Sequence[int] = (512, 256, 256, 128),
        score_threshold: float = 0.001,
        nms_threshold: float = 0.55,
        topk_candidates: int = 300,
        detections_per_image: int = 300,
        loss: DetectionLoss | None = None,
    ) -> None:
        super().__init__()
        if variant not in self.BACKBONE_OPTIONS:
            raise LightsegError(f"unknown SSDLite variant '{variant}': {nearest(str(variant), ['torchvision'])}")
        if len(extra_channels) != 4 or min(extra_channels) < 2:
            raise LightsegError(f"extra_channels={list(extra_channels)}: give four widths, as in [512, 256, 256, 128]")
        if topk_candidates < 1 or detections_per_image < 1:
            raise LightsegError("topk_candidates and detections_per_image must be 1 or more")
        if not (0 <= score_threshold < 1 and 0 < nms_threshold <= 1):
            raise LightsegError("score_threshold and nms_threshold must be from 0 to 1 (0.001 and 0.55 are usual)")
        self.feature_indices = _feature_indices(stages)
        channels = [stages[index][0] for index in self.feature_indices]
        widths = list(extra_channels)
        if len(channels) == 1:
            widths.insert(0, widths[0])
        self.extra = nn.ModuleList()
        for width in widths[: LEVELS - len(channels)]:
            self.extra.append(_extra_block(channels[-1], width))
            channels.append(width)
        self.class_predictors = nn.ModuleList(_predictor(c, BOXES_PER_CELL * (num_classes + 1)) for c in channels)
        self.box_predictors = nn.ModuleList(_predictor(c, BOXES_PER_CELL * 4) for c in channels)
        self.num_classes = num_classes
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.topk_candidates = topk_candidates
        self.detections_per_image = detections_per_image
        self.criterion = loss or DetectionLoss()
        self._initialize()

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.03)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.criterion.focal:
            background = math.log(self.num_classes * (1 - FOREGROUND_PRIOR) / FOREGROUND_PRIOR)
            for predictor in self.class_predictors:
                bias = cast(Tensor, cast(nn.Sequential, predictor)[-1].bias)
                bias.data.view(BOXES_PER_CELL, -1)[:, 0] = background

    def forward(self, features: list[Tensor], image_size: tuple[int, int]) -> dict[str, Tensor]:
        """Feature maps, shallow to deep, and (height, width) of the images in pixels.

        Returns:
            class_logits [B,N,C+1], background first; box_deltas [B,N,4]; default_boxes [N,4] xyxy in pixels.

        Raises:
            LightsegError: training on a batch of one whose last map is a single cell.
        """
        maps = [features[index] for index in self.feature_indices]
        for block in self.extra:
            if self.training and maps[-1].shape[0] == 1 and max(maps[-1].shape[-2:]) <= 2:
                raise LightsegError(
                    f"SSDLite cannot train on a batch of one at {image_size[0]}x{image_size[1]}: "
                    "batch norm of its last map has one value per channel"
                )
            maps.append(_apply_extra(block, maps[-1]))
        return {
            "class_logits": _predictions(self.class_predictors, maps, self.num_classes + 1),
            "box_deltas": _predictions(self.box_predictors, maps, 4),
            "default_boxes": default_boxes(
                [(m.shape[2], m.shape[3]) for m in maps], (image_size[0], image_size[1]), maps[0].device
            ),
        }

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Any]) -> dict[str, Tensor]:
        """`targets["boxes"]`, a list of [n,4] xyxy in pixels, and `targets["labels"]`, a list of [n] -> `loss`,
        `loss_box`, `loss_class`."""
        return self.criterion(**outputs, boxes=targets["boxes"], labels=targets["labels"])

    @torch.no_grad()
    def decode(self, outputs: dict[str, Tensor], image_size: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Raw outputs -> for each image `boxes` [n,4] xyxy in pixels, clipped to the image, `labels` [n] in 0..C-1 and
        `scores` [n], best first. Equal to torchvision's `SSD.postprocess_detections`, whose labels begin at 1."""
        height, width = image_size
        boxes = decode(outputs["box_deltas"].float(), outputs["default_boxes"])
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        return [self._detections(*image) for image in zip(outputs["class_logits"].float(), boxes, strict=True)]

    def _detections(self, logits: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """The detections of one image: logits [N,C+1], boxes [N,4] xyxy."""
        scores = logits.softmax(1)[:, 1:]
        index, label = torch.where(scores > self.score_threshold)
        scores = scores[index, label]
        # NMS goes from the best candidate down, so the boxes that it keeps of the best candidates are the first that it
        # keeps of all. The list grows only if too few of them are left.
        length = SHORT_LIST
        while True:
            complete = length >= len(scores)
            short, order = scores.sort(descending=True) if complete else scores.topk(length)
            labels, by_class = label[order].sort(stable=True)  # by class, and in each class best first
            short, order = short[by_class], order[by_class]
            if len(short) > self.topk_candidates:
                rank = torch.arange(len(labels), device=labels.device) - torch.searchsorted(labels, labels)
                allowed = rank < self.topk_candidates
                short, labels, order = short[allowed], labels[allowed], order[allowed]
            candidates = boxes[index[order]]
            keep = self._nms(candidates, short, labels, complete)
            if complete or len(keep) >= self.detections_per_image:
                keep = keep[: self.detections_per_image]
                return {"boxes": candidates[keep], "labels": labels[keep], "scores": short[keep]}
            length *= 4

    def _nms(self, boxes: Tensor, scores: Tensor, labels: Tensor, complete: bool) -> Tensor:
        """Indices of the boxes that NMS keeps, best first. `boxes` are sorted by class, and in each class by score."""
        if complete and len(boxes) <= MAX_OFFSET_BOXES:
            return batched_nms(boxes, scores, labels + 1, self.nms_threshold)
        counts = [count for count in labels.bincount().tolist() if count]
        indices = torch.arange(len(boxes), device=boxes.device)
        classes = zip(boxes.split(counts), scores.split(counts), indices.split(counts), strict=True)
        keep = torch.cat([i if len(i) == 1 else i[nms(b, s, self.nms_threshold)] for b, s, i in classes])
        return keep[scores[keep].argsort(descending=True, stable=True)]


def _feature_indices(stages: Sequence[tuple[int, int]]) -> list[int]:
    """The indices of the deepest maps of stride 16 and of each larger stride."""
    deepest = {stride: index for index, (_, stride) in enumerate(stages) if stride >= FIRST_STRIDE}
    if FIRST_STRIDE not in deepest:
        strides = [stride for _, stride in stages]
        raise LightsegError(f"SSDLite needs a feature map of stride 16; this backbone's strides are {strides}")
    return sorted(deepest.values())


def _conv_bn_relu6(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03),  # as in torchvision and TensorFlow
        nn.ReLU6(inplace=True),
    ]


def _extra_block(in_channels: int, out_channels: int) -> nn.Sequential:
    half = out_channels // 2
    return nn.Sequential(
        *_conv_bn_relu6(in_channels, half),
        *_conv_bn_relu6(half, half, 3, stride=2, groups=half),
        *_conv_bn_relu6(half, out_channels),
    )


def _apply_extra(block: nn.Module, x: Tensor) -> Tensor:
    """Run an extra block, on a CPU in float32: oneDNN 3.12 leaves a part of the bfloat16 weight gradient of a depthwise
    stride-2 convolution uninitialized if the output is a single cell."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, block(x.float()))
    return cast(Tensor, block(x))


def _predictor(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        *_conv_bn_relu6(in_channels, in_channels, 3, groups=in_channels), nn.Conv2d(in_channels, out_channels, 1)
    )


def _predictions(predictors: nn.ModuleList, maps: list[Tensor], columns: int) -> Tensor:
    """A row of `columns` per default box: [B,N,columns], map by map, row by row, six in each cell."""
    outputs = [predictor(x) for predictor, x in zip(predictors, maps, strict=True)]
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns) for x in outputs], 1)
