"""NetAdapt (arXiv:1804.03230, Algorithm 1) as MobileNetV3 uses it (arXiv:1905.02244, section 4.2): the arithmetic.

Each step makes proposals: one for every expansion, and one for every bottleneck with all blocks that are joined to it
by residuals, made narrow enough that the net's cost falls by at least delta. Each is trained for a short while, and the
one with the best ratio of change in accuracy to change in cost is kept, until the cost is under the target. No torch
here.

The evolutionary variant draws the sizes of all expansions and bottlenecks at once: children of the best nets so far,
each made narrow at random until its cost is between the target and a delta below it.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lightseg.catalog.arch import Arch
from lightseg.errors import LightsegError
from lightseg.search.netadapt.channel_graph import adjustable, resized, smaller, smallest

CostOf = Callable[[Arch], float]
TRIES = 200  # of one child, before another parent's is drawn


@dataclass(frozen=True)
class Proposal:
    """A narrower net. `what`: the width that changed, from `before` to `after` channels."""

    what: str
    before: int
    after: int
    arch: Arch
    cost: float


def check_target(arch: Arch, target: float, cost_of: CostOf, unit: str) -> None:
    """Raise LightsegError unless there is a net of `target` times the cost of `arch`."""
    whole, least = cost_of(arch), cost_of(smallest(arch))
    if least > target * whole:
        raise LightsegError(
            f"search.target={target:g} cannot be reached: the narrowest net of these layers has {least / whole:.3f} of "
            f"the {unit} that {arch.name} has"
        )


def proposals(arch: Arch, cost_of: CostOf, delta: float, target: float) -> list[Proposal]:
    """What may be cut next, in the net's order.

    Args:
        delta: by how much the cost has to fall; less where that is enough for the `target`, or where no width can give
            as much, and then each is cut as far as it goes.
        target: cost at which the search ends.
    """
    now = cost_of(arch)
    limit = max(target, now - delta)
    enough: list[Proposal] = []
    furthest: list[Proposal] = []
    for label, size in adjustable(arch).items():
        last = None
        for less in smaller(size):
            made = resized(arch, {label: less})
            if made is None or (cost := cost_of(made)) >= now:  # a latency's table is measured: it need not fall
                continue
            last = Proposal(label, size, less, made, cost)
            if cost <= limit:
                enough.append(last)
                break
        if last is not None:
            furthest.append(last)
    return enough or furthest


def ratio(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Change in accuracy over the change in cost, each pair (accuracy, cost): what MobileNetV3 maximises. Accuracy that
    is lost counts less the more cost was saved."""
    return (after[0] - before[0]) / abs(after[1] - before[1])


def choose(before: tuple[float, float], found: Sequence[tuple[float, float]]) -> int:
    """The place of the best (accuracy, cost); the first of equals."""
    return max(range(len(found)), key=lambda place: ratio(before, found[place]))


# -- evolution ---------------------------------------------------------------------------------------------------------


def child(seed: Arch, parent: Arch, cost_of: CostOf, target: float, delta: float, draw: random.Random) -> Arch:
    """A net with a cost from `target - delta` to `target`, all of whose widths are at most the seed's.

    Some widths of the parent are drawn anew between an eighth of the seed's and the whole; then single widths shrink or
    grow by one step of 8 channels until the cost fits.

    Raises:
        LightsegError: no net was found between the two costs.
    """
    most = adjustable(seed)
    labels = list(most)
    for _ in range(TRIES):
        net = parent
        for label in draw.sample(labels, max(1, round(draw.uniform(0.1, 0.4) * len(labels)))):
            choices = [most[label], *(size for size in smaller(most[label]) if size >= most[label] / 8)]
            net = resized(net, {label: draw.choice(choices)}) or net
        fitted = _fitted(net, most, cost_of, target, delta, draw)
        if fitted is not None:
            return fitted
    raise LightsegError(
        f"search.delta: no net was found whose cost is within it below the target, in {TRIES} tries: give a larger one"
    )


def _fitted(
    net: Arch, most: dict[str, int], cost_of: CostOf, target: float, delta: float, draw: random.Random
) -> Arch | None:
    for _ in range(40 * len(most)):
        cost = cost_of(net)
        if target - delta <= cost <= target:
            return net
        label = draw.choice(list(most))
        size = adjustable(net)[label]
        sizes: Iterable[int] = smaller(size) if cost > target else range(size // 8 * 8 + 8, most[label] + 1, 8)
        made = (resized(net, {label: other}) for other in sizes)
        net = next((one for one in made if one is not None), net)
    return None


def parents(found: Sequence[tuple[float, Arch]], count: int) -> list[Arch]:
    """The `count` nets of the highest accuracy, the earlier of equals first."""
    order = sorted(range(len(found)), key=lambda place: -found[place][0])
    return [found[place][1] for place in order[:count]]
