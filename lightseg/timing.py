"""Repeated timing: a first call that does not count, because it also allocates and chooses kernels, then medians.

On a slow machine there are fewer repetitions than asked for: no measurement takes much longer than its budget.
"""

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

BUDGET_S = 10.0

Key = TypeVar("Key", bound=Hashable)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each of `runs` calls after one that does not count; fewer once they add up to the budget."""
    call()
    times: list[float] = []
    while len(times) < runs and sum(times) < BUDGET_S:
        times.append(seconds(call))
    return times


def rounds(count: int, *, at_least: int = 1, budget_s: float | None = None) -> Iterator[int]:
    """0, for the round that does not count, then 1 to `count`; once the budget is spent, no more than `at_least`."""
    began = time.perf_counter()
    for number in range(count + 1):
        if number > at_least and time.perf_counter() - began > (BUDGET_S if budget_s is None else budget_s):
            return
        yield number


def in_turn(
    calls: Mapping[Key, Callable[[], object]], count: int, *, at_least: int = 3, budget_s: float | None = None
) -> dict[Key, list[float]]:
    """Seconds of every call in every round that counts: what slows the machine down meanwhile slows all of them."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for number in rounds(count, at_least=at_least, budget_s=budget_s):
        for key, call in calls.items():
            spent = seconds(call)
            if number:
                times[key].append(spent)
    return times


def summary(times: Sequence[float]) -> dict[str, Any]:
    """`latency_ms` (median), `latency_min_ms` and `runs`."""
    return {
        "latency_ms": round(statistics.median(times) * 1e3, 3),
        "latency_min_ms": round(min(times) * 1e3, 3),
        "runs": len(times),
    }
