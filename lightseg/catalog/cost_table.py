"""The file of a table of measured latencies (`search.table`), written by a search and reused by others.

Its header has the metric, the machine, its number of threads, and further conditions of the measurement. Nothing here
imports torch: a file is checked before a search begins.
"""

import json
from pathlib import Path
from typing import Any

from lightseg.atomic_io import write_json
from lightseg.errors import LightsegError

METRIC = "latency_ms"


def check_table(path: Path, cost: str) -> None:
    """Raise LightsegError unless a search for `cost` can use the table `path`, which need not exist."""
    if cost != METRIC:
        raise LightsegError(
            f"search.table={path} is for search.cost={METRIC}, and the target is of {cost}: leave the table out"
        )
    if path.exists() and (metric := _content(path)["metric"]) != cost:
        raise LightsegError(
            f"search.table={path} is of {metric}, and the target of search.cost={cost}: give one of both"
        )


def read_table(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The entries of a table. LightsegError if the file is no table or its header differs from `header`."""
    content = _content(path)
    for key, value in header.items():
        if content.get(key) != value:
            raise LightsegError(
                f"search.table={path} is of {key} {content.get(key)}, not {value}: give another, or none to measure one"
            )
    entries: dict[str, Any] = content["entries"]
    return entries


def write_table(path: Path, header: dict[str, Any], entries: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**header, "entries": entries})


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LightsegError(f"search.table={path}: no table that can be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or "metric" not in content or not isinstance(content.get("entries"), dict):
        raise LightsegError(f"search.table={path} is no table of costs (metric, entries)")
    return content
