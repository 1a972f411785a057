"""The super-network of a search space, as a backbone: DMaskingNAS of FBNetV2 (arXiv:2004.05565).

Every net of the space is in it: its weights are the leading channels of the widest net's. With all weight on a single
choice of each decision the super-network computes the output of that net (`lightseg.search.dmasking.derive`). Channels
beyond a width are zero. Residuals, and the absence of an expansion, are weighted by the probability of equal widths.

The input size (section 3.3) is searched with the net as the operation. The image is subsampled (nearest), the net runs
on it, and its feature maps are unpooled with zeros to the grid of the largest size and summed. Deviation: with more
than two sizes a step sums the two with the largest sampled weights, scaled to sum to 1, so time and memory do not grow
with the number of sizes. The first of the two passes is recomputed in backward (checkpointing), so that a single pass
is in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from math import prod
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightseg.backbones.dilation import dilate
from lightseg.backbones.pyramid import FeaturePyramid, Stage
from lightseg.backbones.supernet.gumbel import Decision
from lightseg.backbones.supernet.layers import ConvBN, MaskedBatchNorm, activate, prefixes
from lightseg.backbones.supernet.search_block import SearchBlock
from lightseg.catalog.search_space import Space

PROBE = (128, 128)  # pixels, size of the blank image for measuring strides


class SuperNet(nn.Module):
    """`stem` and `stages` with the names of `lightseg.backbones.fbnet.FBNet`, and the decisions in them."""

    def __init__(self, space: Space, in_chans: int = 3) -> None:
        super().__init__()
        self.space = space
        self.input_size, self.stem_out, self.stem_act = (
            Decision(choices) for choices in (space.input_sizes, space.stem.out, space.stem.act)
        )
        widest = max(space.stem.out)
        self.register_buffer("stem_prefixes", prefixes(space.stem.out, widest), persistent=False)
        self.stem = ConvBN(in_chans, widest, 3, stride=2)
        in_widths: Sequence[int] = space.stem.out
        stages, levels, stride = [], [("stem", widest, 2)], 2
        for number, slots in enumerate(space.stages):
            blocks = []
            for slot in slots:
                blocks.append(SearchBlock(slot, in_widths, space))
                in_widths = slot.out
            stages.append(nn.ModuleList(blocks))
            stride *= slots[0].stride
            levels = [level for level in levels if level[2] < stride]
            levels.append((f"stages.{number}", max(in_widths), stride))
        self.stages = nn.ModuleList(stages)
        self.levels = [name for name, *_ in levels]
        self.feature_info = FeatureInfo(
            [{"module": name, "num_chs": width, "reduction": stride} for name, width, stride in levels],
            tuple(range(len(levels))),
        )
        self.pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                for weight in getattr(module, "kernels", lambda conv=module: [conv.weight])():
                    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def blocks(self) -> Iterator[tuple[str, SearchBlock]]:
        """(module name, block) in the order of the net."""
        stages: Any = self.stages
        for number, stage in enumerate(stages):
            for index, block in enumerate(stage):
                yield f"stages.{number}.{index}", block

    def features(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_chans, H, W] -> feature maps of the levels, from the smallest stride to the largest."""
        acts, in_weights = self.stem_act.weights(), self.stem_out.weights()
        x = activate(self.stem(x), acts, self.stem_act.choices)
        if len(self.stem_out) > 1:
            with torch.autocast(x.device.type, enabled=False):
                mask = in_weights @ self.stem_prefixes  # type: ignore[operator]
            x = x * mask[:, None, None]
        maps = [x]
        for name, stage in zip((f"stages.{n}" for n in range(len(self.stages))), self.stages, strict=True):
            for block in stage:  # type: ignore[attr-defined]
                x, in_weights = block(x, in_weights)
            if name in self.levels:
                maps.append(x)
        return maps[-len(self.levels) :]

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_chans, H, W], at the largest input size.

        Feature maps are for that size in training, and for the chosen size in evaluation mode.
        """
        sizes, largest = self.input_size, self.input_size.choices[-1]
        if len(sizes) == 1:
            return self.features(x)
        if not self.training or sizes.sampled is None:
            return self.features(subsample(x, sizes.chosen / largest))
        weights, chosen = sizes.weights().topk(2)
        passes = [(w, sizes.choices[i]) for w, i in zip(weights / weights.sum(), chosen.tolist(), strict=True)]
        if float(weights[1].detach()) == 0:
            passes = passes[:1]
        grids = [tuple(-(-side // stride) for side in x.shape[-2:]) for stride in self.strides()]
        total: list[Tensor] = []
        for number, (weight, size) in enumerate(passes):
            small = subsample(x, size / largest)
            if number == 0 and len(passes) > 1:
                contexts = partial(_checkpoint_contexts, self)
                maps = checkpoint(self.features, small, use_reentrant=False, context_fn=contexts)
            else:
                maps = self.features(small)
            maps = [unpool(level, grid) * weight for level, grid in zip(maps, grids, strict=True)]
            total = [a + b for a, b in zip(total, maps, strict=True)] if total else maps
        return total

    def strides(self) -> list[int]:
        """The strides of the feature maps, after dilation."""
        strides = {"stem": int(self.stem.conv.stride[0])}
        for name, block in self.blocks():
            strides[name.rpartition(".")[0]] = prod([*list(strides.values())[-1:], int(block.depthwise.conv.stride[0])])
        return [strides[name] for name in self.levels]


def subsample(x: Tensor, ratio: float) -> Tensor:
    """x [B, C, H, W] reduced to `ratio` of its height and width, with nearest pixels."""
    if ratio == 1:
        return x
    rows, columns = (_nearest_indices(max(1, round(side * ratio)), side, x.device) for side in x.shape[-2:])
    return x.index_select(2, rows).index_select(3, columns)


def unpool(x: Tensor, size: Sequence[int]) -> Tensor:
    """The inverse of `subsample`: x at its positions in a grid of `size` (height, width), and zeros elsewhere."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    rows, columns = (_nearest_indices(small, large, x.device) for small, large in zip(x.shape[-2:], size, strict=True))
    tall = x.new_zeros(*x.shape[:2], size[0], x.shape[3]).index_copy(2, rows, x)
    return x.new_zeros(*x.shape[:2], *size).index_copy(3, columns, tall)


def _nearest_indices(small: int, large: int, device: torch.device) -> Tensor:
    return torch.arange(small, device=device) * large // small


def _checkpoint_contexts(net: nn.Module) -> tuple[Any, Any]:
    """The contexts of the forward pass and of its recomputation, which must not update running statistics."""
    return nullcontext(), _frozen_statistics(net)


@contextmanager
def _frozen_statistics(net: nn.Module) -> Iterator[None]:
    norms = [module for module in net.modules() if isinstance(module, MaskedBatchNorm)]
    for norm in norms:
        norm.frozen = True
    try:
        yield
    finally:
        for norm in norms:
            norm.frozen = False


def create_supernet(space: Space, *, output_stride: int = 32, in_chans: int = 3) -> FeaturePyramid:
    """The super-network as a backbone. Its feature maps have the channels of the widest net."""
    net = SuperNet(space, in_chans)
    if output_stride < 32:
        with torch.no_grad():
            net.input_size.alpha[-1] = 1  # strides are measured at the largest size
            dilate(net, space.name, output_stride, PROBE, in_chans, False)
            net.input_size.alpha.zero_()
    pyramid = FeaturePyramid(net, space.name, in_chans)
    pyramid.stages = tuple(Stage(s.channels, stride) for s, stride in zip(pyramid.stages, net.strides(), strict=True))
    return pyramid
