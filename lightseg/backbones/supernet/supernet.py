"""The super-network of a search space, as a backbone: DMaskingNAS of FBNetV2 (arXiv:2004.05565).

Every net of the space is in it, as prefixes of the weights of the widest one. With all weight on one choice of each
decision it computes what that net computes (`lightseg.search.dmasking.derive`): channels beyond a width are zero, an
input is added, and an expansion left out, with the probability that the widths before and behind are equal.

Sizes of the input (section 3.3) are searched with the net as the operation: the picture is sub-sampled (nearest), the
net runs on it, and its maps are un-pooled, with zeros between, to those of the largest size before they are summed.
Deviation: of more than two sizes a step sums those two with the largest drawn weights, which are scaled to sum to one.
Time and memory then do not grow with the number of sizes; of the two passes the first is computed again for its
gradients instead of being kept, so that there is never more than one in memory.
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

PROBE = (128, 128)  # pixels of the blank image that strides are measured with


class SuperNet(nn.Module):
    """`stem` and `stages`, named as `lightseg.backbones.fbnet.FBNet` names them, and the decisions in them."""

    def __init__(self, space: Space, in_chans: int = 3) -> None:
        super().__init__()
        self.space = space
        self.input_size, self.stem_out, self.stem_act = (
            Decision(choices) for choices in (space.input_sizes, space.stem.out, space.stem.act)
        )
        widest = max(space.stem.out)
        self.register_buffer("stem_prefixes", prefixes(space.stem.out, widest), persistent=False)
        self.stem = ConvBN(in_chans, widest, 3, stride=2)
        incoming: Sequence[int] = space.stem.out
        stages, levels, stride = [], [("stem", widest, 2)], 2
        for number, slots in enumerate(space.stages):
            blocks = []
            for slot in slots:
                blocks.append(SearchBlock(slot, incoming, space))
                incoming = slot.out
            stages.append(nn.ModuleList(blocks))
            stride *= slots[0].stride
            levels = [level for level in levels if level[2] < stride]
            levels.append((f"stages.{number}", max(incoming), stride))
        self.stages = nn.ModuleList(stages)
        self.levels = [name for name, *_ in levels]
        self.feature_info = FeatureInfo(
            [{"module": name, "num_chs": width, "reduction": stride} for name, width, stride in levels],
            tuple(range(len(levels))),
        )
        self.pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                for weight in getattr(module, "kernels", lambda one=module: [one.weight])():
                    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def blocks(self) -> Iterator[tuple[str, SearchBlock]]:
        """With their places, first to last."""
        stages: Any = self.stages
        for number, stage in enumerate(stages):
            for place, block in enumerate(stage):
                yield f"stages.{number}.{place}", block

    def features(self, x: Tensor) -> list[Tensor]:
        acts, came = self.stem_act.weights(), self.stem_out.weights()
        x = activate(self.stem(x), acts, self.stem_act.choices)
        if len(self.stem_out) > 1:
            x = x * (came @ self.stem_prefixes)[:, None, None]  # type: ignore[operator]
        maps = [x]
        for name, stage in zip((f"stages.{n}" for n in range(len(self.stages))), self.stages, strict=True):
            for block in stage:  # type: ignore[attr-defined]
                x, came = block(x, came)
            if name in self.levels:
                maps.append(x)
        return maps[-len(self.levels) :]

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_chans, H, W], for the largest input size. The maps are of that size in training, and in evaluation
        mode of the chosen size: those of the net that is found."""
        sizes, largest = self.input_size, self.input_size.choices[-1]
        if len(sizes) == 1:
            return self.features(x)
        if not self.training or sizes.drawn is None:
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
                contexts = partial(_twice, self)
                maps = checkpoint(self.features, small, use_reentrant=False, context_fn=contexts)
            else:
                maps = self.features(small)
            maps = [unpool(one, grid) * weight for one, grid in zip(maps, grids, strict=True)]
            total = [a + b for a, b in zip(total, maps, strict=True)] if total else maps
        return total

    def strides(self) -> list[int]:
        """Real ones of the maps, after dilation took some away."""
        found = {"stem": int(self.stem.conv.stride[0])}
        for name, block in self.blocks():
            found[name.rpartition(".")[0]] = prod([*list(found.values())[-1:], int(block.depthwise.conv.stride[0])])
        return [found[name] for name in self.levels]


def subsample(x: Tensor, share: float) -> Tensor:
    """The nearest pixels of a grid whose sides are `share` of x's."""
    if share == 1:
        return x
    rows, columns = (_places(max(1, round(side * share)), side, x.device) for side in x.shape[-2:])
    return x.index_select(2, rows).index_select(3, columns)


def unpool(x: Tensor, size: Sequence[int]) -> Tensor:
    """x at its places in a grid of `size` (height, width), with zeros between them."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    rows, columns = (_places(small, large, x.device) for small, large in zip(x.shape[-2:], size, strict=True))
    tall = x.new_zeros(*x.shape[:2], size[0], x.shape[3]).index_copy(2, rows, x)
    return x.new_zeros(*x.shape[:2], *size).index_copy(3, columns, tall)


def _places(small: int, large: int, device: torch.device) -> Tensor:
    return torch.arange(small, device=device) * large // small


def _twice(net: nn.Module) -> tuple[Any, Any]:
    """What a pass runs in, and what its repetition runs in."""
    return nullcontext(), _without_trace(net)


@contextmanager
def _without_trace(net: nn.Module) -> Iterator[None]:
    norms = [module for module in net.modules() if isinstance(module, MaskedBatchNorm)]
    for norm in norms:
        norm.frozen = True
    try:
        yield
    finally:
        for norm in norms:
            norm.frozen = False


def create_supernet(space: Space, *, output_stride: int = 32, in_chans: int = 3) -> FeaturePyramid:
    """The super-network as a backbone; its maps have the widest channels."""
    net = SuperNet(space, in_chans)
    if output_stride < 32:
        with torch.no_grad():
            net.input_size.alpha[-1] = 1  # strides are measured at the largest size
            dilate(net, space.name, output_stride, PROBE, in_chans, False)
            net.input_size.alpha.zero_()
    pyramid = FeaturePyramid(net, space.name, in_chans)
    pyramid.stages = tuple(Stage(s.channels, stride) for s, stride in zip(pyramid.stages, net.strides(), strict=True))
    return pyramid
