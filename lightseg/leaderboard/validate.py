"""Checks the content of a record.json: `parse` returns a `Record` of plain values, or raises `InvalidRecord`."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import TASKS
from lightseg.leaderboard.protocol import read_protocol
from lightseg.leaderboard.sanitize import (
    MAX_CHARS,
    MAX_KEYS,
    MAX_NUMBER,
    InvalidRecord,
    count_field,
    is_number,
    number_field,
    object_field,
    one_line_text,
    text_field,
)
from lightseg.record import SCHEMA


@dataclass(frozen=True)
class Record:
    """One finished run. Every text is printable and short, every number finite; None stands for a missing value."""

    folder: Path  # of the run on this disk; links are made from it, never from the text of the record
    task: str
    data: str
    backbone: str
    head: str
    weights: str  # "scratch", "pretrained", or the name of the file that the backbone began with
    setting: dict[str, str]  # what differs from the defaults: {"trainer.max_epochs": "24"}
    metrics: dict[str, float]  # scalars, 0..1, the main metric first: {"val/mIoU": 0.71, "val/pixel_accuracy": 0.85}
    protocol: dict[str, str]  # how the metrics were measured: {"split": "val", "images": "80", "flip": "false", ...}
    fingerprint: str  # of the split that was evaluated
    train_fingerprint: str  # of the training split, "" where the record has none
    params: int | None
    madds: int | None
    latency_ms: float | None
    latency_how: str  # measurement conditions: "Intel(R) Core(TM) i7-8700, 2 threads, Linux x86_64"
    input: str  # on which the cost was measured: "1x3x128x256 uint8"
    memory_mb: float | None  # of one forward
    train_memory_mb: float | None  # of the run's process
    config_hash: str  # the same for runs that differ only in the seed
    seed: int
    checkpoint: str  # of mode=test: the value of `ckpt`; otherwise ""
    started: datetime
    wall_s: float | None
    trained: bool  # False: mode=test, evaluated only
    foreign: bool = False  # predictions of another program, of `lightseg score`


def parse(content: bytes, folder: Path) -> Record:
    """The record of a run in `folder`. Raises InvalidRecord."""
    try:
        record = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, InvalidRecord) else InvalidRecord("not valid JSON") from error
    if not isinstance(record, dict):
        raise InvalidRecord("not a JSON object")
    schema = record.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise InvalidRecord("without a schema")
        number = number_field(record, "schema") or 0
        advice = "newer: update lightseg" if number > SCHEMA else "older: run it again"
        raise InvalidRecord(f"of schema {number:.0f} ({advice})")
    task = text_field(record, "task")
    if task not in TASKS:
        raise InvalidRecord(f"of task {task}, which is not one of {', '.join(TASKS)}")
    config, cost, protocol = (object_field(record, key) for key in ("config", "cost", "protocol"))
    measured, fingerprints = _dict(cost.get("measured")), _dict(record.get("data_fingerprint"))
    tested = config.get("mode") == "test"
    foreign = None if record.get("foreign") is None else object_field(record, "foreign")
    return Record(
        folder=folder,
        task=task,
        data=text_field(record, "data"),
        backbone=text_field(record, "backbone"),
        head=text_field(record, "head"),
        weights=_program(foreign) if foreign is not None else _weights(config.get("pretrained")),
        setting=_setting(object_field(record, "setting")),
        metrics=_metrics(object_field(record, "metrics"), TASKS[task].monitor),
        protocol=read_protocol(protocol, _dict(config.get("data"))),
        fingerprint=one_line_text(fingerprints.get(str(protocol.get("split")), "")),
        train_fingerprint=one_line_text(fingerprints.get("train", "")),
        params=count_field(cost, "params", "cost."),
        madds=count_field(cost, "madds", "cost."),
        latency_ms=number_field(cost, "latency_ms", "cost."),
        latency_how=_conditions(measured, _dict(record.get("versions"))),
        input=one_line_text(measured.get("input", "")),
        memory_mb=number_field(cost, "peak_memory_mb", "cost."),
        train_memory_mb=number_field(cost, "run_peak_memory_mb", "cost."),
        config_hash=text_field(record, "config_hash"),
        seed=_seed(record.get("seed")),
        checkpoint=one_line_text(config.get("ckpt") or "") if tested else "",
        started=_started(record.get("started")),
        wall_s=number_field(record, "wall_s"),
        trained=not tested,
        foreign=foreign is not None,
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _refuse_constant(name: str) -> Any:
    raise InvalidRecord(f"with {name} for a number")


def _seed(value: Any) -> int:
    if not isinstance(value, int) or not is_number(value, -MAX_NUMBER, MAX_NUMBER):
        raise InvalidRecord("without a seed" if value is None else "whose seed is not an integer")
    return value


def _started(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidRecord("whose start is not an ISO date") from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _metrics(metrics: dict[str, Any], main: str) -> dict[str, float]:
    """The scalars, the main metric first, without metrics of single classes (`val/IoU/road`)."""
    if metrics.get(main) is None:
        raise InvalidRecord(f"without {main}")
    scalars = {main: 0.0}
    for key, value in metrics.items():
        if key.count("/") != 1 or value is None:  # null: undefined on these images
            continue
        low, high = (0.0, 1.0) if key == main else (-MAX_NUMBER, MAX_NUMBER)
        if not is_number(value, low, high):
            raise InvalidRecord(f"whose {one_line_text(key)} is not a number from {low:g} to {high:g}")
        if not key.isprintable() or len(key) > MAX_CHARS:
            raise InvalidRecord("with a metric whose name is too long or holds control characters")
        scalars[key] = float(value)
    if len(scalars) > MAX_KEYS:
        raise InvalidRecord(f"with more than {MAX_KEYS} metrics")
    return scalars


def _weights(pretrained: Any) -> str:
    if pretrained is None or isinstance(pretrained, bool):
        return "pretrained" if pretrained else "scratch"
    if not isinstance(pretrained, str) or not pretrained.strip():
        raise InvalidRecord("whose config.pretrained is neither true, false nor a file")
    name = one_line_text(re.split(r"[/\\]", pretrained.rstrip("/\\"))[-1])
    return f"file {name}" if name in ("scratch", "pretrained", "") else name


def _program(foreign: dict[str, Any]) -> str:
    """In place of the weights: "foreign", or the program that predicted."""
    program = one_line_text(foreign.get("program") or "")
    return f"foreign: {program}" if program else "foreign"


def _setting(setting: dict[str, Any]) -> dict[str, str]:
    """The settings without those shown elsewhere (weights, evaluation) and those that change no figure."""
    if len(setting) > MAX_KEYS:
        raise InvalidRecord(f"with more than {MAX_KEYS} settings")
    hidden = ("pretrained", "evaluation", "profile", "ckpt")
    return {
        one_line_text(key): one_line_text(value) for key, value in setting.items() if key.split(".")[0] not in hidden
    }


def _conditions(measured: dict[str, Any], versions: dict[str, Any]) -> str:
    """Measurement conditions: processor or device, threads and platform; "cpu" for a record without a processor."""
    device = measured.get("device")
    parts = [one_line_text(device)] if device else []
    if device == "cpu":
        parts = [one_line_text(measured.get("processor") or device)]
        if measured.get("threads"):
            parts.append(f"{one_line_text(measured['threads'])} threads" if measured["threads"] != 1 else "1 thread")
    if versions.get("machine"):
        parts.append(one_line_text(versions["machine"]))
    return ", ".join(parts) or "unknown conditions"
