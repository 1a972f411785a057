"""One self-contained HTML page: tables that sort and filter, a scatter plot with the Pareto front, models x data sets.

Links are relative to the page and lead to files of a run's folder only. The parts of the page are in assets/, and what
it shares with other pages is in `lightseg.html_page`.
"""

import math
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightseg.catalog.tasks import TASKS, MetricInfo
from lightseg.html_page import render, save_page
from lightseg.leaderboard.sanitize import one_line_text
from lightseg.leaderboard.table import Group, Row, rank_conditions, short_conditions
from lightseg.leaderboard.validate import Record

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("table.js", "plot.js", "matrix.js", "page.js")  # joined in this order
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_IMAGES = 12  # links per run
LINKED_FILES = ("config.yaml", "metrics.csv", "record.json")  # of a run, after its images


def write_page(groups: Sequence[Group], path: str | Path, notes: Sequence[str] = ()) -> None:
    """Write the page of these groups. Its links hold as long as neither the page nor the run folders are moved.

    Args:
        notes: lines at the end of the page, such as which records were skipped and why.

    Raises:
        LightsegError: the file cannot be written.
    """
    path = Path(path)
    save_page(page_html(groups, path.parent, notes), path)


def page_html(groups: Sequence[Group], folder: Path, notes: Sequence[str] = ()) -> str:
    """The HTML, with links relative to `folder`."""
    data = page_data(groups, folder, notes)
    return render(ASSETS, "page.html", ["page.css"], SCRIPTS, data)


def page_data(groups: Sequence[Group], folder: Path, notes: Sequence[str]) -> dict[str, Any]:
    """The JSON that the script reads. Numbers are finite or null."""
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
    ranks, (conditions, _) = rank_conditions(group.rows), short_conditions(group.rows)
    _, _, number = group.label.partition(" #")  # of several protocols on the same data
    return {
        "heading": f"{group.data} #{number}" if number else group.data,
        "task": task,
        "data": group.data,
        "protocol": group.protocol_text,
        "shared": ", ".join(f"{key}={value}" for key, value in group.shared.items()),
        "repeated": f"{counted(group.repeated, 'older run')} of a seed left out" if group.repeated else "",
        "metric": short_metric(group.metric),
        "others": [other_metric(key, group.metric_info(key)) for key in others],
        "conditions": len(ranks),
        "rows": [
            row_data(row, group.metric, others, folder)
            | {"conditions": "" if row.latency_ms is None else text, "rank": ranks.get(row.latency_how, 0)}
            for row, text in zip(group.rows, conditions, strict=True)
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
        "mean": json_number(main.mean) if main else None,
        "std": json_number(main.std) if main else None,
        "n": len(row.records),
        "others": [json_number(row.metrics[key].mean) if key in row.metrics else None for key in others],
        "params": json_number(row.params),
        "madds": json_number(row.madds),
        "latency": json_number(row.latency_ms),
        "measured": row.latency_how,
        "input": row.input,
        "memory": json_number(row.memory_mb),
        "trained": json_number(row.train_s),
        "score": json_number(row.reward),
        "date": row.date,
        "runs": [run_data(record, metric, folder) for record in row.records],
    }


def run_data(record: Record, metric: str, folder: Path) -> dict[str, Any]:
    return {
        "seed": str(record.seed),
        "started": f"{record.started:%Y-%m-%d %H:%M}",
        "value": json_number(record.metrics.get(metric)),
        "links": run_links(record.folder, folder),
    }


def run_links(run: Path, folder: Path) -> list[tuple[str, str]]:
    """(name, URL relative to `folder`) of the images, configuration, metrics and record of a run, where they exist."""
    try:
        images = sorted(
            entry.name for entry in os.scandir(run / "images") if entry.name.lower().endswith(IMAGE_SUFFIXES)
        )
    except OSError:
        images = []
    names = [*(Path("images", name) for name in images[:MAX_IMAGES]), *map(Path, LINKED_FILES)]
    links = [(name.name, relative_url(run, name, folder)) for name in names]
    return [(one_line_text(name), url) for name, url in links if url is not None]


def relative_url(run: Path, name: Path, folder: Path) -> str | None:
    """The URL of a file of a run from a page in `folder`; None: it is not a file, or is outside the run's folder.

    Every part is quoted, colons too, so that a folder named "javascript:..." is not a scheme.
    """
    try:
        file = (run / name).resolve(strict=True)
        if not file.is_relative_to(run.resolve()) or not file.is_file():
            return None
        # a browser removes ".." from the URL before it follows symbolic links
        parts = Path(os.path.relpath(os.path.abspath(run / name), os.path.abspath(folder))).parts
        return "/".join(quote(part, safe="") for part in parts)
    except (OSError, ValueError):  # deleted meanwhile, on another drive, or a name that is not text
        return None


def short_metric(key: str) -> str:
    """val/mIoU -> mIoU: the split is in the protocol."""
    return key.partition("/")[2] or key


def json_number(value: float | int | None) -> float | int | None:
    """The number where JavaScript can hold it, otherwise None."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 1e300:
        return None
    return value


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
