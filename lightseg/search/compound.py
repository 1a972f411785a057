"""The grid search of compound scaling: EfficientNet (arXiv:1905.11946), section 3.3.

The paper fixes phi = 1, tries alpha (depth), beta (width) and gamma (image size) with alpha * beta^2 * gamma^2 near 2,
and selects (1.2, 1.1, 1.15) by the accuracy of trained nets. This command prints all coefficients on such a grid, with
the counted multiply-adds of each net. They do not follow the product, because numbers of blocks are integers, and
channels and sizes are multiples of 8. The paper's choice has a product of 1.92, and its net 2.23 times B0's
multiply-adds.

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
from lightseg.catalog.scaling import MAX_SCALE, PAPER, Coefficients, Scales, compound, scaled_name
from lightseg.errors import LightsegError, one_line
from lightseg.profile import count_madds

REPEATS = (1, 2, 3, 4)  # blocks of B0's stages
CHANNELS = (16, 24, 32, 40, 80, 112, 192, 320, 1280)  # of B0's stem, stages and head
MAX_COEFFICIENTS = 2000  # counting takes half a second each


class Candidate(NamedTuple):
    """Coefficients, their alpha * beta^2 * gamma^2, and the counted multiply-adds at phi = 1 relative to B0's."""

    coefficients: Coefficients
    product: float
    ratio: float


class Costs:
    """Multiply-adds as `lightseg.profile` counts them. A net is built once, and counted once per image size."""

    def __init__(self) -> None:
        self._nets: dict[tuple[tuple[int, ...], ...], nn.Module] = {}
        self._madds: dict[tuple[tuple[tuple[int, ...], ...], int], int] = {}

    def ratio(self, scales: Scales) -> float:
        """Multiply-adds of a net at its image size, relative to B0 at 224 pixels."""
        return self.madds(scales) / self.madds(compound(0))

    def madds(self, scales: Scales) -> int:
        blocks = tuple(math.ceil(repeats * scales.depth) for repeats in REPEATS)
        channels = tuple(round_channels(value, scales.width) for value in CHANNELS)
        net = (blocks, channels)  # scales that round to the same blocks and channels are the same net
        if net not in self._nets:
            with torch.device("meta"):
                self._nets[net] = scaled_efficientnet(scaled_name(scales.width, scales.depth))
        key = (net, scales.image_size)
        if key not in self._madds:
            self._madds[key] = count_madds(self._nets[net], (1, 3, scales.image_size, scales.image_size))
        return self._madds[key]


def search(costs: Costs, budget: float = 2.0, step: float = 0.05, tolerance: float = 0.1) -> list[Candidate]:
    """All coefficients on the grid 1, 1 + step, ... with alpha * beta^2 * gamma^2 within `tolerance` of `budget`.

    They are sorted by the distance of their cost from `budget` times B0.

    Raises:
        LightsegError: invalid arguments, a grid without coefficients, or more than MAX_COEFFICIENTS of them.
    """
    if not (1 < budget <= MAX_SCALE and step > 0 and 0 <= tolerance < budget - 1):
        raise LightsegError(
            f"budget {budget:g}, step {step:g}, tolerance {tolerance:g}: take a budget above 1 and at most "
            f"{MAX_SCALE:g}, a step above 0 and a tolerance from 0 to less than the budget - 1"
        )
    grid = list(_grid(budget, step, tolerance))
    if not grid:
        raise LightsegError(f"no coefficients within {tolerance:g} of {budget:g}: take a step under {step:g}")
    candidates = [Candidate(point, product_of(point), costs.ratio(compound(1, point))) for point in grid]
    return sorted(candidates, key=lambda candidate: abs(candidate.ratio - budget))


def product_of(coefficients: Coefficients) -> float:
    """alpha * beta^2 * gamma^2: the factor of multiply-adds without rounding of blocks, channels and sizes."""
    alpha, beta, gamma = coefficients
    return alpha * beta**2 * gamma**2


def _grid(budget: float, step: float, tolerance: float) -> Iterator[Coefficients]:
    limit = budget + tolerance
    depths, others = _axis(step, limit), _axis(step, math.sqrt(limit))
    if (count := len(depths) * len(others) ** 2) > 10**6:
        raise LightsegError(f"step {step:g} makes a grid of {count} points: take a larger one")
    near = [
        coefficients
        for coefficients in (Coefficients(*values) for values in product(depths, others, others))
        if abs(product_of(coefficients) - budget) <= tolerance + 1e-9  # 2.1 is within 0.1 of 2, despite float rounding
    ]
    if len(near) > MAX_COEFFICIENTS:
        raise LightsegError(f"step {step:g} leaves {len(near)} coefficients to count: take a larger one")
    yield from near


def _axis(step: float, limit: float) -> list[float]:
    """1, 1 + step, ... up to `limit`."""
    return [round(1 + index * step, 10) for index in range(int((limit - 1) / step + 1e-9) + 1)]


def table(costs: Costs, candidates: Sequence[Candidate], budget: float, phis: Sequence[float] = ()) -> str:
    """A line per candidate; with `phis` also the counted cost at each phi, and its deviation from budget^phi."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lightseg.search.compound",
        description="EfficientNet's coefficients under a budget, by the counted multiply-adds of their nets.",
    )
    parser.add_argument("--budget", type=float, default=2.0, help="multiply-adds at phi=1 relative to B0 (2.0)")
    parser.add_argument("--step", type=float, default=0.05, help="of the grid (0.05)")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of alpha * beta^2 * gamma^2 (0.1)")
    parser.add_argument("--phi", type=float, nargs="+", default=[], help="also measure at these, against budget^phi")
    parser.add_argument("--rows", type=int, help="only so many, the nearest first, and the paper's; default: all")
    args = parser.parse_args(arguments)
    costs = Costs()
    try:
        candidates = search(costs, args.budget, args.step, args.tolerance)
        shown = [c for i, c in enumerate(candidates) if args.rows is None or i < args.rows or c.coefficients == PAPER]
        lines = table(costs, shown, args.budget, args.phi)
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"B0 at 224 pixels: {costs.madds(compound(0)) / 1e6:.1f} M multiply-adds; measured and off: relative to it")
    print(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
