"""LR-ASPP and R-ASPP: light segmentation heads for any feature pyramid.

LR-ASPP: "Searching for MobileNetV3" (Howard et al., ICCV 2019, arXiv 1905.02244), section 6.4, figure 10.
R-ASPP: "MobileNetV2" (Sandler et al., CVPR 2018, arXiv 1801.04381), section 6.3, as the MobileNetV3 paper uses it.
Cityscapes val, MobileNetV3-Large at output stride 16 (V3 paper, table 7): LR-ASPP F=128 72.36 mIoU, 1.51 M parameters,
9.74 B multiply-adds at 1024x2048; R-ASPP F=256 71.91, 1.76 M, 11.24 B.

Both return logits at a low resolution; the loss and `decode` upsample them. Deviation: the classifier of LR-ASPP's deep
branch runs before the upsampling. The function is the same because bilinear weights sum to one, and `num_classes`
channels are upsampled instead of `filters`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError, nearest
from lightseg.losses.segmentation import SegmentationLoss

LOW_LEVEL_STRIDE = 8


class _SegmentationHead(nn.Module):
    """Loss and decoding of low-resolution logits."""

    criterion: SegmentationLoss

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """`outputs` [B,C,h,w] logits, `targets["masks"]` [B,H,W] class ids -> `loss` and its parts."""
        return self.criterion(outputs, targets["masks"])

    def decode(self, outputs: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Logits [B,C,h,w] -> class ids [B,H,W] int64: the largest logit after bilinear upsampling to `image_size`."""
        # image by image: full-resolution logits of a Cityscapes batch of 8 take 1.3 GB
        size = tuple(image_size)
        logits = (F.interpolate(x[None].float(), size=size, mode="bilinear", align_corners=False) for x in outputs)
        return torch.cat([x.argmax(1) for x in logits])


class LRASPP(_SegmentationHead):
    """Lite R-ASPP: a gated 1x1 convolution on the deepest map, plus a 1x1 classifier on the map of stride 8.

    stages: (channels, stride) of each feature map, shallow to deep.
    variant: how the gate pools the deepest map.
        `paper`: average pooling of 49x49 with stride (16, 20), which the paper has for 64x128 maps (1024x2048 at output
        stride 16) and which gives a 1x4 grid. On smaller maps the kernel is min(49, side) on each side, with the same
        strides, so a map of up to 49x49 is pooled globally. The gate is upsampled bilinearly to the size of the map.
        `torchvision`: global pooling, as in torchvision's `LRASPPHead`; its parameters are the same in order.
    filters: F, the width of the deep branch. dropout: fraction of its channels dropped before the classifier.

    The low-level map is the first map of stride 8 (at output stride 8 further maps have that stride); without one, the
    deepest map of a smaller stride.
    """

    # Options of the backbone by variant. torchvision's lraspp_mobilenet_v3_large taps the first block of the stride-8
    # stage, also dilates the convolution that lost its stride, and has batch norms with eps 1e-3.
    BACKBONE_OPTIONS: dict[str, dict[str, Any]] = {
        "paper": {},
        "torchvision": {"taps": "first", "dilate_strided": True, "bn_eps": 1e-3},
    }

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        variant: str = "paper",
        filters: int = 128,
        dropout: float = 0.0,
        loss: SegmentationLoss | None = None,
    ) -> None:
        super().__init__()
        if variant not in self.BACKBONE_OPTIONS:
            raise LightsegError(f"unknown LR-ASPP variant '{variant}': {nearest(variant, self.BACKBONE_OPTIONS)}")
        self.low_index = _low_level_index(stages)
        low_channels, deep_channels = stages[self.low_index][0], stages[-1][0]
        self.cbr = _conv_bn_relu(deep_channels, filters)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1) if variant == "torchvision" else _PaperPool(),
            nn.Conv2d(deep_channels, filters, 1, bias=False),
            nn.Sigmoid(),
        )
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(filters, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.criterion = loss or SegmentationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Feature maps, shallow to deep -> logits [B,C,h,w] at the size of the low-level map."""
        low, deep = features[self.low_index], features[-1]
        gate = self.scale(deep)
        if gate.shape[-2:] != (1, 1):
            gate = _resize(gate, deep)
        deep_logits = self.high_classifier(self.dropout(self.cbr(deep) * gate))
        return self.low_classifier(low) + _resize(deep_logits, low)


class RASPP(_SegmentationHead):
    """Reduced ASPP: the 1x1 and the image-pooling branch of DeepLabV3's ASPP, on the deepest map.

    stages: (channels, stride) of each feature map, shallow to deep. filters: width of both branches and the projection.
    dropout: fraction of the projected channels dropped before the classifier.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        filters: int = 256,
        dropout: float = 0.0,
        loss: SegmentationLoss | None = None,
    ) -> None:
        super().__init__()
        channels = stages[-1][0]
        self.pixel_branch = _conv_bn_relu(channels, filters)
        self.image_branch = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_bn_relu(channels, filters))
        self.project = _conv_bn_relu(2 * filters, filters)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(filters, num_classes, 1)
        self.criterion = loss or SegmentationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Feature maps, shallow to deep -> logits [B,C,h,w] at the size of the deepest map."""
        deep = features[-1]
        if self.training and deep.shape[0] == 1:
            raise LightsegError(
                "R-ASPP cannot train on a batch of one: batch norm of its image branch has one value per channel"
            )
        pixels = self.pixel_branch(deep)
        image = self.image_branch(deep).expand_as(pixels)
        return self.classifier(self.dropout(self.project(torch.cat([pixels, image], 1))))


class _PaperPool(nn.Module):
    """Average pooling of min(49, height) x min(49, width) with stride (16, 20)."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.avg_pool2d(x, kernel_size=(min(49, height), min(49, width)), stride=(16, 20))


def _low_level_index(stages: Sequence[tuple[int, int]]) -> int:
    strides = [stride for _, stride in stages]
    if LOW_LEVEL_STRIDE in strides:
        return strides.index(LOW_LEVEL_STRIDE)
    shallower = [index for index, stride in enumerate(strides) if stride < LOW_LEVEL_STRIDE]
    if not shallower:
        raise LightsegError(
            f"LR-ASPP needs a feature map of stride 8 or less; this backbone's strides are {strides}: "
            "head.name=raspp needs none"
        )
    return shallower[-1]


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
