"""The leaderboard in Weights & Biases: a Report with live run sets, and an artifact with a `wandb.Table` per group.

For each group the Report has the table as text and a panel grid over its runs. The grid has a run set with the columns
of the leaderboard, plots of accuracy against multiply-adds and latency, the differences of the configurations, and the
images. It uses the keys that tasks/run/loggers.py gives to a run's configuration and summary.
"""

import re
import tempfile
from collections.abc import Sequence
from typing import Any

from lightseg.errors import LightsegError, one_line
from lightseg.leaderboard.cells import group_table
from lightseg.leaderboard.csv_json import csv_row
from lightseg.leaderboard.table import Group, Row
from lightseg.leaderboard.text import markdown
from lightseg.tracking.account import require_online

PUBLISHER = "lightseg-leaderboard"  # id of the run, one per project, that has the versions of the artifact
MAX_TITLE = 128  # characters, W&B's limit
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
PINNED = ("config:backbone.value", "config:head.value", "config:pretrained.value")
COSTS = ("summary:cost/params", "summary:cost/madds", "summary:cost/latency_ms", "summary:cost/peak_memory_mb")
MAX_METRICS = 4  # columns of a run set; the run comparer has all metrics


def destination(text: str) -> tuple[str, str]:
    """Entity and project of "entity/project"."""
    entity, _, project = text.partition("/")
    if not NAME.fullmatch(entity) or not NAME.fullmatch(project):
        raise LightsegError(f"--wandb {text}: give entity/project, such as my-team/lightseg")
    return entity, project


def title(filters: dict[str, str | None]) -> str:
    """The title of the Report. Publishing again with the same filters replaces the Report."""
    chosen = " ".join(f"{key}={value}" for key, value in filters.items() if value is not None)
    return (f"lightseg leaderboard: {chosen}" if chosen else "lightseg leaderboard")[:MAX_TITLE]


def specification(groups: Sequence[Group], entity: str, project: str, name: str) -> dict[str, Any]:
    """What `publish` would send, as plain values for JSON. Needs no network."""
    report = build_report(groups, "", "", name)  # a run set with a project would request the project's id
    model = report._to_model()  # the package has no public function for its JSON
    model.project.name, model.project.entity_name = project, entity
    spec = model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"id", "name"})
    for block in spec["spec"]["blocks"]:
        for runs in block.get("metadata", {}).get("runSets", ()):
            runs["project"] = {"entityName": entity, "name": project}
    content = {label: {"columns": columns, "data": data} for label, (columns, data) in tables(groups).items()}
    artifact = {"name": PUBLISHER, "type": "leaderboard", "tables": content}
    return {"entity": entity, "project": project, "report": spec, "artifact": artifact}


def publish(groups: Sequence[Group], entity: str, project: str, name: str) -> str:
    """Send the artifact and the Report, which replaces a Report with the same name. Returns the Report's URL.

    Raises:
        LightsegError: a package is not installed, or W&B is not logged in, cannot be reached or reports an error.
    """
    _reports()
    require_online("what would be published")
    import wandb

    try:
        with tempfile.TemporaryDirectory() as folder:
            run = wandb.init(
                entity=entity,
                project=project,
                id=PUBLISHER,
                name=PUBLISHER,
                resume="allow",
                job_type="leaderboard",
                dir=folder,
                settings=wandb.Settings(init_timeout=30, silent=True, console="off"),
            )
            try:
                run.log_artifact(build_artifact(groups)).wait()
            finally:
                run.finish()
        report = build_report(groups, entity, project, name)
        earlier = [other for other in wandb.Api().reports(f"{entity}/{project}") if other.display_name == name]
        if earlier:
            report.id = earlier[0].id
        report.save()
        return str(report.url)
    except Exception as error:  # W&B raises many kinds
        raise LightsegError(f"W&B, {entity}/{project}: {one_line(error)}") from error


def build_report(groups: Sequence[Group], entity: str, project: str, name: str) -> Any:
    """The Report (`wandb_workspaces.reports.v2.Report`), not sent."""
    reports = _reports()
    blocks: list[Any] = [
        reports.P("Made from the records of the runs. Numbers of a table were measured under the same conditions.")
    ]
    for group in groups:
        ids = run_ids(group)
        _, _, table = markdown([group_table(group)]).partition("\n\n")
        blocks += [reports.H2(group.label), reports.MarkdownBlock(table)]
        if not ids:
            blocks.append(reports.P("None of these runs was logged to W&B: train with logger=wandb."))
            continue
        blocks.append(
            reports.PanelGrid(
                runsets=[_run_set(group, ids, entity, project)],
                panels=[
                    _scatter(group, "cost/madds", "multiply-adds", 0),
                    _scatter(group, "cost/latency_ms", "latency, ms", 12),
                    reports.RunComparer(diff_only="split", layout=reports.Layout(x=0, y=8, w=24, h=9)),
                    reports.MediaBrowser(
                        media_keys=["val/images"], num_columns=2, layout=reports.Layout(x=0, y=17, w=24, h=9)
                    ),
                ],
            )
        )
    return reports.Report(
        project=project,
        entity=entity,
        title=name,
        description="Accuracy against cost, mean and standard deviation over seeds.",
        blocks=blocks,
        width="fluid",
    )


def build_artifact(groups: Sequence[Group]) -> Any:
    """The artifact with a `wandb.Table` per group."""
    import wandb

    artifact = wandb.Artifact(PUBLISHER, type="leaderboard", metadata={"groups": [group.label for group in groups]})
    for label, (columns, data) in tables(groups).items():
        artifact.add(wandb.Table(columns=list(columns), data=data), label)
    return artifact


def tables(groups: Sequence[Group]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Columns and rows of each group, with metrics in 0..1, by a name that can be a file name."""
    content: dict[str, tuple[list[str], list[list[Any]]]] = {}
    for group in groups:
        lines = [csv_row(group, row) for row in group.rows]
        columns = list(dict.fromkeys(key for values in lines for key in values))
        name = base = re.sub(r"[^A-Za-z0-9_-]+", "_", group.label)
        number = 2
        while name in content:
            name, number = f"{base}_{number}", number + 1
        content[name] = (columns, [[values.get(key) for key in columns] for values in lines])
    return content


def run_ids(group: Group) -> list[str]:
    """W&B's ids of the group's runs, best first, without runs that were not logged to W&B."""
    return [identity for row in group.rows for identity in _ids(row)]


def not_logged(groups: Sequence[Group]) -> int:
    """The number of runs in the tables without a W&B id."""
    return sum(len(row.records) for group in groups for row in group.rows) - sum(len(run_ids(g)) for g in groups)


def _ids(row: Row) -> list[str]:
    ids = []
    for record in row.records:
        try:
            identity = (record.folder / "wandb_id").read_text(encoding="ascii")[:200].strip()
        except (OSError, ValueError):
            continue
        if RUN_ID.fullmatch(identity):
            ids.append(identity)
    return ids


def _run_set(group: Group, ids: Sequence[str], entity: str, project: str) -> Any:
    """A run set of these runs, best first, with the leaderboard's columns."""
    from wandb_workspaces import expr

    reports = _reports()
    metrics = [f"summary:{key}" for key in group.metrics[:MAX_METRICS]]
    pinned = [*PINNED, metrics[0], *COSTS[:3], "config:seed.value"]
    return reports.Runset(
        entity=entity,
        project=project,
        name=group.label,
        filters=[expr.Metric("ID").isin(list(ids))],
        order=[reports.OrderBy(reports.SummaryMetric(group.metric), ascending=False)],
        pinned_columns=pinned,
        visible_columns=[*metrics[1:], *COSTS[3:], "summary:cost/wall_s"],
        lock_columns=True,
    )


def _scatter(group: Group, cost: str, axis: str, x: int) -> Any:
    reports = _reports()
    return reports.ScatterPlot(
        title=f"{group.metric} against {axis}",
        x=reports.SummaryMetric(cost),
        y=reports.SummaryMetric(group.metric),
        log_x=True,
        legend_template="${config:backbone} ${config:head}",
        layout=reports.Layout(x=x, y=0, w=12, h=8),
    )


def _reports() -> Any:
    try:
        from wandb_workspaces.reports import v2
    except ImportError as error:
        raise LightsegError(
            f"a W&B Report needs {error.name or 'wandb-workspaces'}: pip install 'lightseg[leaderboard]'"
        ) from error
    return v2
