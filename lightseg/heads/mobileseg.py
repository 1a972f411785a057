"""MobileSeg: pooled context and light fusions of the deepest maps, a segmentation head for any feature pyramid.

PaddleSeg's MobileSeg in the form of its published configurations (https://github.com/PaddlePaddle/PaddleSeg); it has no
paper of its own and is kin to PP-LiteSeg (Peng et al., 2022, arXiv:2204.02681): the context is PP-LiteSeg's simple
pyramid pooling (section 3.3) of 1, 2 and 4 bins, and `fusion=attention` its unified attention fusion with spatial
attention (section 3.2). Convolutions are depthwise separable. PaddleSeg's figures on Cityscapes val, at 1024x2048 and
output stride 32: MobileNetV2 73.94 mIoU, MobileNetV3-Large 73.47, from backbones with its own distilled (SSLD) weights.

In training the fusions at larger strides have a classifier each, whose losses are added to that of the result. They are
used by `training_outputs` alone: neither `forward` nor an exported file has them.

Deviations: convolutions before batch norm have no bias. A batch of one image uses the running statistics of the bin
that covers the whole map, because one value per channel has no statistics of its own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.errors import LightsegError, nearest
from lightseg.heads.lraspp import _resize, _SegmentationHead
from lightseg.losses.segmentation import SegmentationLoss

LEVELS = 3  # maps that are fused if `strides` is None
WIDTHS = (32, 32, 64, 128)  # after the fusions, shallow to deep, the deepest last
CLASSIFIER = 32  # width before the classes
FUSIONS = ("sum", "attention")


class MobileSeg(_SegmentationHead):
    """Context of the deepest map, fused with it and with the next maps, deep to shallow; a classifier on the result.

    stages: (channels, stride) of each feature map, shallow to deep.
    strides: those of the fused maps, shallow to deep, as in [4, 8, 16, 32]; of several maps of a stride the deepest.
        None: the three deepest maps, or the two that there are.
    widths: channels after each fusion, in the order of `strides`; None: (32, 64, 128), with 32 for each further map.
    context: channels of the pooled context. bins: cells per side of its poolings.
    fusion: "sum", or "attention", which weighs both maps at every cell.
    auxiliary: weight of the losses of the classifiers at larger strides; 0: there are none.
    dropout: fraction of the channels dropped before the last layer.
    """

    BACKBONE_OPTIONS = {None: {"taps": "projection"}}

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        *,
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        context: int = 128,
        bins: Sequence[int] = (1, 2, 4),
        fusion: str = "sum",
        auxiliary: float = 1.0,
        dropout: float = 0.0,
        loss: SegmentationLoss | None = None,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise LightsegError(f"head.fusion={fusion}: {nearest(fusion, FUSIONS)}")
        self.levels = _levels(stages, strides)
        widths = WIDTHS[-len(self.levels) :] if widths is None else tuple(widths)
        if len(widths) != len(self.levels):
            raise LightsegError(
                f"head.widths={list(widths)}: give one for each of the {len(self.levels)} fused maps, whose strides "
                f"are {[stages[level][1] for level in self.levels]}"
            )
        channels = [stages[level][0] for level in self.levels]
        self.context = Context(channels[-1], context, bins)
        into = [*widths[1:], context]  # what each fusion gets from the deeper level
        self.fusions = nn.ModuleList(
            Fusion(*sides, attention=fusion == "attention") for sides in zip(channels, into, widths, strict=True)
        )
        self.classifier = _classifier(widths[0], num_classes, dropout)
        self.weight = auxiliary
        self.auxiliary: nn.ModuleList | None = None
        if auxiliary:
            self.auxiliary = nn.ModuleList(_classifier(width, num_classes, dropout) for width in widths[1:])
        self.criterion = loss or SegmentationLoss()

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Feature maps, shallow to deep -> logits [B,C,h,w] at the size of the shallowest fused map."""
        return self.classifier(self._fused(features)[0])

    def training_outputs(
        self, features: list[Tensor], image_size: tuple[int, int] | None = None
    ) -> Tensor | list[Tensor]:
        """The logits of `forward`, then those of the deeper fusions, shallow to deep; alone without auxiliary loss."""
        if self.auxiliary is None:
            return self.forward(features, image_size)
        fused = self._fused(features)
        return [layer(x) for layer, x in zip([self.classifier, *self.auxiliary], fused, strict=True)]

    def loss(self, outputs: Tensor | list[Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs of `forward` or of `training_outputs`, `targets["masks"]` [B,H,W] class ids -> `loss` and its parts;
        `loss_auxiliary` is the weighted sum of the losses at larger strides."""
        if isinstance(outputs, Tensor):
            return self.criterion(outputs, targets["masks"])
        losses = self.criterion(outputs[0], targets["masks"])
        auxiliary = torch.stack([self.criterion(logits, targets["masks"])["loss"] for logits in outputs[1:]]).sum()
        auxiliary = self.weight * auxiliary
        return {**losses, "loss": losses["loss"] + auxiliary, "loss_auxiliary": auxiliary.detach()}

    def _fused(self, features: list[Tensor]) -> list[Tensor]:
        """The results of the fusions, shallow to deep."""
        x = self.context(features[self.levels[-1]])
        results = []
        for level, fusion in zip(reversed(self.levels), reversed(self.fusions), strict=True):
            x = fusion(features[level], x)
            results.append(x)
        return results[::-1]


class Context(nn.Module):
    """The sum of the map's averages over b x b cells for each b of `bins`, each through a 1x1 convolution and resized
    back; then a separable convolution. The map itself is not part of the sum."""

    def __init__(self, channels: int, width: int, bins: Sequence[int]) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), _BatchNorm(width), nn.ReLU(inplace=True))
            for _ in self.bins
        )
        self.out = separable(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,h,w] -> [B,width,h,w]."""
        branches = zip(self.bins, self.branches, strict=True)
        return self.out(torch.stack([_resize(branch(self.pool(x, bins)), x) for bins, branch in branches]).sum(0))

    def pool(self, x: Tensor, bins: int) -> Tensor:
        """Averages [B,C,bins,bins] over the windows of adaptive average pooling, which exporters do not have: by
        average pooling where the bins divide the map, otherwise by a matrix of constants along each side."""
        height, width = x.shape[-2:]
        if height % bins == 0 and width % bins == 0:
            return F.avg_pool2d(x, (height // bins, width // bins))
        rows, columns = (window_means(side, bins).to(x) for side in (height, width))
        return rows @ x @ columns.T


class Fusion(nn.Module):
    """`low` is the backbone's map, `high` the deeper result, resized to it: their sum, or with attention (PP-LiteSeg,
    section 3.2) a weighted sum whose weights at a cell come from the mean and maximum over the channels of both."""

    def __init__(self, low: int, high: int, width: int, *, attention: bool) -> None:
        super().__init__()
        self.low = separable(low, high)
        self.attention = (
            nn.Sequential(
                nn.Conv2d(4, 2, 3, padding=1, bias=False),
                nn.BatchNorm2d(2),
                nn.ReLU(inplace=True),
                nn.Conv2d(2, 1, 3, padding=1, bias=False),
                nn.BatchNorm2d(1),
                nn.Sigmoid(),
            )
            if attention
            else None
        )
        self.out = separable(high, width)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """[B,low,h,w] and [B,high,h',w'] -> [B,width,h,w]."""
        low = self.low(low)
        high = _resize(high, low)
        if self.attention is None:
            return self.out(low + high)
        seen = [part for x in (low, high) for part in (x.mean(1, keepdim=True), x.amax(1, keepdim=True))]
        share = self.attention(torch.cat(seen, 1))
        return self.out(share * low + (1 - share) * high)


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a batch has a single value per channel."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def window_means(side: int, bins: int) -> Tensor:
    """[bins, side] float32: row i averages the cells from floor(i*side/bins) to ceil((i+1)*side/bins), the windows of
    adaptive average pooling."""
    rows = []
    for i in range(bins):
        start, end = i * side // bins, -(-(i + 1) * side // bins)
        rows.append([1 / (end - start) if start <= cell < end else 0.0 for cell in range(side)])
    return torch.tensor(rows)


def separable(into: int, out: int) -> nn.Sequential:
    """Depthwise 3x3 and 1x1 convolution, a batch norm after each, ReLU after the second."""
    return nn.Sequential(
        nn.Conv2d(into, into, 3, padding=1, groups=into, bias=False),
        nn.BatchNorm2d(into),
        nn.Conv2d(into, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


def _classifier(channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        separable(channels, CLASSIFIER), nn.Dropout2d(dropout), nn.Conv2d(CLASSIFIER, num_classes, 1, bias=False)
    )


def _levels(stages: Sequence[tuple[int, int]], strides: Sequence[int] | None) -> list[int]:
    """Indices of the fused maps, shallow to deep."""
    have = [stride for _, stride in stages]
    if strides is None:
        if len(have) < 2:
            raise LightsegError(f"head mobileseg fuses maps and this backbone has one, of stride {have[0]}: take raspp")
        return list(range(len(have)))[-LEVELS:]
    deepest = {stride: index for index, stride in enumerate(have)}
    if len(strides) < 2 or list(strides) != sorted(set(strides)) or not set(strides) <= set(deepest):
        raise LightsegError(
            f"head.strides={list(strides)}: give two or more of this backbone's strides, {sorted(deepest)}, in order"
        )
    return [deepest[stride] for stride in strides]
