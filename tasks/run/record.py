"""`record.json` of a finished run, and its printed summary."""

import resource
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightseg import record
from lightseg.atomic_io import write_json
from lightseg.errors import LightsegError
from lightseg.profile import profile_model

from ..base import Task
from ..data import DataModule
from .evaluate import Evaluation


def write_record(
    folder: Path,
    config: dict[str, Any],
    defaults: dict[str, Any],
    evaluation: Evaluation,
    task: Task,
    data: DataModule,
    started: float,
    training: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure the cost and write `record.json`, last and atomically. Returns its content.

    training: of `training_of`, None where the run has trained nothing itself.
    """
    spec = task.model.spec
    dataset = data.dataset(data.evaluation_split)
    height, width = config["profile"]["image_size"]
    print(f"measuring the cost at {height}x{width} ...", flush=True)
    cost = profile_model(task.model, (height, width), runs=config["profile"]["runs"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    content = {
        "schema": record.SCHEMA,
        "task": config["task"],
        "data": config["data"]["name"],
        "backbone": spec["backbone"],
        "head": spec["head"]["name"],
        "setting": record.setting(config, defaults),
        "metrics": record.finite_metrics(evaluation.metrics),
        "protocol": {
            "split": data.evaluation_split,
            "images": evaluation.samples,
            **({"partial_of": len(dataset)} if evaluation.samples < len(dataset) else {}),
            "resolution": task.resolution,
            **({"crop": data.options["eval"]} if "eval" in data.options else {}),
            "flip": config["evaluation"]["flip"],
            "scales": config["evaluation"]["scales"],
            "checkpoint": evaluation.checkpoint,
            "ema": bool(config["ema"]["decay"]),
            "precision": evaluation.precision,
            **task.protocol(),
            "left_out": getattr(dataset, "report", []),
            "skipped": [{"path": path, "reason": reason} for path, reason in data.skipped],
        },
        **({"training": training} if training else {}),
        "input": task.model.contract.to_dict(),
        "cost": {**cost, "run_peak_memory_mb": round(peak)},
        "accelerator": evaluation.accelerator,
        "config": config,
        "config_hash": record.config_hash(config),
        "seed": config["seed"],
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "wall_s": round(task.wall_before + time.time() - started, 1),
        "versions": record.versions(),
        "git": record.git_state(Path(__file__).parents[2]),
        "data_fingerprint": data.fingerprint(),
    }
    try:
        write_json(folder / "record.json", content)
    except OSError as error:
        raise LightsegError(
            f"cannot write {folder / 'record.json'}: {error.strerror}; resume={folder} writes it again"
        ) from error
    return content


def summary(content: dict[str, Any], folder: Path, unit: str) -> str:
    """The text that is printed at the end of a run. unit: of the samples, "images" for example."""
    metrics, cost, protocol = content["metrics"], content["cost"], content["protocol"]
    device = content["accelerator"]
    on = f" on {device['count']} x {device['name']}" if device["type"] != "cpu" else ""
    figures = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items() if v is not None and k.count("/") == 1)
    tables: dict[str, list[tuple[float, str]]] = {}  # of classes: val/IoU/road
    for key, value in metrics.items():
        if key.count("/") > 1 and value is not None:
            _, kind, name = key.split("/", 2)
            tables.setdefault(kind, []).append((value, name))
    return "\n".join(
        [
            f"{content['data']} ({protocol['images']} {unit}): {figures}",
            *(f"{kind} %: {_lowest(values)}" for kind, values in tables.items()),
            f"cost: {cost['params'] / 1e6:.2f} M parameters, {cost['madds'] / 1e9:.2f} G multiply-adds, "
            f"{cost['latency_ms']:.1f} ms on CPU; run: {content['wall_s']:.0f} s{on}, {cost['run_peak_memory_mb']} MB",
            f"images: {folder / 'images'}\nrecord: {folder / 'record.json'}",
        ]
    )


def _lowest(values: list[tuple[float, str]], max_shown: int = 20) -> str:
    shown = values if len(values) <= max_shown else sorted(values)[:max_shown]
    text = "  ".join(f"{name} {100 * value:.1f}" for value, name in shown)
    return text if len(values) <= max_shown else f"{text}  (the lowest {max_shown} of {len(values)})"
