"""Which runs a leaderboard shows, and in which order."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any

from lightseg.errors import LightsegError, nearest
from lightseg.leaderboard.conditions import places
from lightseg.leaderboard.table import Group, Row
from lightseg.leaderboard.validate import Record

COLUMNS = ("backbone", "head", "params", "madds", "latency", "memory", "time", "date", "reward")
FILTERS = ("task", "data", "backbone", "head", "weights")


def select(records: Sequence[Record], patterns: dict[str, str | None]) -> list[Record]:
    """The records whose `task`, `data`, `backbone`, `head` and `weights` match: shell patterns, several with commas.

    Raises:
        LightsegError: nothing is left; the message names what there is of the first key without a match.
    """
    kept = list(records)
    for key, words in patterns.items():
        if words is None:
            continue
        wanted = [word.strip() for word in words.split(",") if word.strip()]
        there = sorted({getattr(record, key) for record in kept})
        kept = [record for record in kept if any(fnmatchcase(getattr(record, key), word) for word in wanted)]
        if not kept:
            others = [name for name, value in patterns.items() if value is not None and name != key]
            among = f" among the {', '.join(others)} chosen" if others else ""
            raise LightsegError(f"no run has {key} {words!r}{among}: {nearest(words, there)}")
    return kept


def ordered(groups: Sequence[Group], key: str | None, reverse: bool = False) -> list[Group]:
    """The groups with their rows sorted, those that lack the value last.

    Args:
        key: one of COLUMNS, or a metric (`mIoU`, `val/mAP50`); None is the main metric. Costs and losses begin with
            the lowest, metrics, rewards and dates with the highest, names with a. Latencies, and rewards made of them,
            are ordered among those measured in one place, one place after the other.
        reverse: the other way round.
    """
    if key is None or key in COLUMNS:
        if key == "reward" and all(row.reward is None for group in groups for row in group.rows):
            raise LightsegError("no row has a reward to sort by: give --reward MS, for runs whose latency is known")
        return [replace(group, rows=_sorted(group, key or group.metric, reverse)) for group in groups]
    metrics = dict.fromkeys(metric for group in groups for metric in group.metrics)
    found = [metric for metric in metrics if key in (metric, metric.partition("/")[2])]
    if not found:
        choices = [*COLUMNS, *(metric.partition("/")[2] for metric in metrics)]
        raise LightsegError(f"nothing is called {key!r} to sort by: {nearest(key, choices)}")
    # a metric of other tasks leaves a group in its own order
    return [
        replace(group, rows=_sorted(group, next((m for m in found if m in group.metrics), group.metric), reverse))
        for group in groups
    ]


def _sorted(group: Group, key: str, reverse: bool) -> tuple[Row, ...]:
    values = [(_value(row, key), row) for row in group.rows]
    highest_first = (key in ("date", "reward")) or (key not in COLUMNS and not group.metric_info(key).lower_is_better)
    present: list[tuple[Any, Row]] = [pair for pair in values if pair[0] is not None]
    present.sort(key=itemgetter(0), reverse=highest_first != reverse)
    if key in ("latency", "reward"):
        order = places(group.rows)
        present.sort(key=lambda pair: order[pair[1].latency_how])
    return (*(row for _, row in present), *(row for value, row in values if value is None))


def _value(row: Row, key: str) -> float | str | None:
    if key not in COLUMNS:
        return row.metrics[key].mean if key in row.metrics else None
    attribute = {"latency": "latency_ms", "memory": "memory_mb", "time": "train_s"}.get(key, key)
    return getattr(row, attribute)
