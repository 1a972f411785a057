"""Tables for people: metrics in per cent, costs with the unit in the heading, the best values marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightseg.errors import LightsegError, nearest
from lightseg.leaderboard.matrix import Matrix
from lightseg.leaderboard.table import Group, Row, Statistic, rank_conditions, short_conditions

DEFAULT_METRICS = 4  # shown without --metrics, the main metric included
ALL_METRICS = "all"


@dataclass(frozen=True)
class Column:
    heading: str
    cells: tuple[str, ...]
    numbers: bool = True  # aligned to the right
    best: frozenset[int] = frozenset()  # indices of the rows in bold
    spare: int = 0  # 0: always shown; on a narrow terminal the column with the highest value is dropped first


@dataclass(frozen=True)
class Table:
    title: str  # task and data
    notes: tuple[str, ...]
    columns: tuple[Column, ...]


def group_table(group: Group, metrics: str | None = None) -> Table:
    """The table of a group.

    Args:
        metrics: names separated by commas (`mIoU,pixel_accuracy`), or "all"; None: the main metric and three more.
    """
    rows = group.rows
    columns = [
        Column("backbone", tuple(row.backbone for row in rows), numbers=False),
        Column("head", tuple(row.head for row in rows), numbers=False, spare=5),
        Column("weights", tuple(row.weights for row in rows), numbers=False),
    ]
    if any(row.setting for row in rows):
        columns.append(Column("setting", tuple(row.setting_text for row in rows), numbers=False, spare=1))
    for i, key in enumerate(_metric_keys(group, metrics)):
        statistics = [row.metrics.get(key) for row in rows]
        means = [None if statistic is None else statistic.mean for statistic in statistics]
        info = group.metric_info(key)
        best = _best(means, min if info.lower_is_better else max)
        cells = tuple(_statistic(statistic, info.unit) for statistic in statistics)
        columns.append(Column(_heading(key, info.unit), cells, best=best, spare=0 if key == group.metric else 10 + i))
        if i == 0:
            columns.append(Column("seeds", tuple(str(len(row.records)) for row in rows), spare=2))
    comparable = len(rank_conditions(rows)) <= 1
    if any(row.reward is not None for row in rows):
        rewards = [row.reward for row in rows]
        cells = tuple("-" if reward is None else f"{100 * reward:.1f}" for reward in rewards)
        columns.append(Column("reward", cells, best=_best(rewards, max) if comparable else frozenset()))
    columns += _costs(rows, comparable)
    marks = tuple(" ".join(("M",) * row.on_madds_front + ("L",) * row.on_latency_front) for row in rows)
    columns += [
        Column("time", tuple(_duration(row.train_s) for row in rows), spare=9),
        Column("date", tuple(row.date for row in rows), spare=9),
        Column("front", marks, numbers=False),
    ]
    return Table(group.label, tuple(_notes(group)), tuple(columns))


def matrix_table(matrix: Matrix) -> Table:
    """A row per model, a column per group; the protocols are in the notes."""
    columns = [
        Column("backbone", tuple(backbone for backbone, _ in matrix.models), numbers=False),
        Column("weights", tuple(weights for _, weights in matrix.models), numbers=False),
    ]
    for i, group in enumerate(matrix.groups):
        rows = [cells[i] for cells in matrix.cells]
        statistics = [None if row is None else row.metrics[group.metric] for row in rows]
        best = _best([None if value is None else value.mean for value in statistics], max)
        cells = tuple(_statistic(value) + (f" ({value.n})" if value and value.n > 1 else "") for value in statistics)
        columns.append(Column(f"{group.label} {_heading(group.metric)}", cells, best=best))
    notes = [f"{group.label}: {group.protocol_text}" for group in matrix.groups]
    notes.append("Of each backbone the best of its heads and settings; ± over the number of seeds in brackets.")
    return Table("models x data sets", tuple(notes), tuple(columns))


def _metric_keys(group: Group, metrics: str | None) -> Sequence[str]:
    if metrics is None:
        return group.metrics[:DEFAULT_METRICS]
    if metrics == ALL_METRICS:
        return group.metrics
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    return [key for key in group.metrics if key == group.metric or key in names or key.partition("/")[2] in names]


def check_metrics(groups: Sequence[Group], metrics: str | None) -> None:
    """Raises LightsegError for a name that no group has."""
    keys = {key.partition("/")[2]: key for group in groups for key in group.metrics}
    for name in (metrics or "").split(","):
        if (name := name.strip()) and name != ALL_METRICS and name not in keys and name not in keys.values():
            raise LightsegError(f"no metric is called {name!r}: {nearest(name, keys)}")


def _costs(rows: Sequence[Row], comparable: bool) -> list[Column]:
    """comparable: whether all latencies have the same measurement conditions."""

    def column(heading: str, values: Sequence[float | None], number: Callable[[float], str], spare: int) -> Column:
        best = frozenset() if heading == "latency ms" and not comparable else _best(values, min)
        return Column(heading, tuple("-" if v is None else number(v) for v in values), best=best, spare=spare)

    columns = [
        column("params M", [row.params for row in rows], lambda v: _number(v / 1e6, 2), 6),
        column("MAdds M", [row.madds for row in rows], lambda v: _number(v / 1e6, 1), 0),
        column("latency ms", [row.latency_ms for row in rows], lambda v: _number(v, 1), 4),
        column("memory MB", [row.memory_mb for row in rows], lambda v: _number(v, 1), 8),
    ]
    if not comparable:
        columns.append(Column("measured on", tuple(short_conditions(rows)[0]), numbers=False, spare=3))
    if len({row.input for row in rows}) > 1:
        columns.append(Column("input", tuple(row.input or "-" for row in rows), numbers=False, spare=7))
    return columns


def _notes(group: Group) -> list[str]:
    notes = [group.protocol_text]
    if group.shared:
        notes.append("All rows: " + " ".join(f"{key}={value}" for key, value in group.shared.items()))
    _, conditions = short_conditions(group.rows)
    first = group.rows[0]
    measured = [conditions] if conditions else []
    measured += [first.input] if len({row.input for row in group.rows}) == 1 and first.input else []
    if measured:
        notes.append(f"Cost: {'; '.join(measured)}")
    notes.append("Front: M = no other row is as accurate for fewer MAdds, L = for less latency (measured alike).")
    if group.repeated:
        notes.append(f"Left out, because a newer run has the same configuration and seed: {group.repeated}")
    return notes


def _best(values: Sequence[float | None], choose: Callable[..., Any]) -> frozenset[int]:
    """Indices of the best value; equal values share it. Empty where there are no two different values."""
    present = [value for value in values if value is not None]
    if len(set(present)) < 2:
        return frozenset()
    best = choose(present)
    return frozenset(i for i, value in enumerate(values) if value == best)


def _heading(metric: str, unit: str = "%") -> str:
    name = metric.partition("/")[2] if metric.startswith("val/") else metric
    return f"{name} {unit}".rstrip()


def _statistic(value: Statistic | None, unit: str = "%") -> str:
    if value is None:
        return "-"
    scale, decimals = (100, 1) if unit == "%" else (1, 2)
    spread = "" if value.std is None else f" ± {_number(scale * value.std, decimals)}"
    return _number(scale * value.mean, decimals) + spread


def _number(value: float, decimals: int) -> str:
    """Fixed decimals up to a million, beyond it three digits and an exponent, so that columns stay narrow."""
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.2e}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{_number(seconds / 3600, 1)} h"
