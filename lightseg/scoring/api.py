"""`score`: foreign predictions, scored as those of a run, and a record of them."""

import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from lightseg import record
from lightseg.atomic_io import write_json
from lightseg.catalog.tasks import formats, get_task, resolve
from lightseg.data.datasets.opening import open_split
from lightseg.data.io.integrity import verify
from lightseg.data.io.value_range import channels_of, format_of
from lightseg.errors import LightsegError
from lightseg.scoring.scored import Scored

FOREIGN = "foreign"  # in place of the head


def score(
    predictions: str | Path,
    config: Mapping[str, Any],
    folder: Path,
    *,
    name: str,
    program: str,
    cost: Mapping[str, float | None],
) -> tuple[dict[str, Any], list[str]]:
    """Score predictions on the evaluation split and write `folder`/record.json.

    Args:
        predictions: a file or folder, as the functions of `lightseg.scoring` describe for each task.
        config: a composed configuration: its task, its data and its evaluation split count.
        folder: of the record; it must not have any.
        name: of the model. program: that predicted, with its version; "" where it is not known.
        cost: `params`, `madds`, `latency_ms` as the user gives them.

    Returns:
        The record, and remarks on predictions that do not count.

    Raises:
        LightsegError: predictions that cannot be read, are not of this data or are incomplete, or a record that exists.
    """
    info = get_task(config["task"])
    if not info.scoring:
        raise LightsegError(f"predictions of task {info.name} cannot be scored: give task=det, pose, seg or cls")
    started = time.time()
    path, data = Path(predictions), config["data"]
    if (folder / "record.json").exists():
        raise LightsegError(f"{folder / 'record.json'} exists: give another --output, or --overwrite")
    form = formats()[data["format"]].formats[data["format"]]
    if form.prepare:
        resolve(form.prepare)(data)
    split = "val"
    dataset = open_split(data, split, None)
    if hasattr(dataset, "pixels"):
        dataset.pixels = format_of(dataset.paths, *channels_of(data), data.get("range"), str(data["root"]))
    skipped = verify(dataset, data["on_error"])
    scored: Scored = resolve(info.scoring)(dataset, path, data)
    # a run's figures are float32, as Lightning logs them: the same predictions have the same digits
    metrics = {f"{split}/{key}": float(np.float32(value)) for key, value in scored.metrics.items()}
    content = {
        "schema": record.SCHEMA,
        "task": info.name,
        "data": data["name"],
        "backbone": name,
        "head": FOREIGN,
        "setting": {},
        "metrics": record.finite_metrics(metrics),
        "protocol": {
            "split": split,
            "images": len(dataset),
            "resolution": scored.resolution,
            **scored.protocol,
            "left_out": getattr(dataset, "report", []),
            "skipped": [{"path": str(path), "reason": str(reason)} for path, reason in skipped],
        },
        "cost": dict(cost),
        "foreign": {"program": program, "predictions": path.name},
        "config": {"task": info.name, "data": data, "mode": "test", "ckpt": None, "pretrained": None},
        "config_hash": hashlib.sha256(f"{name} {program}".encode()).hexdigest()[:12],
        "seed": 0,
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "wall_s": round(time.time() - started, 1),
        "versions": record.versions(),
        "data_fingerprint": {split: dataset.fingerprint()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "record.json", content)
    except OSError as error:
        raise LightsegError(f"cannot write {folder / 'record.json'}: {error.strerror or error}") from error
    return content, scored.notes
