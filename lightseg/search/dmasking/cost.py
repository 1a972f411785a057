"""The differentiable cost of the nets of a search space: multiply-adds, parameters or milliseconds.

The cost of a block depends on the input size, its input and output widths, and its other choices. Every part of the
super-network has a table of the cost over all these choices. The expected cost is the table weighted by the weights of
the decisions. For a plain convolution that is FBNetV2's product of effective shapes (arXiv:2004.05565, section 3.4).
With all weight on single choices it is the count of that net, with batch norm included in parameters.

Costs are those of the backbone for a single image. The head is the task's and equal for all nets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightseg.backbones.supernet.gumbel import Decision
from lightseg.backbones.supernet.search_block import SearchBlock, squeezed_channels
from lightseg.backbones.supernet.supernet import SuperNet
from lightseg.errors import LightsegError
from lightseg.search.dmasking.latency_table import LatencyTable

METRICS = {"madds": "multiply-adds", "params": "parameters", "latency_ms": "ms"}


@dataclass
class Part:
    """A cost table with an axis per decision: [input size, input width, ..., output width]. names: of the decisions."""

    names: list[str]
    decisions: list[Decision]
    table: Tensor

    def expected(self) -> Tensor:
        """The table weighted by the decisions' current weights, a scalar."""
        total = self.table
        for decision in reversed(self.decisions):
            total = total @ decision.weights().to(total)
        return total

    def extreme(self, lowest: bool) -> Tensor:
        """Minimum or maximum over the other decisions, [input sizes, input widths, output widths]."""
        inner = list(range(2, self.table.ndim - 1))
        return self.table.amin(inner) if lowest else self.table.amax(inner)


class Costs:
    """Costs of the nets in the super-network `net`.

    Args:
        image_size: height and width of the image in pixels, at the largest input size.
        metric: a key of METRICS.
        latency: the measured table, for latency_ms.
    """

    def __init__(
        self, net: SuperNet, image_size: Sequence[int], metric: str, latency: LatencyTable | None = None
    ) -> None:
        self.metric = metric
        self.latency = latency
        self.ratios = [size / net.input_size.choices[-1] for size in net.input_size.choices]
        sides = [[max(1, round(side * ratio)) for side in image_size] for ratio in self.ratios]
        decision: list[tuple[str, Decision]] = [("input_size", net.input_size)]
        sides = _strided(sides, int(net.stem.conv.stride[0]))
        stem = [*decision, ("stem_act", net.stem_act), ("stem_out", net.stem_out)]
        self.parts = [self._part(stem, self._stem(net, sides))]
        before = ("stem_out", net.stem_out)
        for name, block in net.blocks():
            behind = _strided(sides, int(block.depthwise.conv.stride[0]))
            inner = [(f"{name}.{key}", getattr(block, key)) for key in ("expansion", "kernel", "use_se", "act", "op")]
            after = (f"{name}.out", block.out)
            self.parts.append(self._part([*decision, before, *inner, after], self._block(name, block, sides, behind)))
            before, sides = after, behind

    def to(self, device: torch.device) -> "Costs":
        for part in self.parts:
            part.table = part.table.to(device)
        return self

    def expected(self) -> Tensor:
        """The expected cost under the decisions' weights, a scalar with gradients to alpha."""
        return torch.stack([part.expected() for part in self.parts]).sum()

    def cost_of(self, choices: dict[str, int]) -> float:
        """The cost of a net (decision -> index of the choice); missing decisions take their first choice."""
        return sum(float(part.table[tuple(choices.get(name, 0) for name in part.names)]) for part in self.parts)

    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest cost of the nets in the space."""
        extremes = []
        for lowest in (True, False):
            stem, *blocks = self.parts
            total = stem.table.amin(1) if lowest else stem.table.amax(1)  # [input sizes, output widths]
            for part in blocks:
                added = total[:, :, None] + part.extreme(lowest)
                total = added.amin(1) if lowest else added.amax(1)
            extremes.append(float(total.min() if lowest else total.max()))
        return extremes[0], extremes[1]

    def check_target(self, target: float, name: str) -> None:
        """Raise LightsegError unless a net of the space costs at most `target`."""
        cheapest, dearest = self.extremes()
        if target < cheapest:
            raise LightsegError(
                f"search.target={target:g}: no net of {name} costs so little; its cheapest has "
                f"{self.format(cheapest)}, its dearest {self.format(dearest)}"
            )

    def format(self, value: float) -> str:
        """A cost with its unit, such as `16.300 M multiply-adds`."""
        return f"{value:.3f} ms" if self.metric == "latency_ms" else f"{value / 1e6:.3f} M {METRICS[self.metric]}"

    # -- tables --------------------------------------------------------------------------------------------------------

    def _part(self, axes: list[tuple[str, Decision]], table: Tensor) -> Part:
        return Part([name for name, _ in axes], [decision for _, decision in axes], table.float())

    def _stem(self, net: SuperNet, sides: list[list[int]]) -> Tensor:
        """Cost of the stem, [input sizes, activations, widths]."""
        out = _numbers(net.stem_out.choices)
        weights = out * net.stem.conv.weight[0].numel()
        table = self._cost(weights, 2 * out, _areas(sides)[:, None] * weights)[:, None].repeat(1, len(net.stem_act), 1)
        if self.latency is not None:
            for index, act in enumerate(net.stem_act.choices):
                table[:, index] = self.latency.milliseconds("stem", act, table[:, index])
        return table

    def _block(self, name: str, block: SearchBlock, before: list[list[int]], behind: list[list[int]]) -> Tensor:
        """Cost of a block, [input sizes, input widths, expansions, kernels, SE, acts, block or skip, output widths]."""
        into, out = _numbers(block.in_widths)[None, :, None, None], _numbers(block.out.choices)
        mid = _numbers(block.mids)[None, :, :, None]
        inner = _numbers([[squeezed_channels(mid) for mid in row] for row in block.mids])[None, :, :, None]
        area_in, area_out = _areas(before)[:, None, None, None], _areas(behind)[:, None, None, None]
        expands = (mid != into).double()
        kernels = []
        for kernel in block.kernel.choices:
            for se in block.use_se.choices:
                gate = 2.0 * mid * inner * se
                weights = expands * into * mid + mid * kernel**2 + gate + mid * out
                rest = 2 * (expands * mid + mid + out) + (inner + mid) * se
                madds = expands * into * mid * area_in + (mid * kernel**2 + mid * out) * area_out + gate
                cost = self._cost(weights, rest, madds)
                for act in block.act.choices:
                    kind = f"{kernel},{'se' if se else 'no se'},{act}"
                    kernels.append(cost if self.latency is None else self.latency.milliseconds(name, kind, cost))
        counts = (len(block.kernel), len(block.use_se), len(block.act))
        table = torch.stack(kernels, 3).unflatten(3, counts)  # [sizes, in, expansions, kernels, SE, acts, out]
        if len(block.op) == 1:
            return table.unsqueeze(-2)
        equal: Any = block.equal
        changes = 1 - equal.cpu().double()[None]
        plain = into[..., 0] * out
        skip = self._cost(plain, 2 * out, _areas(behind)[:, None, None] * plain) * changes
        if self.latency is not None:
            skip = self.latency.milliseconds(name, "skip", skip) * changes
        shape = (skip.shape[0], skip.shape[1], *[1] * 4, skip.shape[2])
        return torch.stack([table, skip.reshape(shape).expand_as(table)], -2)

    def _cost(self, weights: Tensor, rest: Tensor, madds: Tensor) -> Tensor:
        """The table for the metric. rest: parameters of batch norms and biases. For latency: the multiply-adds."""
        return (weights + rest).expand_as(madds) if self.metric == "params" else madds


def _strided(sides: list[list[int]], stride: int) -> list[list[int]]:
    return [[-(-side // stride) for side in pair] for pair in sides]


def _areas(sides: list[list[int]]) -> Tensor:
    return _numbers([height * width for height, width in sides])


def _numbers(values: Sequence) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
