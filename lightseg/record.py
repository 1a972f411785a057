"""`record.json`: the results of a finished run, for comparison. It is written last and atomically, so a run without it
is not finished.

Top level (schema 1): `schema, task, data, backbone, head, setting` (what differs from the defaults), `metrics`
(`{"val/mIoU": 0.71}`, 0..1), `protocol` (how the metrics were measured), `cost` (`params, madds, latency_ms,
peak_memory_mb` and how measured), `config, config_hash, seed, started, wall_s, versions, git, data_fingerprint`.
"""

import hashlib
import json
import math
import platform
import subprocess
from pathlib import Path
from typing import Any

SCHEMA = 1
# keys that do not change the result: the run's folder, its logging and launching
NOT_HASHED = ("seed", "runs_dir", "resume", "ckpt", "logger", "experiment", "profile", "launcher", "search")


def config_hash(config: dict[str, Any]) -> str:
    """12 hex digits that are equal for runs that differ only in seed, folder, logging and launching."""
    config = composed(config)
    kept = {key: value for key, value in config.items() if key not in NOT_HASHED or _searches(key, value)}
    if "file" in kept.get("data", {}):  # the path of the data file
        kept["data"] = {key: value for key, value in kept["data"].items() if key != "file"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def setting(config: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The dotted keys in which a configuration differs from its defaults, without task, data and backbone."""
    config = composed(config)
    ignored = ("task", "backbone", "data.name", "data.file", "data.root", "head.name", *NOT_HASHED)
    changed: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in ignored and not (not prefix and _searches(key, value)):
            continue
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            changed |= setting(value, default, f"{name}.")
        elif key not in defaults or value != default:
            changed[name] = value
    return changed


def composed(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration before a run filled in its nulls: the keys that `resolved` lists are null again."""
    plain = {key: value for key, value in config.items() if key != "resolved"}
    for dotted in config.get("resolved") or ():
        *parents, last = dotted.split(".")
        node = plain
        for parent in parents:  # copied, so that the caller's dicts are not changed
            node[parent] = dict(node[parent])
            node = node[parent]
        node[last] = None
    return plain


def _searches(key: str, value: Any) -> bool:
    """Whether it is the group of a search, on which the result depends."""
    return key == "search" and isinstance(value, dict) and value.get("name", "none") != "none"


def finite(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Plain floats for JSON; an undefined metric (a class that never occurs) becomes null."""
    return {key: (float(value) if math.isfinite(float(value)) else None) for key, value in metrics.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    import importlib.metadata  # takes 30 ms, which --help and errors do not need

    numbers = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    packages = (
        "lightseg",
        "torch",
        "timm",
        "pytorch-lightning",
        "torchmetrics",
        "albumentations",
        "opencv-python-headless",
    )
    for package in packages:
        try:
            numbers[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


def git_state(folder: Path) -> dict[str, Any]:
    """Commit of the checkout, and whether its tracked files are changed.

    Empty outside git, and where git tracks no file of the folder: an environment may lie in another repository.
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
