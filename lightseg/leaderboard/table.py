"""Tables of comparable runs. (Being written; the fields of the dataclasses stand.)"""

from dataclasses import dataclass

from lightseg.leaderboard.validate import Record


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
    latency_how: str  # "cpu, 2 threads"
    input: str  # "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_s: float | None  # mean wall time of the runs
    date: str  # of the newest run: "2026-11-22"
    reward: float | None  # MnasNet's, where a target latency is given
    on_madds_front: bool  # no other row of the group is as accurate for fewer multiply-adds
    on_latency_front: bool  # the same of latency, among rows measured alike
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

    @property
    def protocol_text(self) -> str:
        """One line: "val, 80 images, the label's own resolution, best checkpoint, EMA weights, 32-true"."""
        raise NotImplementedError
