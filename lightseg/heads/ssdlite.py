"""SSDLite: a light detector on any pyramid of feature maps.

MobileNetV2 (Sandler et al., CVPR 2018, arXiv:1801.04381), section 6.2: SSD whose predictors are depthwise-separable.
MobileNetV3 (Howard et al., ICCV 2019, arXiv:1905.02244), section 6.3: the first predictor sits on the expansion of the
first block at stride 32 (the map of stride 16), the second on the layer before pooling (stride 32); four extra blocks
follow. Layers, numbers and results are those of torchvision's `ssdlite320_mobilenet_v3_large`: 21.3 AP on COCO val,
3.44 M parameters and 583 M multiply-adds at 320x320 with the reduced tail; the papers' own figures, on test-dev, are
MobileNetV2 22.1 AP, 4.3 M, 0.80 B; MobileNetV3-Large 22.0, 4.97 M, 0.62 B, reduced 22.0, 3.22 M, 0.51 B.

Deviations from torchvision: none in what is computed. A backbone without weights keeps its own initialisation and
batch-norm momentum, where torchvision uses N(0, 0.03) and 0.03 there too.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, nms

from lightseg.boxes import decode
from lightseg.errors import LightsegError, nearest
from lightseg.heads.default_boxes import BOXES_PER_PLACE, LEVELS, default_boxes
from lightseg.losses.detection import DetectionLoss

FIRST_STRIDE = 16
FOREGROUND_PRIOR = 0.01  # share of foreground that focal loss starts from (arXiv:1708.02002, section 4.1)
# Boxes up to which torchvision's `batched_nms` moves the classes apart to go through them at once, which rounds the
# overlaps otherwise than going class by class
MOVED_APART = 1000
SHORT_LIST = 1024  # candidates of one image that NMS begins with


class SSDLite(nn.Module):
    """Six maps, two predictors on each, default boxes, loss and decoding.

    stages: (channels, stride) of each feature map, shallow to deep, as the backbone declares them. The maps from stride
        16 on are used, the deepest of each stride; extra blocks make six of them.
    variant: "torchvision" asks batch norm eps 1e-3 of the backbone, as torchvision's weights want it; the head itself
        is the same.
    extra_channels: width of the four extra blocks; a net that ends at stride 16 gets one more before them, as wide as
        the first.
    score_threshold: detections must score more. topk_candidates: best boxes of one class that NMS sees.
    nms_threshold: overlap beyond which the lower-scored of two boxes of a class is dropped.
    detections_per_image: best detections that are kept.
    """

    # The first of these taps that the net can give: inverted residuals have expansions, other nets end their stages.
    BACKBONE_OPTIONS: dict[str | None, dict[str, Any]] = {
        None: {"taps": ("expansion", "last")},
        "torchvision": {"taps": ("expansion", "last"), "bn_eps": 1e-3},
    }

    # options that the weights do not depend on: an evaluation may choose others than the training
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
            raise LightsegError(f"extra_channels are four widths (512, 256, 256, 128), not {list(extra_channels)}")
        if topk_candidates < 1 or detections_per_image < 1:
            raise LightsegError("topk_candidates and detections_per_image are counts of 1 or more")
        if not (0 <= score_threshold < 1 and 0 < nms_threshold <= 1):
            raise LightsegError("score_threshold and nms_threshold are shares from 0 to 1 (0.001 and 0.55 are usual)")
        self.feature_indices = _feature_indices(stages)
        channels = [stages[index][0] for index in self.feature_indices]
        widths = list(extra_channels)
        if len(channels) == 1:
            widths.insert(0, widths[0])
        self.extra = nn.ModuleList()
        for width in widths[: LEVELS - len(channels)]:
            self.extra.append(_extra_block(channels[-1], width))
            channels.append(width)
        self.class_predictors = nn.ModuleList(_predictor(c, BOXES_PER_PLACE * (num_classes + 1)) for c in channels)
        self.box_predictors = nn.ModuleList(_predictor(c, BOXES_PER_PLACE * 4) for c in channels)
        self.num_classes = num_classes
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.topk_candidates = topk_candidates
        self.detections_per_image = detections_per_image
        self.criterion = loss or DetectionLoss()
        self._initialise()

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.03)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.criterion.focal:
            background = math.log(self.num_classes * (1 - FOREGROUND_PRIOR) / FOREGROUND_PRIOR)
            for predictor in self.class_predictors:
                bias = cast(Tensor, cast(nn.Sequential, predictor)[-1].bias)
                bias.data.view(BOXES_PER_PLACE, -1)[:, 0] = background

    def forward(self, features: list[Tensor], image_size: tuple[int, int]) -> dict[str, Tensor]:
        """Feature maps, shallow to deep, and (height, width) of the images in pixels.

        Returns:
            class_logits [B,N,C+1], background first; box_deltas [B,N,4]; default_boxes [N,4] xyxy in pixels.

        Raises:
            LightsegError: training on a batch of one whose last map is a single place.
        """
        maps = [features[index] for index in self.feature_indices]
        for block in self.extra:
            if self.training and maps[-1].shape[0] == 1 and max(maps[-1].shape[-2:]) <= 2:
                raise LightsegError(
                    f"SSDLite cannot train on a batch of one at {image_size[0]}x{image_size[1]}: "
                    "batch norm of its last map has one value a channel"
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
        """`targets["boxes"]`, a list of [n,4] xyxy pixels, and `["labels"]`, of [n] -> `loss`, `loss_box`,
        `loss_class`."""
        return self.criterion(**outputs, boxes=targets["boxes"], labels=targets["labels"])

    @torch.no_grad()
    def decode(self, outputs: dict[str, Tensor], image_size: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Raw outputs -> for each image `boxes` [n,4] xyxy in pixels, within the image, `labels` [n] in 0..C-1 and
        `scores` [n], best first. What torchvision's `SSD.postprocess_detections` gives, one label lower."""
        height, width = image_size
        boxes = decode(outputs["box_deltas"].float(), outputs["default_boxes"])
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        return [self._detections(*image) for image in zip(outputs["class_logits"].float(), boxes, strict=True)]

    def _detections(self, logits: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """One image: logits [N,C+1], boxes [N,4] xyxy."""
        scores = logits.softmax(1)[:, 1:]
        place, label = torch.where(scores > self.score_threshold)
        scores = scores[place, label]
        # NMS goes from the best candidate down: what it keeps of the best ones are the first that it keeps of all
        # others, so that lower ones need a look only where too few are left of these.
        length = SHORT_LIST
        while True:
            complete = length >= len(scores)
            short, order = scores.sort(descending=True) if complete else scores.topk(length)
            labels, by_class = label[order].sort(stable=True)  # class by class, the best of each first
            short, order = short[by_class], order[by_class]
            if len(short) > self.topk_candidates:
                rank = torch.arange(len(labels), device=labels.device) - torch.searchsorted(labels, labels)
                allowed = rank < self.topk_candidates
                short, labels, order = short[allowed], labels[allowed], order[allowed]
            candidates = boxes[place[order]]
            keep = self._nms(candidates, short, labels, complete)
            if complete or len(keep) >= self.detections_per_image:
                keep = keep[: self.detections_per_image]
                return {"boxes": candidates[keep], "labels": labels[keep], "scores": short[keep]}
            length *= 4

    def _nms(self, boxes: Tensor, scores: Tensor, labels: Tensor, complete: bool) -> Tensor:
        """Indices of the boxes that stay, best first, of boxes that come class by class, the best of each first."""
        if complete and len(boxes) <= MOVED_APART:
            return batched_nms(boxes, scores, labels + 1, self.nms_threshold)
        counts = [count for count in labels.bincount().tolist() if count]
        indices = torch.arange(len(boxes), device=boxes.device)
        each = zip(boxes.split(counts), scores.split(counts), indices.split(counts), strict=True)
        keep = torch.cat([i if len(i) == 1 else i[nms(b, s, self.nms_threshold)] for b, s, i in each])
        return keep[scores[keep].argsort(descending=True, stable=True)]


def _feature_indices(stages: Sequence[tuple[int, int]]) -> list[int]:
    """The deepest map of stride 16 and of each stride beyond it."""
    deepest = {stride: index for index, (_, stride) in enumerate(stages) if stride >= FIRST_STRIDE}
    if FIRST_STRIDE not in deepest:
        strides = [stride for _, stride in stages]
        raise LightsegError(f"SSDLite needs a feature map of stride 16; this backbone's strides are {strides}")
    return sorted(deepest.values())


def _conv_bn_relu6(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03),  # torchvision's, from TensorFlow's
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
    """On a CPU in full precision: of a depthwise stride-2 convolution of a single place, oneDNN (3.12) gives a bfloat16
    weight gradient that it fills only in part, the rest being whatever the memory held."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, block(x.float()))
    return cast(Tensor, block(x))


def _predictor(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        *_conv_bn_relu6(in_channels, in_channels, 3, groups=in_channels), nn.Conv2d(in_channels, out_channels, 1)
    )


def _predictions(predictors: nn.ModuleList, maps: list[Tensor], columns: int) -> Tensor:
    """One row of `columns` for each default box: [B,N,columns], map by map, row by row, six at each place."""
    answers = [predictor(one) for predictor, one in zip(predictors, maps, strict=True)]
    return torch.cat([a.permute(0, 2, 3, 1).reshape(a.shape[0], -1, columns) for a in answers], 1)
