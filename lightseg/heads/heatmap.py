"""Heatmaps of keypoints at stride 4 from any feature pyramid: SimpleBaseline's head, and a light head.

`simple`: "Simple Baselines for Human Pose Estimation and Tracking" (Xiao et al., ECCV 2018, arXiv:1804.06208), section
2: 4x4 deconvolutions of 256 channels with stride 2, batch norm and ReLU on the deepest map, three of them from stride
32, and a 1x1 convolution. Names and shapes of its parameters are those of mmpose's HeatmapHead (`deconv_layers.0`,
`final_layer`). 7.35 M parameters on MobileNetV2's 1280 channels, 9.57 M and 1.565 G multiply-adds with the net at
256x192. mmpose's figures on COCO val2017 with detector boxes and flip test: MobileNetV2 64.8 AP, ShuffleNetV2 60.2,
ShuffleNetV1 g3 58.7.

mmpose takes the map after the net's last 1x1 convolution, before pooling. A pyramid here does not include this layer;
`last_channels` adds one of that width (1280, ShuffleNetV2 1024) with random weights.

`light`: a decoder that narrows towards stride 4. In each step a map is projected, upsampled (projecting first is four
times cheaper), added to a 1x1 projection of the backbone's map of that stride, and refined by residual
depthwise-separable 5x5 blocks: wide kernels gain most in pose for their cost (Lite Pose, Wang et al., CVPR 2022,
arXiv:2205.01271, section 3.2), and at strides 32 and 16 they cover most of a person. 0.29 M parameters and 0.09 G
multiply-adds on MobileNetV2 at 256x192, 8 % of `simple`.
"""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError, nearest
from lightseg.heads.codecs import HeatmapCodec
from lightseg.losses.pose import PoseLoss, check_targets

STRIDE = 4  # of the heatmaps
VARIANTS = ("light", "simple")
DECONVOLUTION = 256  # channels of `simple`
KERNEL = 5  # of the depthwise convolutions
WIDENING = {4: 1.0, 8: 1.5, 16: 2.0}  # factor of `width` by stride in `light`; 3 for larger strides


class HeatmapHead(nn.Module):
    """A heatmap per keypoint, with targets, loss and decoding.

    stages: (channels, stride) of each feature map, shallow to deep. num_classes: number of keypoints.
    variant: `light` or `simple`. width: channels of `light` at stride 4. blocks: refining blocks of `light` per stride.
    last_channels: for `simple`, channels of an additional 1x1 convolution before it.
    codec: `udp` or `msra`; dark: refine peaks by DARK (None: yes for udp, no for msra); sigma: of the Gaussians, in
        cells; rounded: for msra, Gaussians are centered on cells, as in training of the published nets.
    """

    DECODING = ("dark",)

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        variant: str = "light",
        width: int = 64,
        blocks: int = 2,
        last_channels: int | None = None,
        codec: str = "udp",
        dark: bool | None = None,
        sigma: float = 2.0,
        rounded: bool = False,
        loss: PoseLoss | None = None,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise LightsegError(f"unknown variant '{variant}' of head heatmap: {nearest(str(variant), VARIANTS)}")
        if width < 2 or blocks < 1:
            raise LightsegError(f"width={width} and blocks={blocks}: must be 2 channels or more, and 1 or more")
        if last_channels is not None and (variant != "simple" or last_channels < 1):
            raise LightsegError(f"last_channels={last_channels}: must be 1 or more, and is for variant simple only")
        if stages[-1][1] < STRIDE:
            raise LightsegError(f"head heatmap needs a map of stride {STRIDE} or more, not {stages[-1][1]}")
        self.num_classes = num_classes
        self.codec = HeatmapCodec(codec, codec == "udp" if dark is None else dark, rounded, sigma)
        self.criterion = loss or PoseLoss()
        self.light: _LightDecoder | None = None
        if variant == "simple":
            channels, stride = stages[-1]
            self.last = nn.Identity() if last_channels is None else _conv_bn_relu(channels, last_channels)
            self.deconv_layers, channels = _deconvolutions(last_channels or channels, stride)
        else:
            self.light, channels = _LightDecoder(stages, width, blocks), width
        self.final_layer = nn.Conv2d(channels, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose2d) or layer is self.final_layer:
                nn.init.normal_(cast(Tensor, layer.weight), std=0.001)  # as in SimpleBaseline: heatmaps start empty
        nn.init.zeros_(cast(Tensor, self.final_layer.bias))

    def forward(self, features: list[Tensor], image_size: tuple[int, int]) -> Tensor:
        """Feature maps, shallow to deep, and (height, width) of the images -> heatmaps [B,K,h,w] in about 0..1, of the
        image size / 4, rounded up."""
        if self.light is not None:
            return self.final_layer(self.light(features))
        maps = self.deconv_layers(self.last(features[-1]))
        # crop the cells beyond the border of an image whose size the deepest stride does not divide
        height, width = (-(-side // STRIDE) for side in image_size)
        return self.final_layer(maps[..., :height, :width])

    def loss(self, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`outputs` [B,K,h,w]; from the batch `keypoints` [B,K,2] px, `visible` [B,K], `area` [B] px^2, and the size of
        `images` -> `loss` and its parts."""
        check_targets(batch, len(outputs), self.num_classes)
        (height, width), map_size = batch["images"].shape[-2:], (outputs.shape[2], outputs.shape[3])
        targets, weights = self.codec.encode(batch["keypoints"], batch["visible"], (height, width), map_size)
        positions = self.codec.positions((height, width), map_size, outputs.device)
        oks = self.criterion.oks_along(positions, batch["keypoints"], batch["area"])
        return self.criterion.heatmap_loss(outputs, targets, weights, self.codec.sigma, oks)

    def decode(self, outputs: Tensor, image_size: tuple[int, int]) -> dict[str, Tensor]:
        """Heatmaps [B,K,h,w] -> `keypoints` float32 [B,K,2] in px of the image, and `scores` [B,K] in 0..1."""
        keypoints, scores = self.codec.decode(outputs, image_size)
        return {"keypoints": keypoints, "scores": scores}

    def unflip(self, outputs: Tensor, swap: Sequence[int]) -> Tensor:
        """Outputs [B,K,h,w] for mirrored images, mirrored back. swap: per keypoint the index of its mirror image."""
        return self.codec.unflip(outputs[:, list(swap)], STRIDE)

    def average(self, outputs: Tensor, others: Tensor) -> Tensor:
        return (outputs + others) / 2


class _LightDecoder(nn.Module):
    """Decoder from the deepest map to stride 4."""

    def __init__(self, stages: Sequence[tuple[int, int]], width: int, blocks: int) -> None:
        super().__init__()
        deepest = {stride: index for index, (_, stride) in enumerate(stages)}
        stride = stages[-1][1]
        channels = _width(width, stride)
        self.entry = _conv_bn_relu(stages[-1][0], channels)
        self.refinements = nn.ModuleList([_refinement(channels, blocks)])
        self.skip_indices: list[int | None] = []
        self.projections, self.skips = nn.ModuleList(), nn.ModuleList()
        while stride > STRIDE:
            stride //= 2
            narrower = _width(width, stride)
            index = deepest.get(stride)
            self.projections.append(_conv_bn(channels, narrower))
            self.skip_indices.append(index)
            self.skips.append(nn.Identity() if index is None else _conv_bn(stages[index][0], narrower))
            self.refinements.append(_refinement(narrower, blocks))
            channels = narrower

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.refinements[0](self.entry(features[-1]))
        steps = zip(self.projections, self.skip_indices, self.skips, list(self.refinements)[1:], strict=True)
        for project, index, skip, refine in steps:
            x = project(x)
            if index is None:  # a net without a map of this stride
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            else:
                lateral = skip(features[index])
                x = F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=False) + lateral
            x = refine(F.relu(x))
        return x


class _Block(nn.Module):
    """Residual block of a depthwise and a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.pointwise = _conv_bn(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.pointwise(F.relu(self.norm(self.depthwise(x)))))


def _refinement(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(channels) for _ in range(blocks)))


def _width(width: int, stride: int) -> int:
    return round(width * WIDENING.get(stride, 3.0))


def _deconvolutions(channels: int, stride: int) -> tuple[nn.Sequential, int]:
    """The deconvolutions from the deepest map to stride 4, and their output channels."""
    layers: list[nn.Module] = []
    while stride > STRIDE:
        layers += [
            nn.ConvTranspose2d(channels, DECONVOLUTION, 4, 2, 1, bias=False),
            nn.BatchNorm2d(DECONVOLUTION),
            nn.ReLU(inplace=True),
        ]
        channels, stride = DECONVOLUTION, stride // 2
    return nn.Sequential(*layers), channels


def _conv_bn(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*_conv_bn(in_channels, out_channels), nn.ReLU(inplace=True))
