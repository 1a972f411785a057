"""One self-contained HTML page: tables that sort and filter, a scatter with its Pareto front, models x data sets.

It opens from the disk with no network: style and script stand in it, and a content security policy lets no others run.
What records say is in one JSON element that the script puts on the page as text alone; links lead to files of the run's
own folder, relative to the page. The parts stand in assets/.
"""

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightseg.atomic_io import write_text
from lightseg.catalog.tasks import TASKS, MetricInfo
from lightseg.errors import LightsegError
from lightseg.leaderboard.conditions import places, short_places
from lightseg.leaderboard.sanitize import plain
from lightseg.leaderboard.table import Group, Row
from lightseg.leaderboard.validate import Record

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("elements.js", "table.js", "plot.js", "matrix.js", "page.js")  # one script, in this order
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FILES = ("config.yaml", "metrics.csv", "record.json")  # linked of every run that has them, after its pictures
MOST_PICTURES = 12  # links a run


def write_page(groups: Sequence[Group], path: str | Path, notes: Sequence[str] = ()) -> None:
    """Write the page of these groups; its links are right as long as page and run folders keep their places.

    Args:
        notes: lines at the foot of the page, such as which records were skipped and why.

    Raises:
        LightsegError: the file cannot be written.
    """
    path = Path(path)
    text = page(groups, path.parent, notes)
    try:
        write_text(path, text)
    except OSError as error:
        raise LightsegError(f"cannot write {path}: {error.strerror}") from error


def page(groups: Sequence[Group], folder: Path, notes: Sequence[str] = ()) -> str:
    """The page's text, its links relative to `folder`."""
    style = asset("page.css")
    script = "".join(map(asset, SCRIPTS))
    parts = {
        "style": style,
        "style_hash": source_hash(style),
        "script": script,
        "script_hash": source_hash(script),
        "data": embedded_json(page_data(groups, folder, notes)),
    }
    # one pass: what a record says cannot be taken for a place to fill
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Of a content security policy: the one script or style whose bytes these are may stand in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded_json(content: Any) -> str:
    """JSON that cannot end its script element or begin markup: <, >, & and all that is not ASCII are escaped."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(groups: Sequence[Group], folder: Path, notes: Sequence[str]) -> dict[str, Any]:
    """What the script reads: every number finite or null, every text plain."""
    runs = sum(len(row.records) for group in groups for row in group.rows)
    tasks, data = {group.task for group in groups}, {group.data for group in groups}
    counts = (counted(runs, "run"), counted(len(tasks), "task"), counted(len(data), "data set"))
    return {
        "summary": " · ".join((*counts, f"made {datetime.now():%Y-%m-%d %H:%M}")),
        "notes": list(notes),
        "groups": [group_data(group, folder) for group in groups],
    }


def group_data(group: Group, folder: Path) -> dict[str, Any]:
    others = [key for key in group.metrics if key != group.metric]
    task = TASKS[group.task].title
    order, (shorts, _) = places(group.rows), short_places(group.rows)
    _, _, number = group.label.partition(" #")  # of two protocols of the same task and data
    return {
        "heading": f"{group.data} #{number}" if number else group.data,
        "task": task,
        "data": group.data,
        "protocol": group.protocol_text,
        "shared": ", ".join(f"{key}={value}" for key, value in group.shared.items()),
        "repeated": f"{counted(group.repeated, 'older run')} of a seed left out" if group.repeated else "",
        "metric": short_metric(group.metric),
        "others": [other_metric(key, group.metric_info(key)) for key in others],
        "places": len(order),
        "rows": [
            row_data(row, group.metric, others, folder)
            | {"place": "" if row.latency_ms is None else short, "set": order.get(row.latency_how, 0)}
            for row, short in zip(group.rows, shorts, strict=True)
        ],
    }


def other_metric(key: str, info: MetricInfo) -> dict[str, Any]:
    return {"name": short_metric(key), "unit": info.unit, "lower": info.lower_is_better}


def row_data(row: Row, metric: str, others: Sequence[str], folder: Path) -> dict[str, Any]:
    main = row.metrics.get(metric)
    return {
        "backbone": row.backbone,
        "head": row.head,
        "weights": "from scratch" if row.weights == "scratch" else row.weights,
        "scratch": row.weights == "scratch",
        "setting": row.setting_text,
        "mean": finite(main.mean) if main else None,
        "std": finite(main.std) if main else None,
        "n": len(row.records),
        "others": [finite(row.metrics[key].mean) if key in row.metrics else None for key in others],
        "params": finite(row.params),
        "madds": finite(row.madds),
        "latency": finite(row.latency_ms),
        "measured": row.latency_how,
        "input": row.input,
        "memory": finite(row.memory_mb),
        "trained": finite(row.train_s),
        "score": finite(row.reward),
        "date": row.date,
        "runs": [run_data(record, metric, folder) for record in row.records],
    }


def run_data(record: Record, metric: str, folder: Path) -> dict[str, Any]:
    return {
        "seed": str(record.seed),
        "started": f"{record.started:%Y-%m-%d %H:%M}",
        "value": finite(record.metrics.get(metric)),
        "links": run_links(record.folder, folder),
    }


def run_links(run: Path, folder: Path) -> list[tuple[str, str]]:
    """(name, address relative to `folder`) of a run's pictures, configuration, figures and record, where they are."""
    try:
        pictures = sorted(entry.name for entry in os.scandir(run / "images") if entry.name.lower().endswith(PICTURES))
    except OSError:
        pictures = []
    names = [*(Path("images", name) for name in pictures[:MOST_PICTURES]), *map(Path, FILES)]
    addresses = [(name.name, relative_address(run, name, folder)) for name in names]
    return [(plain(name), address) for name, address in addresses if address is not None]


def relative_address(run: Path, name: Path, folder: Path) -> str | None:
    """The URL of a run's file from a page in `folder`; None where it is no file, or not the run's own but linked there.

    Every part is quoted, colons too: a folder named "javascript:..." is no scheme.
    """
    try:
        file = (run / name).resolve(strict=True)
        if not file.is_relative_to(run.resolve()) or not file.is_file():
            return None
        # a browser takes ".." from the address as it stands, before any link on the way is followed
        parts = Path(os.path.relpath(os.path.abspath(run / name), os.path.abspath(folder))).parts
        return "/".join(quote(part, safe="") for part in parts)
    except (OSError, ValueError):  # gone meanwhile; on another drive; a name that is not text
        return None


def short_metric(key: str) -> str:
    """val/mIoU -> mIoU: the split is in the protocol."""
    return key.partition("/")[2] or key


def finite(value: float | int | None) -> float | int | None:
    """A number that JavaScript has too, or None."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 1e300:
        return None
    return value


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
