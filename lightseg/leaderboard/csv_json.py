"""Leaderboards for programs: CSV and JSON, with every figure as it was measured (0..1, not per cent)."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lightseg.leaderboard.matrix import Matrix
from lightseg.leaderboard.table import Group, Row

FORMULA = tuple("=+-@\t\r＝＋－＠")  # a spreadsheet takes a cell that begins so for a formula
COSTS = ("params", "madds", "latency_ms", "latency_how", "input", "memory_mb", "train_s", "date", "reward")
NAMES = ("backbone", "head", "weights")


def csv_text(groups: Sequence[Group]) -> str:
    """A line a row. Metrics have a column for each group (`seg camvid val/mIoU`): no column mixes protocols."""
    return _csv([line(group, row) for group in groups for row in group.rows])


def line(group: Group, row: Row) -> dict[str, Any]:
    """A row as flat values, under the headings of the CSV."""
    found: dict[str, Any] = {"group": group.label, "task": group.task, "data": group.data}
    found |= {"protocol": group.protocol_text} | {key: getattr(row, key) for key in NAMES}
    found |= {"setting": " ".join(f"{k}={v}" for k, v in (group.shared | row.setting).items())}
    found |= {"seeds": len(row.records)} | {key: getattr(row, key) for key in COSTS}
    found |= {"on_madds_front": int(row.on_madds_front), "on_latency_front": int(row.on_latency_front)}
    found |= {"config_hash": row.config_hash, "folder": str(row.records[0].folder)}
    for key in group.metrics:
        if key in row.metrics:
            found[f"{group.label} {key}"] = row.metrics[key].mean
            found[f"{group.label} {key} std"] = row.metrics[key].std
    return found


def matrix_csv(matrix: Matrix) -> str:
    """A line a model, two columns a group."""
    lines = []
    for (backbone, weights), cells in zip(matrix.models, matrix.cells, strict=True):
        line: dict[str, Any] = {"backbone": backbone, "weights": weights}
        for group, row in zip(matrix.groups, cells, strict=True):
            value = None if row is None else row.metrics[group.metric]
            line[f"{group.label} {group.metric}"] = None if value is None else value.mean
            line[f"{group.label} {group.metric} std"] = None if value is None else value.std
        lines.append(line)
    return _csv(lines)


def json_text(groups: Sequence[Group], note: str = "") -> str:
    """`{"groups": [{..., "rows": [{..., "runs": [{"folder", "seed"}]}]}], "left_out": "..."}`."""
    listed = []
    for group in groups:
        plain = {key: getattr(group, key) for key in ("label", "task", "data", "fingerprint", "protocol", "metric")}
        rows = [_row(row) for row in group.rows]
        listed.append({**plain, "shared_setting": group.shared, "repeated": group.repeated, "rows": rows})
    return json.dumps({"groups": listed, "left_out": note}, indent=1, allow_nan=False) + "\n"


def matrix_json(matrix: Matrix) -> str:
    models = []
    for (backbone, weights), cells in zip(matrix.models, matrix.cells, strict=True):
        found = zip(matrix.groups, cells, strict=True)
        means = {group.label: asdict(row.metrics[group.metric]) for group, row in found if row is not None}
        models.append({"backbone": backbone, "weights": weights, "metrics": means})
    columns = [{"label": g.label, "metric": g.metric, "protocol": g.protocol} for g in matrix.groups]
    return json.dumps({"columns": columns, "models": models}, indent=1, allow_nan=False) + "\n"


def escape_csv(cell: Any) -> Any:
    """Text that a spreadsheet would compute gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell


def _row(row: Row) -> dict[str, Any]:
    plain = {key: getattr(row, key) for key in (*NAMES, "setting", "seeds", *COSTS, "config_hash")}
    fronts = {"on_madds_front": row.on_madds_front, "on_latency_front": row.on_latency_front}
    runs = [{"folder": str(run.folder), "seed": run.seed} for run in row.records]
    return {**plain, "metrics": {key: asdict(value) for key, value in row.metrics.items()}, **fronts, "runs": runs}


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(key for line in lines for key in line))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([escape_csv(name) for name in names])
    for line in lines:
        writer.writerow(["" if line.get(name) is None else escape_csv(line[name]) for name in names])
    return file.getvalue()
