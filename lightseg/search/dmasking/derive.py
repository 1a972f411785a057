"""From a trained super-network to the net it chose: its architecture, and a model with the super-network's weights.

The net is the likeliest choice of every decision. Where that costs more than the target, single decisions go to the
next likely choice that is cheaper, each time the one that loses least probability for what it saves. Where it leaves
more than a twentieth of the target unused, decisions that are open still go to dearer choices in the same way.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones.pyramid import FeaturePyramid
from lightseg.backbones.supernet.gumbel import decisions
from lightseg.backbones.supernet.search_block import SKIP
from lightseg.backbones.supernet.supernet import SuperNet, subsample
from lightseg.catalog.arch import Arch, Block, Skip, Stem
from lightseg.catalog.arch_yaml import format_arch
from lightseg.model import Model, create_model
from lightseg.search.dmasking.cost import Costs

FULL = 0.95  # of the target: from there on nothing more is spent
UNDECIDED = 0.5  # a choice that is at least so likely, relative to the likeliest, is open still
LEAST = 1e-9  # a probability that is 0 in float32 still has a logarithm


def choose(net: SuperNet, costs: Costs, target: float) -> dict[str, int]:
    """The number of the chosen one of each decision, by its place; within the target if single changes lead there."""
    shares = {name: one.probabilities().tolist() for name, one in decisions(net).items()}
    chosen = {name: one.index for name, one in decisions(net).items()}
    best = dict(chosen)
    while (cost := costs.of(chosen)) > target:
        cheaper = [
            (name, index, found)
            for name, index in _others(shares, chosen)
            if (found := costs.of({**chosen, name: index})) < cost
        ]
        if not cheaper:
            return chosen
        name, index, _ = min(cheaper, key=lambda one: _lost(shares, chosen, one) / min(cost - one[2], cost - target))
        chosen[name] = index
    while cost < FULL * target:
        dearer = [
            (name, index, found)
            for name, index in _others(shares, chosen)
            if shares[name][index] >= UNDECIDED * shares[name][best[name]]
            and cost < (found := costs.of({**chosen, name: index})) <= target
        ]
        if not dearer:
            return chosen
        name, index, cost = min(dearer, key=lambda one: _lost(shares, chosen, one) / (one[2] - cost))
        chosen[name] = index
    return chosen


def _others(shares: Mapping[str, list[float]], chosen: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, i) for name, each in shares.items() for i in range(len(each)) if i != chosen[name]]


def _lost(shares: Mapping[str, list[float]], chosen: Mapping[str, int], change: tuple[str, int, float]) -> float:
    """Logarithm of probability that a change gives up; a little of it costs something always."""
    name, index, _ = change
    return max(log(max(shares[name][chosen[name]], LEAST)) - log(max(shares[name][index], LEAST)), 0.0) + LEAST


def found_arch(net: SuperNet, chosen: Mapping[str, int]) -> Arch:
    """The architecture of these choices. Its name ends in a hash of what it is."""

    def value(place: str, decision: Any) -> Any:
        return decision.choices[chosen.get(place, 0)]

    channels = value("stem_out", net.stem_out)
    stem = Stem(channels, value("stem_act", net.stem_act))
    stages: list[list[Block | Skip]] = [[] for _ in net.stages]
    for name, block in net.blocks():
        out = value(f"{name}.out", block.out)
        found: Block | Skip
        if value(f"{name}.op", block.op) == SKIP:
            found = Skip(out, block.stride)
        else:
            found = Block(
                kernel=value(f"{name}.kernel", block.kernel),
                mid=net.space.mid(channels, value(f"{name}.expansion", block.expansion)),
                out=out,
                stride=block.stride,
                se=value(f"{name}.use_se", block.use_se),
                act=value(f"{name}.act", block.act),
            )
        stages[int(name.split(".")[1])].append(found)
        channels = out
    size = value("input_size", net.input_size)
    arch = Arch(net.space.name, stem, tuple(tuple(stage) for stage in stages), net.space.head, input_size=size)
    digest = sha256(format_arch(arch).encode()).hexdigest()[:6]
    return Arch(f"{arch.name}_{digest}", arch.stem, arch.stages, arch.head, input_size=size)


def found_model(model: Model, chosen: Mapping[str, int]) -> Model:
    """The net of these choices under the same head, with the super-network's weights: a model of its own."""
    net: Any = model.backbone.net
    arch = found_arch(net, chosen)
    spec = {key: value for key, value in model.spec.items() if key != "space"}
    found = create_model(**{**spec, "backbone": arch.name, "arch": format_arch(arch)})
    copy_weights(model.backbone, found.backbone, chosen)
    copy_leading(model.head.state_dict(), found.head)
    share = arch.input_size / net.input_size.choices[-1]
    if share < 1:
        found.backbone = Subsampled(found.backbone, share)  # type: ignore[assignment,arg-type]
    return found.to(next(model.parameters()).device).train(model.training)


def copy_weights(source: nn.Module, target: nn.Module, chosen: Mapping[str, int]) -> None:
    """From the super-network's pyramid to that of one of its nets: of each tensor the leading channels."""
    net: SuperNet = source.net  # type: ignore[assignment]
    state = net.state_dict()
    for name, block in net.blocks():
        kernels = block.depthwise.conv.kernels()
        state[f"{name}.depthwise.conv.weight"] = kernels[chosen.get(f"{name}.kernel", 0) if len(kernels) > 1 else 0]
        if block.op.choices[chosen.get(f"{name}.op", 0)] == SKIP and hasattr(block, "skip"):
            state |= {key.replace(".skip.", "."): value for key, value in state.items() if f"{name}.skip." in key}
    # timm's pyramid has `stages_0` for `stages.0`
    copy_leading(state, target.net, lambda key: re.sub(r"^(stem|stages)_", r"\1.", key))  # type: ignore[arg-type]


@torch.no_grad()
def copy_leading(state: Mapping[str, Tensor], target: nn.Module, place: Any = str) -> None:
    """Fill a narrower module; `place`: its names in `state`."""
    for key, tensor in target.state_dict().items():
        wide = state[place(key)]
        tensor.copy_(wide[tuple(slice(0, size) for size in tensor.shape)])


class Subsampled(nn.Module):
    """A pyramid on pictures whose sides are made `share` of what they are: how a smaller input size was searched."""

    def __init__(self, pyramid: FeaturePyramid, share: float) -> None:
        super().__init__()
        self.pyramid, self.share = pyramid, share
        self.name, self.stages, self.input_format = pyramid.name, pyramid.stages, pyramid.input_format

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.pyramid(subsample(x, self.share))
        return maps
