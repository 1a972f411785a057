"""Compound scaling's small grid search: EfficientNet (arXiv:1905.11946), section 3.3.

The paper fixes phi = 1, tries alpha (depth), beta (width) and gamma (image size) with alpha * beta^2 * gamma^2 near 2,
and keeps (1.2, 1.1, 1.15), by the accuracy of the nets it trained. This prints all coefficients on such a grid, and for
each what the net they make really costs: blocks are whole, channels come in eights and sizes too, so multiply-adds do
not follow the product. The paper's own choice has a product of 1.92, and its net 2.23 times B0's multiply-adds.

    python -m lightseg.search.compound
    python -m lightseg.search.compound --rows 5 --phi 1 2 3
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from timm.models._efficientnet_builder import round_channels
from torch import nn

from lightseg.backbones.scaled import scaled_efficientnet
from lightseg.catalog.scaling import MOST_SCALE, PAPER, Coefficients, Scales, compound, scaled_name
from lightseg.errors import LightsegError, one_line
from lightseg.profile import count_madds

REPEATS = (1, 2, 3, 4)  # blocks of B0's stages
CHANNELS = (16, 24, 32, 40, 80, 112, 192, 320, 1280)  # of its stem, stages and head
MOST_COEFFICIENTS = 2000  # half a second each


class Candidate(NamedTuple):
    """Coefficients, their alpha * beta^2 * gamma^2, and the measured multiply-adds at phi = 1 relative to B0's."""

    coefficients: Coefficients
    product: float
    ratio: float


class Costs:
    """Multiply-adds as `lightseg.profile` counts them, each different net built once and counted once a size."""

    def __init__(self) -> None:
        self._nets: dict[tuple[tuple[int, ...], ...], nn.Module] = {}
        self._madds: dict[tuple[tuple[tuple[int, ...], ...], int], int] = {}

    def ratio(self, scales: Scales) -> float:
        """Of a net at its size of pictures, relative to B0's at 224 pixels."""
        return self.madds(scales) / self.madds(compound(0))

    def madds(self, scales: Scales) -> int:
        blocks = tuple(math.ceil(repeats * scales.depth) for repeats in REPEATS)
        channels = tuple(round_channels(value, scales.width) for value in CHANNELS)
        net = (blocks, channels)  # scales between which no block and no channel is added make the same one
        if net not in self._nets:
            with torch.device("meta"):
                self._nets[net] = scaled_efficientnet(scaled_name(scales.width, scales.depth))
        key = (net, scales.image_size)
        if key not in self._madds:
            self._madds[key] = count_madds(self._nets[net], (1, 3, scales.image_size, scales.image_size))
        return self._madds[key]


def search(costs: Costs, budget: float = 2.0, step: float = 0.05, tolerance: float = 0.1) -> list[Candidate]:
    """All coefficients from 1 up in steps of `step` whose alpha * beta^2 * gamma^2 is `budget`, give or take
    `tolerance`; those whose net costs nearest to `budget` times B0 come first.

    Raises:
        LightsegError: a grid without coefficients, or of more than anyone waits for.
    """
    if not (1 < budget <= MOST_SCALE and step > 0 and 0 <= tolerance < budget - 1):
        raise LightsegError(
            f"budget {budget:g}, step {step:g}, tolerance {tolerance:g}: take a budget above 1 and at most "
            f"{MOST_SCALE:g}, a step above 0 and a tolerance from 0 to less than the budget - 1"
        )
    chosen = list(_grid(budget, step, tolerance))
    if not chosen:
        raise LightsegError(f"no coefficients within {tolerance:g} of {budget:g}: take a step under {step:g}")
    found = [Candidate(each, product_of(each), costs.ratio(compound(1, each))) for each in chosen]
    return sorted(found, key=lambda candidate: abs(candidate.ratio - budget))


def product_of(coefficients: Coefficients) -> float:
    """What multiply-adds would grow by if blocks, channels and pixels could be divided: alpha * beta^2 * gamma^2."""
    alpha, beta, gamma = coefficients
    return alpha * beta**2 * gamma**2


def _grid(budget: float, step: float, tolerance: float) -> Iterator[Coefficients]:
    most = budget + tolerance
    depths, others = _axis(step, most), _axis(step, math.sqrt(most))
    if (count := len(depths) * len(others) ** 2) > 10**6:
        raise LightsegError(f"step {step:g} makes a grid of {count} points: take a larger one")
    near = [
        coefficients
        for coefficients in (Coefficients(*values) for values in product(depths, others, others))
        if abs(product_of(coefficients) - budget) <= tolerance + 1e-9  # 2.1 is within 0.1 of 2, whatever floats say
    ]
    if len(near) > MOST_COEFFICIENTS:
        raise LightsegError(f"step {step:g} leaves {len(near)} coefficients to count: take a larger one")
    yield from near


def _axis(step: float, most: float) -> list[float]:
    """1, 1 + step, ... up to `most`."""
    return [round(1 + index * step, 10) for index in range(int((most - 1) / step + 1e-9) + 1)]


def table(costs: Costs, candidates: Sequence[Candidate], budget: float, phis: Sequence[float] = ()) -> str:
    """One line a candidate; with `phis` also the measured cost at each, and how far it is from budget^phi."""
    head = f" {'alpha':>6} {'beta':>6} {'gamma':>6} {'product':>8} {'size':>5} {'measured':>9} {'off':>7}"
    lines = [head + "".join(f"   {f'phi={phi:g} of {budget**phi:.2f}':>20}" for phi in phis)]
    for coefficients, product_, ratio in candidates:
        alpha, beta, gamma = coefficients
        size = compound(1, coefficients).image_size
        line = (
            f" {alpha:6.2f} {beta:6.2f} {gamma:6.2f} {product_:8.3f} {size:5d} {ratio:9.3f} {ratio / budget - 1:+7.1%}"
        )
        for phi in phis:
            at_phi = costs.ratio(compound(phi, coefficients))
            line += f"   {f'{at_phi:.2f} {at_phi / budget**phi - 1:+.1%}':>20}"
        lines.append(line + ("  <- the paper's" if coefficients == PAPER else ""))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lightseg.search.compound",
        description="EfficientNet's coefficients under a budget, by what the nets they make are measured to cost.",
    )
    parser.add_argument("--budget", type=float, default=2.0, help="multiply-adds at phi=1 relative to B0 (2.0)")
    parser.add_argument("--step", type=float, default=0.05, help="of the grid (0.05)")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of alpha * beta^2 * gamma^2 (0.1)")
    parser.add_argument("--phi", type=float, nargs="+", default=[], help="also measure at these, against budget^phi")
    parser.add_argument("--rows", type=int, help="only so many, the nearest first, and the paper's; default: all")
    args = parser.parse_args(words)
    costs = Costs()
    try:
        found = search(costs, args.budget, args.step, args.tolerance)
        shown = [c for i, c in enumerate(found) if args.rows is None or i < args.rows or c.coefficients == PAPER]
        lines = table(costs, shown, args.budget, args.phi)
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"B0 at 224 pixels: {costs.madds(compound(0)) / 1e6:.1f} M multiply-adds; measured and off: relative to it")
    print(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
