"""The Pareto front of accuracy against a cost."""

from collections.abc import Sequence


def front(accuracies: Sequence[float], costs: Sequence[float | None]) -> set[int]:
    """Indices of the points on the front: no other point is at least as good in both values and better in one.

    Equal points are on the front together. A point without a cost is not on it.
    """
    points = sorted(
        (cost, -accuracy, i)
        for i, (accuracy, cost) in enumerate(zip(accuracies, costs, strict=True))
        if cost is not None
    )
    indices: set[int] = set()
    best: tuple[float, float] | None = None  # the highest accuracy so far and its lowest cost
    for cost, negative, i in points:
        accuracy = -negative
        if best is None or accuracy > best[0] or (accuracy, cost) == best:
            best = (accuracy, cost)
            indices.add(i)
    return indices
