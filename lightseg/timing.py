"""Repeated timing: a warm-up call, which allocates memory and chooses kernels, then the timed calls.

A measurement ends early when its time budget is spent, so that it does not take long on a slow machine.
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
    """Seconds of each of `runs` calls after a warm-up call; fewer where they add up to BUDGET_S."""
    call()
    times: list[float] = []
    while len(times) < runs and sum(times) < BUDGET_S:
        times.append(seconds(call))
    return times


def rounds(count: int, *, min_rounds: int = 1, budget_s: float | None = None) -> Iterator[int]:
    """0 for the warm-up round, then 1 to `count`; once the budget is spent, no more than `min_rounds`."""
    began = time.perf_counter()
    for number in range(count + 1):
        if number > min_rounds and time.perf_counter() - began > (BUDGET_S if budget_s is None else budget_s):
            return
        yield number


def interleaved(
    calls: Mapping[Key, Callable[[], object]], count: int, *, min_rounds: int = 3, budget_s: float | None = None
) -> dict[Key, list[float]]:
    """Seconds of every call, timed in alternation: a disturbance of the machine slows all calls alike."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for number in rounds(count, min_rounds=min_rounds, budget_s=budget_s):
        for key, call in calls.items():
            duration = seconds(call)
            if number:
                times[key].append(duration)
    return times


def summary(times: Sequence[float]) -> dict[str, Any]:
    """`latency_ms` (median), `latency_min_ms` and `runs` (their number)."""
    return {
        "latency_ms": round(statistics.median(times) * 1e3, 3),
        "latency_min_ms": round(min(times) * 1e3, 3),
        "runs": len(times),
    }
