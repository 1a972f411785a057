"""Tables of runs that may be compared: `groups` makes them of records, a Row is the seeds of one configuration."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from lightseg.catalog.tasks import TASKS, MetricInfo
from lightseg.leaderboard.pareto import front
from lightseg.leaderboard.protocol import say_protocol
from lightseg.leaderboard.validate import Record

# MnasNet (arXiv:1807.11626), section 3.1: accuracy * (latency / target)^w, w = -0.07 as twice the latency buys 5 %
REWARD_EXPONENT = -0.07


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (None for one value) of `n` seeds."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """The seeds of one configuration."""

    backbone: str
    head: str
    weights: str  # "scratch", "pretrained", or the name of the file that the backbone began with
    setting: dict[str, str]  # what differs from the defaults and is not the same in all rows of the group
    metrics: dict[str, Statistic]  # 0..1, the task's main one first: {"val/mIoU": ...}
    seeds: tuple[int, ...]
    params: int | None
    madds: int | None
    latency_ms: float | None  # median over the runs that were measured as `latency_how` says
    latency_how: str  # "Intel(R) Core(TM) i7-8700, 2 threads, Linux x86_64"
    input: str  # "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_s: float | None  # mean wall time of the runs that trained
    date: str  # of the newest run: "2026-11-22"
    reward: float | None  # MnasNet's, where a target latency is given
    on_madds_front: bool  # no other row of the group is as accurate for fewer multiply-adds
    on_latency_front: bool  # the same of latency, among rows measured in one place
    config_hash: str
    records: tuple[Record, ...]  # one a seed, newest first

    @property
    def setting_text(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.setting.items())


@dataclass(frozen=True)
class Group:
    """Rows whose numbers may be compared: one task, one data set (by its fingerprint too), one evaluation protocol."""

    label: str  # unique: "seg camvid", or "seg camvid #2" for its second protocol
    task: str
    data: str
    fingerprint: str
    protocol: dict[str, str]
    metric: str  # the main one: "val/mIoU"
    metrics: tuple[str, ...]  # all that its rows have, the main one first
    shared: dict[str, str]  # settings that all rows have in common
    rows: tuple[Row, ...]  # in the order asked for
    repeated: int  # runs left out because a newer one has the same configuration and seed

    def metric_info(self, key: str) -> MetricInfo:
        """How one of its `metrics` is shown and ordered."""
        return TASKS[self.task].metric(key)

    @property
    def protocol_text(self) -> str:
        """One line: "val, 80 images, resolution: the label's own, best checkpoint, 32-true, files ab29eca25395"."""
        said = say_protocol(self.protocol)
        return f"{said}, files {self.fingerprint}" if self.fingerprint else said


def groups(
    records: Iterable[Record], *, target_ms: float | None = None, reward_exponent: float = REWARD_EXPONENT
) -> list[Group]:
    """One a task, data set and protocol, in the order of the tasks and names; rows by the main metric, best first.

    Args:
        target_ms: MnasNet's target latency; without it rows have no reward.
    """
    found: dict[tuple[str, str, str, frozenset[tuple[str, str]]], list[Record]] = {}
    for record in records:
        key = (record.task, record.data, record.fingerprint, frozenset(record.protocol.items()))
        found.setdefault(key, []).append(record)
    tasks = list(TASKS)
    # of several protocols on one data set that of the most runs is the first
    ordered = sorted(found.values(), key=lambda runs: (tasks.index(runs[0].task), runs[0].data, -len(runs)))
    names = Counter((runs[0].task, runs[0].data) for runs in ordered)
    numbers: Counter[tuple[str, str]] = Counter()
    made = []
    for runs in ordered:
        name = (runs[0].task, runs[0].data)
        numbers[name] += 1
        label = " ".join(name) + (f" #{numbers[name]}" if names[name] > 1 else "")
        made.append(_group(label, runs, target_ms, reward_exponent))
    return made


def _group(label: str, runs: Sequence[Record], target_ms: float | None, exponent: float) -> Group:
    configurations: dict[tuple[str, str, str, str], dict[tuple[int, str], Record]] = {}
    for run in sorted(runs, key=lambda run: (run.started, str(run.folder)), reverse=True):
        key = (run.backbone, run.head, run.weights, run.config_hash)
        # a seed that was run again says nothing new of the spread: the newest stands
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
    for how in {how for _, how in latencies}:
        latency_front |= front(accuracies, [ms if at == how else None for ms, at in latencies])
    alike = Counter((r[0].backbone, r[0].head, r[0].weights, frozenset(r[0].setting.items())) for r in seeds)
    rows = []
    for i, records in enumerate(seeds):
        newest = records[0]
        setting = {key: value for key, value in newest.setting.items() if key not in shared}
        name = (newest.backbone, newest.head, newest.weights, frozenset(newest.setting.items()))
        if alike[name] > 1:  # the defaults have changed between them: all there is to tell them apart
            setting["config"] = newest.config_hash
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


def _statistics(records: Sequence[Record], main: str) -> dict[str, Statistic]:
    """Of each metric over the seeds that have it (COCO's mAP_small is undefined where nothing is small)."""
    keys = dict.fromkeys([main, *(key for record in records for key in record.metrics)])
    result = {}
    for key in keys:
        values = [record.metrics[key] for record in records if key in record.metrics]
        result[key] = Statistic(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
    return result


def _latency(records: Sequence[Record]) -> tuple[float | None, str]:
    """The median over the runs measured in the place where most were (the newest of equals), and that place."""
    times: dict[str, list[float]] = {}
    for record in records:
        if record.latency_ms is not None:
            times.setdefault(record.latency_how, []).append(record.latency_ms)
    if not times:
        return None, ""
    how = max(times, key=lambda key: len(times[key]))
    return median(times[how]), how
