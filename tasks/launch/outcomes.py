"""The outcomes of the runs of a sweep, and their table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import TASKS
from lightseg.config.sweep import Run
from lightseg.text import align


@dataclass(frozen=True)
class Outcome:
    """The end of a run: with a record, or with an error line."""

    run: Run
    folder: Path | None
    record: dict[str, Any] | None
    error: str = ""
    log: Path | None = None


def metric_text(record: dict[str, Any]) -> str:
    key = TASKS[record["task"]].monitor if record["task"] in TASKS else ""
    value = record["metrics"].get(key)
    return f"{key} {value:.4f}" if isinstance(value, int | float) else f"{key} -"


def table(rows: list[tuple[str, Outcome]]) -> str:
    """A line per run: name, the task's metric, cost and folder."""
    lines = [("run", "metric", "M params", "M MAdds", "ms", "folder")]
    for name, outcome in rows:
        if outcome.record is None:
            lines.append((name, "failed", "", "", "", str(outcome.log or "")))
            continue
        cost = outcome.record["cost"]
        numbers = [(cost.get("params"), 1e6, 2), (cost.get("madds"), 1e6, 1), (cost.get("latency_ms"), 1, 1)]
        shown = [f"{value / unit:.{digits}f}" if value else "-" for value, unit, digits in numbers]
        lines.append((name, metric_text(outcome.record), *shown, str(outcome.folder)))  # type: ignore[arg-type]
    return "\n".join(align(lines, left=(0, 1, 5)))  # the other columns are numbers


def report_failures(outcomes: list[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.record is None]
    for outcome in failed:
        print(f"failed: {outcome.run.name}: {outcome.error} (log: {outcome.log})", flush=True)
    return 1 if failed else 0
