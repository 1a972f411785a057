"""Proposals of NetAdapt (arXiv:1804.03230, Algorithm 1) as in MobileNetV3 (arXiv:1905.02244, section 4.2).

Each step makes a proposal for every expansion and for every bottleneck, with all blocks joined to it by residuals. A
proposal is so narrow that the cost of the net falls by at least delta. All proposals are trained briefly, and the
proposal with the best ratio of change in accuracy to change in cost is kept. Steps end when the cost is below the
target. Nothing here imports torch.

The evolutionary variant samples the widths of all expansions and bottlenecks at once. Its nets are children of the best
nets so far, narrowed at random until the cost is between the target and delta below it.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lightseg.catalog.arch import Arch
from lightseg.errors import LightsegError
from lightseg.search.netadapt.channel_graph import adjustable_widths, narrowest, smaller_widths, with_widths

CostOf = Callable[[Arch], float]
MAX_TRIES = 200  # of a child


@dataclass(frozen=True)
class Proposal:
    """A narrower net. `label`: the width that changes, from `before` to `after` channels."""

    label: str
    before: int
    after: int
    arch: Arch
    cost: float


def check_target(arch: Arch, target: float, cost_of: CostOf, unit: str) -> None:
    """Raise LightsegError unless there is a net with `target` times the cost of `arch`."""
    full_cost, min_cost = cost_of(arch), cost_of(narrowest(arch))
    if min_cost > target * full_cost:
        raise LightsegError(
            f"search.target={target:g} cannot be reached: the narrowest net of these layers has "
            f"{min_cost / full_cost:.3f} of the {unit} that {arch.name} has"
        )


def proposals(arch: Arch, cost_of: CostOf, delta: float, target: float) -> list[Proposal]:
    """The proposals of a step, in the order of the net.

    Args:
        delta: reduction of the cost. It may be smaller where it reaches the `target`. Where no width can reduce the
            cost by delta, each is reduced as far as possible.
        target: cost at which the search ends.
    """
    current_cost = cost_of(arch)
    limit = max(target, current_cost - delta)
    enough: list[Proposal] = []
    furthest: list[Proposal] = []
    for label, size in adjustable_widths(arch).items():
        last = None
        for width in smaller_widths(size):
            narrower = with_widths(arch, {label: width})
            if narrower is None or (cost := cost_of(narrower)) >= current_cost:  # measured latencies need not fall
                continue
            last = Proposal(label, size, width, narrower, cost)
            if cost <= limit:
                enough.append(last)
                break
        if last is not None:
            furthest.append(last)
    return enough or furthest


def ratio(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Change in accuracy over change in cost, the objective of MobileNetV3. before, after: (accuracy, cost)."""
    return (after[0] - before[0]) / abs(after[1] - before[1])


def choose(before: tuple[float, float], candidates: Sequence[tuple[float, float]]) -> int:
    """The index of the candidate (accuracy, cost) with the best ratio; the first of equals."""
    return max(range(len(candidates)), key=lambda index: ratio(before, candidates[index]))


# -- evolution ---------------------------------------------------------------------------------------------------------


def child(seed: Arch, parent: Arch, cost_of: CostOf, target: float, delta: float, rng: random.Random) -> Arch:
    """A random net with a cost from `target - delta` to `target` and widths up to the seed's.

    Some widths of the parent are sampled anew between an eighth of the seed's and the seed's. Then single widths shrink
    or grow by steps of 8 channels until the cost is in the range.

    Raises:
        LightsegError: no such net in MAX_TRIES tries.
    """
    max_widths = adjustable_widths(seed)
    labels = list(max_widths)
    for _ in range(MAX_TRIES):
        net = parent
        for label in rng.sample(labels, max(1, round(rng.uniform(0.1, 0.4) * len(labels)))):
            choices = [
                max_widths[label],
                *(size for size in smaller_widths(max_widths[label]) if size >= max_widths[label] / 8),
            ]
            net = with_widths(net, {label: rng.choice(choices)}) or net
        fitted = _adjust_cost(net, max_widths, cost_of, target, delta, rng)
        if fitted is not None:
            return fitted
    raise LightsegError(
        f"search.delta: no net has a cost within delta below the target, after {MAX_TRIES} tries: give a larger delta"
    )


def _adjust_cost(
    net: Arch, max_widths: dict[str, int], cost_of: CostOf, target: float, delta: float, rng: random.Random
) -> Arch | None:
    """Change single widths until the cost is from `target - delta` to `target`; None if 40 per width do not suffice."""
    for _ in range(40 * len(max_widths)):
        cost = cost_of(net)
        if target - delta <= cost <= target:
            return net
        label = rng.choice(list(max_widths))
        size = adjustable_widths(net)[label]
        sizes: Iterable[int] = (
            smaller_widths(size) if cost > target else range(size // 8 * 8 + 8, max_widths[label] + 1, 8)
        )
        candidates = (with_widths(net, {label: width}) for width in sizes)
        net = next((candidate for candidate in candidates if candidate is not None), net)
    return None


def parents(evaluated: Sequence[tuple[float, Arch]], count: int) -> list[Arch]:
    """The `count` nets with the highest accuracy, the earlier of equals first. evaluated: (accuracy, net) each."""
    order = sorted(range(len(evaluated)), key=lambda index: -evaluated[index][0])
    return [evaluated[index][1] for index in order[:count]]
