"""Leaderboards for programs: CSV and JSON, with every figure as it was measured (0..1, not per cent)."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lightseg.leaderboard.matrix import Matrix
from lightseg.leaderboard.table import Group, Row

FORMULA = tuple("=+-@\t\r＝＋－＠")  # a spreadsheet takes a cell that begins with one of these for a formula
COST_FIELDS = ("params", "madds", "latency_ms", "latency_how", "input", "memory_mb", "train_s", "date", "reward")
NAME_FIELDS = ("backbone", "head", "weights")


def csv_text(groups: Sequence[Group]) -> str:
    """A line per row. A metric has a column per group (`seg camvid val/mIoU`), so that no column mixes protocols."""
    return _csv([csv_row(group, row) for group in groups for row in group.rows])


def csv_row(group: Group, row: Row) -> dict[str, Any]:
    """The values of a row by the headings of the CSV."""
    values: dict[str, Any] = {"group": group.label, "task": group.task, "data": group.data}
    values |= {"protocol": group.protocol_text} | {key: getattr(row, key) for key in NAME_FIELDS}
    values |= {"setting": " ".join(f"{k}={v}" for k, v in (group.shared | row.setting).items())}
    values |= {"seeds": len(row.records)} | {key: getattr(row, key) for key in COST_FIELDS}
    values |= {"on_madds_front": int(row.on_madds_front), "on_latency_front": int(row.on_latency_front)}
    values |= {"config_hash": row.config_hash, "folder": str(row.records[0].folder)}
    for key in group.metrics:
        if key in row.metrics:
            values[f"{group.label} {key}"] = row.metrics[key].mean
            values[f"{group.label} {key} std"] = row.metrics[key].std
    return values


def matrix_csv(matrix: Matrix) -> str:
    """A line per model, two columns per group."""
    lines = []
    for (backbone, weights), cells in zip(matrix.models, matrix.cells, strict=True):
        line: dict[str, Any] = {"backbone": backbone, "weights": weights}
        for group, row in zip(matrix.groups, cells, strict=True):
            metric = None if row is None else row.metrics[group.metric]
            line[f"{group.label} {group.metric}"] = None if metric is None else metric.mean
            line[f"{group.label} {group.metric} std"] = None if metric is None else metric.std
        lines.append(line)
    return _csv(lines)


def json_text(groups: Sequence[Group], note: str = "") -> str:
    """`{"groups": [{..., "rows": [{..., "runs": [{"folder", "seed"}]}]}], "left_out": "..."}`."""
    contents = []
    for group in groups:
        fields = {key: getattr(group, key) for key in ("label", "task", "data", "fingerprint", "protocol", "metric")}
        rows = [_json_row(row) for row in group.rows]
        contents.append({**fields, "shared_setting": group.shared, "repeated": group.repeated, "rows": rows})
    return json.dumps({"groups": contents, "left_out": note}, indent=1, allow_nan=False) + "\n"


def matrix_json(matrix: Matrix) -> str:
    models = []
    for (backbone, weights), cells in zip(matrix.models, matrix.cells, strict=True):
        rows = zip(matrix.groups, cells, strict=True)
        metrics = {group.label: asdict(row.metrics[group.metric]) for group, row in rows if row is not None}
        models.append({"backbone": backbone, "weights": weights, "metrics": metrics})
    columns = [{"label": g.label, "metric": g.metric, "protocol": g.protocol} for g in matrix.groups]
    return json.dumps({"columns": columns, "models": models}, indent=1, allow_nan=False) + "\n"


def escape_csv(cell: Any) -> Any:
    """The cell, with an apostrophe before text that a spreadsheet would compute."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell


def _json_row(row: Row) -> dict[str, Any]:
    fields = {key: getattr(row, key) for key in (*NAME_FIELDS, "setting", "seeds", *COST_FIELDS, "config_hash")}
    fronts = {"on_madds_front": row.on_madds_front, "on_latency_front": row.on_latency_front}
    runs = [{"folder": str(run.folder), "seed": run.seed} for run in row.records]
    return {**fields, "metrics": {key: asdict(value) for key, value in row.metrics.items()}, **fronts, "runs": runs}


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    headings = list(dict.fromkeys(key for line in lines for key in line))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([escape_csv(heading) for heading in headings])
    for line in lines:
        writer.writerow(["" if line.get(heading) is None else escape_csv(line[heading]) for heading in headings])
    return file.getvalue()
