"""The Pareto front of accuracy against a cost."""

from collections.abc import Sequence


def front(accuracies: Sequence[float], costs: Sequence[float | None]) -> set[int]:
    """Positions of the points to which no other is equal or better in both and better in one. Equal points share it;
    a point without a cost is not on it."""
    points = sorted(
        (cost, -accuracy, i)
        for i, (accuracy, cost) in enumerate(zip(accuracies, costs, strict=True))
        if cost is not None
    )
    chosen: set[int] = set()
    best: tuple[float, float] | None = None  # accuracy, and the lowest cost it was had for
    for cost, negative, i in points:
        accuracy = -negative
        if best is None or accuracy > best[0] or (accuracy, cost) == best:
            best = (accuracy, cost)
            chosen.add(i)
    return chosen
