"""Tables of runs that may be compared: `group_runs` makes them from records; a Row is the seeds of one configuration.

Measurement conditions are the processor or device, the number of threads and the platform of a latency. Only latencies
under the same conditions are ranked with each other.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from lightseg.catalog.tasks import TASKS, MetricInfo
from lightseg.leaderboard.pareto import front
from lightseg.leaderboard.protocol import COMPARED, describe_protocol
from lightseg.leaderboard.validate import Record

# MnasNet (arXiv:1807.11626), section 3.1: accuracy * (latency / target)^w, w = -0.07 as twice the latency buys 5 %
REWARD_EXPONENT = -0.07


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (None for a single value) over `n` seeds."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """The seeds of one configuration."""

    backbone: str
    head: str
    weights: str  # "scratch", "pretrained", or the name of the file that the backbone began with
    setting: dict[str, str]  # what differs from the defaults and between the rows of the group
    metrics: dict[str, Statistic]  # 0..1, the task's main metric first: {"val/mIoU": ...}
    seeds: tuple[int, ...]
    params: int | None
    madds: int | None
    latency_ms: float | None  # median over the runs measured under `latency_how`
    latency_how: str  # measurement conditions: "Intel(R) Core(TM) i7-8700, 2 threads, Linux x86_64"
    input: str  # "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_s: float | None  # mean wall time of the runs that trained
    date: str  # of the newest run: "2026-11-22"
    reward: float | None  # MnasNet's; None without a target latency
    on_madds_front: bool  # no other row of the group is as accurate for fewer multiply-adds
    on_latency_front: bool  # none is for less latency under its measurement conditions
    config_hash: str
    records: tuple[Record, ...]  # one per seed, newest first

    @property
    def setting_text(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.setting.items())


@dataclass(frozen=True)
class Group:
    """Rows whose numbers may be compared: of one task, data set (with its fingerprint) and evaluation protocol."""

    label: str  # unique: "seg camvid", or "seg camvid #2" for its second protocol
    task: str
    data: str
    fingerprint: str
    protocol: dict[str, str]
    metric: str  # the main metric: "val/mIoU"
    metrics: tuple[str, ...]  # of all rows, the main metric first
    shared: dict[str, str]  # settings that all rows have in common
    rows: tuple[Row, ...]  # in the order of the table
    repeated: int  # runs left out because a newer one has the same configuration and seed

    def metric_info(self, key: str) -> MetricInfo:
        """How one of its `metrics` is shown and ordered."""
        return TASKS[self.task].metric(key)

    @property
    def protocol_text(self) -> str:
        """One line: "val, 80 images, resolution: the label's own, best checkpoint, 32-true, files ab29eca25395"."""
        text = describe_protocol(self.protocol)
        return f"{text}, files {self.fingerprint}" if self.fingerprint else text


def group_runs(
    records: Iterable[Record], *, target_ms: float | None = None, reward_exponent: float = REWARD_EXPONENT
) -> list[Group]:
    """A group per task, data set and protocol, sorted by task and name; its rows by the main metric, best first.

    Args:
        target_ms: MnasNet's target latency; without it rows have no reward.
    """
    by_protocol: dict[tuple[str, str, str, frozenset[tuple[str, str]]], list[Record]] = {}
    foreign: list[Record] = []
    for record in records:
        if record.foreign:
            foreign.append(record)
            continue
        key = (record.task, record.data, record.fingerprint, frozenset(record.protocol.items()))
        by_protocol.setdefault(key, []).append(record)
    own = list(by_protocol.values())
    for record in foreign:
        beside = [runs for runs in own if _scored_alike(record, runs[0])]
        for runs in beside:
            runs.append(record)
        if not beside:
            key = (record.task, record.data, record.fingerprint, frozenset(record.protocol.items()))
            by_protocol.setdefault(key, []).append(record)
    tasks = list(TASKS)
    # of several protocols on one data set, the one with the most runs is the first
    parts = sorted(by_protocol.values(), key=lambda runs: (tasks.index(runs[0].task), runs[0].data, -len(runs)))
    counts = Counter((runs[0].task, runs[0].data) for runs in parts)
    numbers: Counter[tuple[str, str]] = Counter()
    groups = []
    for runs in parts:
        name = (runs[0].task, runs[0].data)
        numbers[name] += 1
        label = " ".join(name) + (f" #{numbers[name]}" if counts[name] > 1 else "")
        groups.append(_group(label, runs, target_ms, reward_exponent))
    return groups


def _scored_alike(foreign: Record, run: Record) -> bool:
    """Whether a foreign record was scored on the same files by the same rules as a run."""
    same = (foreign.task, foreign.data, foreign.fingerprint) == (run.task, run.data, run.fingerprint)
    return same and all(foreign.protocol.get(key) == run.protocol.get(key) for key in COMPARED)


def rank_conditions(rows: Sequence[Row]) -> dict[str, int]:
    """The measurement conditions of the rows' latencies -> 0, 1, ...; those of the most rows first."""
    counts = Counter(row.latency_how for row in rows if row.latency_ms is not None)
    return {how: i for i, how in enumerate(sorted(counts, key=lambda how: (-counts[how], how)))}


def short_conditions(rows: Sequence[Row]) -> tuple[list[str], str]:
    """The measurement conditions of each row without the ending that all rows share, and that ending."""
    parts = [row.latency_how.split(", ") if row.latency_how else [] for row in rows]
    measured = [part for part in parts if part]
    shared = 0
    while measured and all(len(part) > shared and part[-1 - shared] == measured[0][-1 - shared] for part in measured):
        shared += 1
    common = measured[0][len(measured[0]) - shared :] if measured else []
    return [", ".join(part[: len(part) - shared]) or "-" for part in parts], ", ".join(common)


def _group(label: str, runs: Sequence[Record], target_ms: float | None, exponent: float) -> Group:
    configurations: dict[tuple[str, ...], dict[tuple[int, str], Record]] = {}
    for run in sorted(runs, key=lambda run: (run.started, str(run.folder)), reverse=True):
        key = (run.backbone, run.head, run.weights, run.config_hash, run.train_fingerprint)
        # of runs that repeat a seed only the newest counts
        configurations.setdefault(key, {}).setdefault((run.seed, run.checkpoint), run)
    seeds = [tuple(runs.values()) for runs in configurations.values()]
    first = runs[0]
    metric = TASKS[first.task].monitor
    shared = dict(set.intersection(*(set(records[0].setting.items()) for records in seeds)))
    shared = {key: shared[key] for key in sorted(shared)}
    latencies = [_latency(records) for records in seeds]
    accuracies = [fmean(record.metrics[metric] for record in records) for records in seeds]
    madds_front = front(accuracies, [records[0].madds for records in seeds])
    latency_front: set[int] = set()
    for conditions in {how for _, how in latencies}:
        latency_front |= front(accuracies, [ms if how == conditions else None for ms, how in latencies])
    alike: dict[tuple[Any, ...], list[Record]] = {}
    for records in seeds:
        alike.setdefault(_name(records[0]), []).append(records[0])
    rows = []
    for i, records in enumerate(seeds):
        newest = records[0]
        setting = {key: value for key, value in newest.setting.items() if key not in shared}
        others = alike[_name(newest)]  # the defaults differ between versions, or the training images
        if len({record.config_hash for record in others}) > 1:
            setting["config"] = newest.config_hash
        if len({record.train_fingerprint for record in others}) > 1:
            setting["training images"] = newest.train_fingerprint or "unknown"
        ms, how = latencies[i]
        times = [record.wall_s for record in records if record.trained and record.wall_s is not None]
        rows.append(
            Row(
                backbone=newest.backbone,
                head=newest.head,
                weights=newest.weights,
                setting=setting,
                metrics=_statistics(records, metric),
                seeds=tuple(sorted(record.seed for record in records)),
                params=newest.params,
                madds=newest.madds,
                latency_ms=ms,
                latency_how=how,
                input=newest.input,
                memory_mb=newest.memory_mb,
                train_s=fmean(times) if times else None,
                date=newest.started.date().isoformat(),
                reward=accuracies[i] * (ms / target_ms) ** exponent if ms and target_ms else None,
                on_madds_front=i in madds_front,
                on_latency_front=i in latency_front,
                config_hash=newest.config_hash,
                records=records,
            )
        )
    rows.sort(key=lambda row: (-row.metrics[metric].mean, row.backbone, row.setting_text))
    return Group(
        label=label,
        task=first.task,
        data=first.data,
        fingerprint=first.fingerprint,
        protocol=first.protocol,
        metric=metric,
        metrics=tuple(dict.fromkeys(key for row in rows for key in row.metrics)),
        shared=shared,
        rows=tuple(rows),
        repeated=len(runs) - sum(map(len, seeds)),
    )


def _name(record: Record) -> tuple[str, str, str, frozenset[tuple[str, str]]]:
    """What a row shows of its configuration."""
    return record.backbone, record.head, record.weights, frozenset(record.setting.items())


def _statistics(records: Sequence[Record], main: str) -> dict[str, Statistic]:
    """Of each metric over the seeds that have it: COCO's mAP_small is undefined in images without small objects."""
    statistics = {}
    for key in dict.fromkeys([main, *(key for record in records for key in record.metrics)]):
        values = [record.metrics[key] for record in records if key in record.metrics]
        statistics[key] = Statistic(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
    return statistics


def _latency(records: Sequence[Record]) -> tuple[float | None, str]:
    """The median under the measurement conditions of the most runs (of equals, of the newest), and the conditions."""
    times: dict[str, list[float]] = {}
    for record in records:
        if record.latency_ms is not None:
            times.setdefault(record.latency_how, []).append(record.latency_ms)
    if not times:
        return None, ""
    how = max(times, key=lambda key: len(times[key]))
    return median(times[how]), how
