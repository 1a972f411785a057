"""One record as plain, checked values: `Record`. What cannot be one says why in a `Refused`."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import TASKS
from lightseg.leaderboard.protocol import read_protocol
from lightseg.leaderboard.sanitize import (
    MOST_KEYS,
    MOST_LETTERS,
    MOST_NUMBER,
    Refused,
    count,
    is_number,
    mapping,
    name,
    number,
    plain,
)
from lightseg.record import SCHEMA


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
    metrics: dict[str, float]  # scalars, 0..1, the main one first: {"val/mIoU": 0.71, "val/pixel_accuracy": 0.85}
    protocol: dict[str, str]  # how they were measured: {"split": "val", "images": "80", "flip": "false", ...}
    fingerprint: str  # of the split that was evaluated
    params: int | None
    madds: int | None
    latency_ms: float | None
    latency_how: str  # "Intel(R) Core(TM) i7-8700, 2 threads, Linux x86_64": other places' latencies do not compare
    input: str  # what cost was measured with: "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_memory_mb: float | None  # of the run's process
    config_hash: str  # shared by runs that differ in the seed alone
    seed: int
    checkpoint: str  # of mode=test the path as given, otherwise empty
    started: datetime
    wall_s: float | None
    trained: bool  # or, with mode=test, evaluated only


def parse(content: bytes, folder: Path) -> Record:
    """A record.json as it was read. Raises Refused."""
    try:
        record = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Refused) else Refused("not whole JSON") from error
    if not isinstance(record, dict):
        raise Refused("not a JSON object")
    schema = record.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise Refused("without a schema")
        newer = number(record, "schema") or 0
        advice = "newer: update lightseg" if newer > SCHEMA else "older: run it again"
        raise Refused(f"of schema {newer:.0f} ({advice})")
    task = name(record, "task")
    if task not in TASKS:
        raise Refused(f"of task {task}, which is none of {', '.join(TASKS)}")
    config, cost = mapping(record, "config"), mapping(record, "cost")
    given, measured, fingerprints = mapping(record, "protocol"), cost.get("measured"), record.get("data_fingerprint")
    measured = measured if isinstance(measured, dict) else {}
    fingerprints = fingerprints if isinstance(fingerprints, dict) else {}
    tested = config.get("mode") == "test"
    data = config.get("data") if isinstance(config.get("data"), dict) else {}
    return Record(
        folder=folder,
        task=task,
        data=name(record, "data"),
        backbone=name(record, "backbone"),
        head=name(record, "head"),
        weights=_weights(config.get("pretrained")),
        setting=_setting(mapping(record, "setting")),
        metrics=_metrics(mapping(record, "metrics"), TASKS[task].monitor),
        protocol=read_protocol(given, data or {}),
        fingerprint=plain(fingerprints.get(str(given.get("split")), "")),
        params=count(cost, "params", "cost."),
        madds=count(cost, "madds", "cost."),
        latency_ms=number(cost, "latency_ms", "cost."),
        latency_how=_how(measured, record.get("versions")),
        input=plain(measured.get("input", "")),
        memory_mb=number(cost, "peak_memory_mb", "cost."),
        train_memory_mb=number(cost, "run_peak_memory_mb", "cost."),
        config_hash=name(record, "config_hash"),
        seed=_seed(record.get("seed")),
        checkpoint=plain(config.get("ckpt") or "") if tested else "",
        started=_started(record.get("started")),
        wall_s=number(record, "wall_s"),
        trained=not tested,
    )


def _refuse_constant(name: str) -> Any:
    raise Refused(f"with {name} for a number")


def _seed(value: Any) -> int:
    if not isinstance(value, int) or not is_number(value, -MOST_NUMBER, MOST_NUMBER):
        raise Refused("without a seed" if value is None else "whose seed is no whole number")
    return value


def _started(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Refused("whose start is no ISO date") from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _metrics(metrics: dict[str, Any], main: str) -> dict[str, float]:
    """Scalars with the main one first, without those that are one a class (`val/IoU/road`)."""
    if metrics.get(main) is None:
        raise Refused(f"without {main}")
    scalars = {main: 0.0}
    for key, value in metrics.items():
        if key.count("/") != 1 or value is None:  # null: it is not defined on these pictures
            continue
        lowest, highest = (0.0, 1.0) if key == main else (-MOST_NUMBER, MOST_NUMBER)
        if not is_number(value, lowest, highest):
            raise Refused(f"whose {plain(key)} is not a number from {lowest:g} to {highest:g}")
        if not key.isprintable() or len(key) > MOST_LETTERS:
            raise Refused("with a metric whose name is too long or holds control characters")
        scalars[key] = float(value)
    if len(scalars) > MOST_KEYS:
        raise Refused(f"with more than {MOST_KEYS} metrics")
    return scalars


def _weights(pretrained: Any) -> str:
    if pretrained is None or isinstance(pretrained, bool):
        return "pretrained" if pretrained else "scratch"
    if not isinstance(pretrained, str) or not pretrained.strip():
        raise Refused("whose config.pretrained is neither true, false nor a file")
    name = plain(re.split(r"[/\\]", pretrained.rstrip("/\\"))[-1])
    return f"file {name}" if name in ("scratch", "pretrained", "") else name


def _setting(setting: dict[str, Any]) -> dict[str, str]:
    """Without what has its own column (the weights) or caption (the evaluation), and what changes no figure."""
    if len(setting) > MOST_KEYS:
        raise Refused(f"with more than {MOST_KEYS} settings")
    said = ("pretrained", "evaluation", "profile", "ckpt")
    return {plain(key): plain(value) for key, value in setting.items() if key.split(".")[0] not in said}


def _how(measured: dict[str, Any], versions: Any) -> str:
    """The processor or other device, threads and platform; "cpu" where a record does not know the processor's name."""
    device = measured.get("device")
    parts = [plain(device)] if device else []
    if device == "cpu":
        parts = [plain(measured.get("processor") or device)]
        if measured.get("threads"):
            parts.append(f"{plain(measured['threads'])} threads" if measured["threads"] != 1 else "1 thread")
    if isinstance(versions, dict) and versions.get("machine"):
        parts.append(plain(versions["machine"]))
    return ", ".join(parts) or "not said how"
