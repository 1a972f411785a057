"""Derivation of the chosen net of a trained super-network: its architecture, and a model with the trained weights.

The net has the likeliest choice of every decision. If it costs more than the target, decisions change one by one to
cheaper choices, each time the change that loses the least log-probability per cost saved. If it leaves more than 5 % of
the target unused, undecided decisions change to more expensive choices in the same way.
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

MIN_USED = 0.95  # fraction of the target; from there on no decision changes to a more expensive choice
UNDECIDED = 0.5  # choices with this probability relative to the likeliest, or more, may be taken instead of it
MIN_PROBABILITY = 1e-9  # so that the logarithm of a probability of 0 is finite


def choose(net: SuperNet, costs: Costs, target: float) -> dict[str, int]:
    """The chosen net (decision -> index of the choice), within the target if changes of single decisions reach it."""
    probabilities = {name: decision.probabilities().tolist() for name, decision in decisions(net).items()}
    chosen = {name: decision.index for name, decision in decisions(net).items()}
    best = dict(chosen)
    while (cost := costs.cost_of(chosen)) > target:
        cheaper = [
            (name, index, new_cost)
            for name, index in _alternatives(probabilities, chosen)
            if (new_cost := costs.cost_of({**chosen, name: index})) < cost
        ]
        if not cheaper:
            return chosen
        name, index, _ = min(
            cheaper,
            key=lambda change: _log_loss(probabilities, chosen, change) / min(cost - change[2], cost - target),
        )
        chosen[name] = index
    while cost < MIN_USED * target:
        more_expensive = [
            (name, index, new_cost)
            for name, index in _alternatives(probabilities, chosen)
            if probabilities[name][index] >= UNDECIDED * probabilities[name][best[name]]
            and cost < (new_cost := costs.cost_of({**chosen, name: index})) <= target
        ]
        if not more_expensive:
            return chosen
        name, index, cost = min(
            more_expensive, key=lambda change: _log_loss(probabilities, chosen, change) / (change[2] - cost)
        )
        chosen[name] = index
    return chosen


def _alternatives(probabilities: Mapping[str, list[float]], chosen: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, i) for name, values in probabilities.items() for i in range(len(values)) if i != chosen[name]]


def _log_loss(
    probabilities: Mapping[str, list[float]], chosen: Mapping[str, int], change: tuple[str, int, float]
) -> float:
    """The log-probability that a change (decision, index, cost) loses; always above 0."""
    name, index, _ = change
    before, after = (max(probabilities[name][i], MIN_PROBABILITY) for i in (chosen[name], index))
    return max(log(before) - log(after), 0.0) + MIN_PROBABILITY


def derive_arch(net: SuperNet, chosen: Mapping[str, int]) -> Arch:
    """The architecture of the chosen net. Its name ends with a hash of its content."""

    def value(name: str, decision: Any) -> Any:
        return decision.choices[chosen.get(name, 0)]

    channels = value("stem_out", net.stem_out)
    stem = Stem(channels, value("stem_act", net.stem_act))
    stages: list[list[Block | Skip]] = [[] for _ in net.stages]
    for name, block in net.blocks():
        out = value(f"{name}.out", block.out)
        derived: Block | Skip
        if value(f"{name}.op", block.op) == SKIP:
            derived = Skip(out, block.stride)
        else:
            derived = Block(
                kernel=value(f"{name}.kernel", block.kernel),
                mid=net.space.mid(channels, value(f"{name}.expansion", block.expansion)),
                out=out,
                stride=block.stride,
                se=value(f"{name}.use_se", block.use_se),
                act=value(f"{name}.act", block.act),
            )
        stages[int(name.split(".")[1])].append(derived)
        channels = out
    size = value("input_size", net.input_size)
    arch = Arch(net.space.name, stem, tuple(tuple(stage) for stage in stages), net.space.head, input_size=size)
    digest = sha256(format_arch(arch).encode()).hexdigest()[:6]
    return Arch(f"{arch.name}_{digest}", arch.stem, arch.stages, arch.head, input_size=size)


def derive_model(model: Model, chosen: Mapping[str, int]) -> Model:
    """A new model of the chosen net with the same head and the super-network's weights."""
    net: Any = model.backbone.net
    arch = derive_arch(net, chosen)
    spec = {key: value for key, value in model.spec.items() if key != "space"}
    derived = create_model(**{**spec, "backbone": arch.name, "arch": format_arch(arch)})
    copy_weights(model.backbone, derived.backbone, chosen)
    copy_leading(model.head.state_dict(), derived.head)
    ratio = arch.input_size / net.input_size.choices[-1]
    if ratio < 1:
        derived.backbone = Subsampled(derived.backbone, ratio)  # type: ignore[assignment,arg-type]
    return derived.to(next(model.parameters()).device).train(model.training)


def copy_weights(source: nn.Module, target: nn.Module, chosen: Mapping[str, int]) -> None:
    """Copy the leading channels of each tensor of a super-network's pyramid to the pyramid of a chosen net."""
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
def copy_leading(state: Mapping[str, Tensor], target: nn.Module, source_name: Any = str) -> None:
    """Fill a narrower module from `state`. source_name: maps a name of `target` to its name in `state`."""
    for key, tensor in target.state_dict().items():
        wide = state[source_name(key)]
        tensor.copy_(wide[tuple(slice(0, size) for size in tensor.shape)])


class Subsampled(nn.Module):
    """A pyramid that first subsamples the image by `ratio`, as the search did for smaller input sizes."""

    def __init__(self, pyramid: FeaturePyramid, ratio: float) -> None:
        super().__init__()
        self.pyramid, self.ratio = pyramid, ratio
        self.name, self.stages, self.input_format = pyramid.name, pyramid.stages, pyramid.input_format
        self.fixed_size = None

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.pyramid(subsample(x, self.ratio))
        return maps
