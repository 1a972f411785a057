"""Costs in a leaderboard: measurement conditions of latencies, MnasNet's reward, the Pareto fronts."""

import random

import pytest

from lightseg.leaderboard.pareto import front
from lightseg.leaderboard.select import sort_groups
from tests.leaderboard.conftest import net


def test_latency_is_the_median_under_the_same_conditions(make_groups):
    (group,) = make_groups(
        *({"seed": i, "cost.latency_ms": ms} for i, ms in enumerate([10.0, 12.0, 30.0])),
        *({"seed": i + 3, "cost.latency_ms": 1.0, "cost.measured.threads": 8} for i in range(2)),
    )
    assert group.rows[0].latency_ms == 12.0 and group.rows[0].latency_how == "cpu, 2 threads, Linux x86_64"


def test_reward_is_the_one_of_mnasnet(make_groups):
    contents = [net("a", 0.75, **{"cost.latency_ms": 80.0}), net("b", 0.7, **{"cost.latency_ms": None})]
    (group,) = make_groups(*contents, target_ms=75.0)
    assert group.rows[0].reward == pytest.approx(0.75 * (80 / 75) ** -0.07)
    assert group.rows[1].reward is None
    twice = 0.75 * 1.05 * (160 / 75) ** -0.07  # 5 % more accuracy makes up for twice the latency
    assert twice == pytest.approx(group.rows[0].reward, rel=2e-3)


def is_beaten(point, others):
    """Whether another point is at least as good in both values and better in one."""
    return any(a >= point[0] and c <= point[1] and (a, c) != point for a, c in others)


def test_front_is_the_points_that_no_other_beats():
    generator = random.Random(0)
    for _ in range(200):
        points = [(generator.randint(0, 6) / 10, float(generator.randint(1, 6))) for _ in range(12)]
        expected = {i for i, point in enumerate(points) if not is_beaten(point, points)}
        assert front([a for a, _ in points], [c for _, c in points]) == expected


def test_a_point_without_a_cost_is_not_on_the_front():
    assert front([0.9, 0.5], [None, 1.0]) == {1}
    assert front([], []) == set()


def test_fronts_of_a_group(make_groups):
    (group,) = make_groups(
        net("small", 0.5, **{"cost.madds": 10, "cost.latency_ms": 9.0}),
        net("large", 0.7, **{"cost.madds": 90, "cost.latency_ms": 5.0}),
        net("beaten", 0.6, **{"cost.madds": 95, "cost.latency_ms": 6.0}),
        net("elsewhere", 0.4, **{"cost.madds": 99, "cost.latency_ms": 20.0, "cost.measured.threads": 1}),
    )
    assert {row.backbone for row in group.rows if row.on_madds_front} == {"small", "large"}
    # one thread's latency is not beaten by two threads'
    assert {row.backbone for row in group.rows if row.on_latency_front} == {"large", "elsewhere"}


def on(processor, ms):
    return {"cost.latency_ms": ms, "cost.measured.processor": processor}


def test_latencies_of_two_machines_are_not_ranked_together(make_groups):
    """With the same platform and number of threads, but another processor."""
    groups = make_groups(
        net("fast", 0.6, **on("Xeon 8380", 5.0)),
        net("slow", 0.7, **on("Xeon 8380", 9.0)),
        net("beaten", 0.5, **on("Xeon 8380", 6.0)),
        net("elsewhere", 0.4, **on("Atom C3558", 1.0)),
        net("before", 0.3, **{"cost.latency_ms": 7.0}),  # a record without the processor
        net("untimed", 0.2, **{"cost.latency_ms": None}),
    )
    (group,) = groups
    assert {row.backbone for row in group.rows if row.on_latency_front} == {"fast", "slow", "elsewhere", "before"}

    def names(*arguments):
        return [row.backbone for row in sort_groups(groups, *arguments)[0].rows]

    assert names("latency") == ["fast", "beaten", "slow", "elsewhere", "before", "untimed"]
    assert names("latency", True) == ["slow", "beaten", "fast", "elsewhere", "before", "untimed"]


def test_latency_of_seeds_on_two_machines_is_that_of_one(make_groups):
    (group,) = make_groups(
        *({"seed": i, **on("Xeon 8380", 10.0 + i)} for i in range(3)),
        *({"seed": i + 3, **on("Atom C3558", 90.0)} for i in range(2)),
    )
    (row,) = group.rows
    assert row.latency_ms == 11.0 and row.latency_how == "Xeon 8380, 2 threads, Linux x86_64" and len(row.seeds) == 5
