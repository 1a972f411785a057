"""The file of a table of measured latencies: one search makes it, others go on with it, `search.table` names it.

It says what it holds: the metric, the machine, its number of threads, and whatever else its entries are of. No torch
here: a file is checked before a search begins.
"""

import json
from pathlib import Path
from typing import Any

from lightseg.atomic_io import write_json
from lightseg.errors import LightsegError

METRIC = "latency_ms"


def check_table(path: Path, cost: str) -> None:
    """LightsegError unless a search whose target is of `cost` can go on with `path`, which need not exist."""
    if cost != METRIC:
        raise LightsegError(
            f"search.table={path} is for search.cost={METRIC}, and the target is of {cost}: leave the table out"
        )
    if path.exists() and (metric := _content(path)["metric"]) != cost:
        raise LightsegError(
            f"search.table={path} is of {metric}, and the target of search.cost={cost}: give one of both"
        )


def read_table(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The entries. LightsegError if the file is no table, or does not say what `about` says."""
    content = _content(path)
    for key, value in about.items():
        if content.get(key) != value:
            raise LightsegError(
                f"search.table={path} is of {key} {content.get(key)}, not {value}: give another, or none to measure one"
            )
    entries: dict[str, Any] = content["entries"]
    return entries


def write_table(path: Path, about: dict[str, Any], entries: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**about, "entries": entries})


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LightsegError(f"search.table={path}: no table that can be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or "metric" not in content or not isinstance(content.get("entries"), dict):
        raise LightsegError(f"search.table={path} is no table of costs (metric, entries)")
    return content
