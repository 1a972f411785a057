"""What is read of every `record.json`. (Being written; the fields of Record stand.)"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One finished run. Every text is printable and short, every number finite; what a record does not say is None."""

    folder: Path  # of the run, as found: links are made of it, never of what the record says
    task: str
    data: str
    backbone: str
    head: str
    weights: str  # "scratch", "pretrained", or the name of the file that the backbone began with
    setting: dict[str, str]  # what differs from the defaults: {"trainer.max_epochs": "24"}
    metrics: dict[str, float]  # scalars, 0..1: {"val/mIoU": 0.71, "val/pixel_accuracy": 0.85}
    protocol: dict[str, str]  # how they were measured: {"split": "val", "images": "80", "flip": "false", ...}
    fingerprint: str  # of the split that was evaluated
    params: int | None
    madds: int | None
    latency_ms: float | None
    latency_how: str  # "cpu, 2 threads": latencies of different places are not compared
    input: str  # what cost was measured with: "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_memory_mb: float | None  # of the run's process
    config_hash: str  # shared by runs that differ in the seed alone
    seed: int
    checkpoint: str  # of mode=test the path as given, otherwise empty
    started: datetime
    wall_s: float | None
