"""How often is measured, and what counts: against a clock that the test turns."""

import pytest

from lightseg import timing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Now, in seconds."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def takes(clock: list[float], *durations: float):
    """A call that takes these seconds one time after another."""
    left = list(durations)

    def call() -> None:
        clock[0] += left.pop(0)

    return call


def test_the_first_call_does_not_count(clock) -> None:
    assert timing.repeated(takes(clock, 9, 1, 2, 4), 3) == [1, 2, 4]


def test_the_budget_ends_the_runs_but_not_the_first(clock) -> None:
    assert timing.repeated(takes(clock, 1, 6, 5, 1), 3) == [6, 5]
    assert timing.repeated(takes(clock, 1, 60, 1), 3) == [60]


@pytest.mark.parametrize(("min_rounds", "expected"), [(1, [0, 1]), (3, [0, 1, 2, 3])])
def test_rounds_within_a_budget(clock, min_rounds: int, expected: list[int]) -> None:
    done = []
    for number in timing.rounds(9, min_rounds=min_rounds, budget_s=5):
        clock[0] += 4
        done.append(number)
    assert done == expected
    assert list(timing.rounds(4, budget_s=5)) == [0, 1, 2, 3, 4]


def test_interleaved_calls(clock) -> None:
    calls = {"a": takes(clock, 9, 1, 2), "b": takes(clock, 9, 3, 4)}
    assert timing.interleaved(calls, 2) == {"a": [1, 2], "b": [3, 4]}


def test_the_summary_is_in_milliseconds() -> None:
    assert timing.summary([0.004, 0.001, 0.0020004]) == {"latency_ms": 2.0, "latency_min_ms": 1.0, "runs": 3}
