"""`record.json`: the results of a finished run, for comparison. It is written last and atomically: a run without it is
not finished.

Top level (schema 1): `schema, task, data, backbone, head, setting` (what differs from the defaults), `metrics`
(`{"val/mIoU": 0.71}`, 0..1), `protocol` (the evaluation protocol), `cost` (`params, madds, latency_ms, peak_memory_mb`
and in `measured` the measurement conditions), `accelerator` (the device of the run, lightseg/profile/accelerator.py),
`config, config_hash, seed, started, wall_s, versions, git, data_fingerprint`.
"""

import hashlib
import json
import math
import platform
import subprocess
from pathlib import Path
from typing import Any

SCHEMA = 1
# Keys, and groups of keys, that do not change the result: folders, logging and launching, and how data are read. What
# was in the folders is in the record's `data_fingerprint`.
NOT_HASHED = (
    *("seed", "runs_dir", "resume", "resume_schedule", "ckpt", "logger", "experiment", "profile", "launcher", "search"),
    *("log", "checkpoints", "evaluation.predictions"),
    *("data.file", "data.root", "data.workers", "data.cache", "data.eval_batch_size", "data.on_error"),
    *("trainer.accelerator", "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.profiler"),
    *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "trainer.inference_mode", "trainer.detect_anomaly"),
)
# keys of `data` that older releases lack, and the value that changes nothing
UNSET: dict[str, Any] = {"channels": 3, "range": None, "tile": None}


def config_hash(config: dict[str, Any]) -> str:
    """12 hex digits, equal for runs that differ only in seed and in keys that do not change the result."""
    config = composed(config)
    kept = {key: value for key, value in config.items() if _is_search(key, value) or key not in NOT_HASHED}
    for key, value in kept.items():
        if isinstance(value, dict):
            kept[key] = {name: item for name, item in value.items() if f"{key}.{name}" not in NOT_HASHED}
    if kept.get("trainer", {}).get("patience", 0) is None:  # as in runs of older releases, which lack it
        del kept["trainer"]["patience"]
    for key, value in UNSET.items():  # as in runs of releases without these keys
        if key in kept.get("data", {}) and kept["data"][key] == value:
            del kept["data"][key]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def setting(config: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values that differ from the defaults, by dotted key, without task, data and backbone."""
    config = composed(config)
    ignored = ("task", "backbone", "data.name", "head.name", *NOT_HASHED)
    changed: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in ignored and not (not prefix and _is_search(key, value)):
            continue
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            changed |= setting(value, default, f"{name}.")
        elif key not in defaults or value != default:
            changed[name] = value
    return changed


def composed(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was composed: null again for the keys in `resolved`, which the run filled in, and the
    values of `replaced`, which the run could not use or measured (`optimizer.lr=find`)."""
    plain = {key: value for key, value in config.items() if key not in ("resolved", "replaced")}
    before = dict.fromkeys(config.get("resolved") or ()) | dict(config.get("replaced") or {})
    for dotted, value in before.items():
        *parents, last = dotted.split(".")
        node = plain
        for parent in parents:  # copied, so that the caller's dicts are not changed
            node[parent] = dict(node[parent])
            node = node[parent]
        node[last] = value
    return plain


def _is_search(key: str, value: Any) -> bool:
    """Whether the key is the `search` group with a search, which changes the result."""
    return key == "search" and isinstance(value, dict) and value.get("name", "none") != "none"


def finite_metrics(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The metrics as floats for JSON. An undefined metric (of a class without a sample) becomes null."""
    return {key: (float(value) if math.isfinite(float(value)) else None) for key, value in metrics.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure."""
    import importlib.metadata  # takes 30 ms, which --help would wait for

    numbers = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    packages = ("torch", "timm", "pytorch-lightning", "torchmetrics", "albumentations", "opencv-python-headless")
    for package in ("lightseg", *packages):
        try:
            numbers[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


def git_state(folder: Path) -> dict[str, Any]:
    """`commit` of the checkout, and `dirty`: whether its tracked files are changed.

    Empty outside git and where git tracks no file of the folder, such as an environment inside another repository.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        if not git("ls-files"):
            return {}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}
