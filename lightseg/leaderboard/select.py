"""Selects the runs of a leaderboard and sorts its rows."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any

from lightseg.errors import LightsegError, nearest
from lightseg.leaderboard.table import Group, Row, rank_conditions
from lightseg.leaderboard.validate import Record

COLUMNS = ("backbone", "head", "params", "madds", "latency", "memory", "time", "date", "reward")
FILTERS = ("task", "data", "backbone", "head", "weights")


def select_records(records: Sequence[Record], filters: dict[str, str | None]) -> list[Record]:
    """The records that match the filters.

    Args:
        filters: of `task`, `data`, `backbone`, `head` and `weights`: shell patterns, separated by commas; None: all.

    Raises:
        LightsegError: no record matches. The message names the first key without a match, and the nearest values.
    """
    selected = list(records)
    for key, text in filters.items():
        if text is None:
            continue
        patterns = [pattern.strip() for pattern in text.split(",") if pattern.strip()]
        values = sorted({getattr(record, key) for record in selected})
        selected = [record for record in selected if any(fnmatchcase(getattr(record, key), p) for p in patterns)]
        if not selected:
            others = [name for name, value in filters.items() if value is not None and name != key]
            among = f" among the {', '.join(others)} chosen" if others else ""
            raise LightsegError(f"no run has {key} {text!r}{among}: {nearest(text, values)}")
    return selected


def sort_groups(groups: Sequence[Group], key: str | None, reverse: bool = False) -> list[Group]:
    """The groups with their rows sorted. Rows without the value come last.

    Args:
        key: one of COLUMNS, or a metric (`mIoU`, `val/mAP50`); None: the main metric. Costs and losses are sorted from
            the lowest, metrics, rewards and dates from the highest, names from a. Latencies and rewards are sorted
            separately for each of the measurement conditions.
        reverse: the other way round.

    Raises:
        LightsegError: there is no such column or metric, or no row has a reward.
    """
    if key is None or key in COLUMNS:
        if key == "reward" and all(row.reward is None for group in groups for row in group.rows):
            raise LightsegError("no row has a reward to sort by: give --reward MS, for runs whose latency is known")
        return [replace(group, rows=_sorted(group, key or group.metric, reverse)) for group in groups]
    metrics = dict.fromkeys(metric for group in groups for metric in group.metrics)
    matches = [metric for metric in metrics if key in (metric, metric.partition("/")[2])]
    if not matches:
        choices = [*COLUMNS, *(metric.partition("/")[2] for metric in metrics)]
        raise LightsegError(f"no column or metric {key!r} to sort by: {nearest(key, choices)}")
    # a group without the metric (of another task) is sorted by its main metric
    return [
        replace(group, rows=_sorted(group, next((m for m in matches if m in group.metrics), group.metric), reverse))
        for group in groups
    ]


def _sorted(group: Group, key: str, reverse: bool) -> tuple[Row, ...]:
    values = [(_value(row, key), row) for row in group.rows]
    highest_first = (key in ("date", "reward")) or (key not in COLUMNS and not group.metric_info(key).lower_is_better)
    present: list[tuple[Any, Row]] = [pair for pair in values if pair[0] is not None]
    present.sort(key=itemgetter(0), reverse=highest_first != reverse)
    if key in ("latency", "reward"):
        ranks = rank_conditions(group.rows)
        present.sort(key=lambda pair: ranks[pair[1].latency_how])
    return (*(row for _, row in present), *(row for value, row in values if value is None))


def _value(row: Row, key: str) -> float | str | None:
    if key not in COLUMNS:
        return row.metrics[key].mean if key in row.metrics else None
    attribute = {"latency": "latency_ms", "memory": "memory_mb", "time": "train_s"}.get(key, key)
    return getattr(row, attribute)
