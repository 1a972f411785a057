"""The leaderboard for W&B: what would be sent is built for real; only what goes over the network is stood in for."""

import json
import socket
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import wandb
from wandb_workspaces.reports import v2

from lightseg.cli import main
from lightseg.leaderboard.table import group_runs
from lightseg.tracking.report import (
    build_artifact,
    build_report,
    publish,
    run_ids,
    specification,
    tables,
    title,
)
from tests.leaderboard.example_runs import example_records

CLOSED = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture
def board(tmp_path):
    """The sample's groups; all runs but the pretrained one were logged to W&B."""
    found = example_records(tmp_path / "runs")
    for i, record in enumerate(found):
        if record.weights == "scratch":
            (record.folder / "wandb_id").write_text(f"id{i}")
    return group_runs(found)


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Not logged in, and every attempt to reach a server fails the test."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))

    def connect(*args):
        raise AssertionError("no network is needed for this")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def here(write_run, tmp_path, monkeypatch):
    write_run({})
    (write_run({"backbone": "micronet_m3"}) / "wandb_id").write_text("abcd1234")
    monkeypatch.chdir(tmp_path)


def grids(report):
    return [block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]


def test_a_run_set_is_the_rows_of_its_group(board, alone):
    report = specification(board, "team", "nets", "board")["report"]
    assert len(grids(report)) == len(board) == 3
    for group, grid in zip(board, grids(report), strict=True):
        (runs,) = grid["runSets"]
        assert runs["name"] == group.label and runs["project"] == {"entityName": "team", "name": "nets"}
        (condition,) = runs["filters"]["filters"]
        assert (condition["key"]["name"], condition["op"], condition["value"]) == ("name", "IN", run_ids(group))
        assert len(run_ids(group)) == sum(len(row.records) for row in group.rows if row.weights == "scratch")
        assert runs["sort"]["keys"] == [{"key": {"section": "summary", "name": group.metric}, "ascending": False}]
        feed = runs["runFeed"]
        pinned = ["config:backbone.value", f"summary:{group.metric}", "summary:cost/madds", "summary:cost/latency_ms"]
        assert set(pinned) <= set(feed["columnPinned"]) <= set(feed["columnVisible"]) and feed["lockColumns"]
    assert len({run for group in board for run in run_ids(group)}) == sum(len(run_ids(group)) for group in board)


def test_the_panels(board, alone):
    grid = grids(specification(board, "team", "nets", "board")["report"])[0]
    panels = grid["panelBankSectionConfig"]["panels"]
    assert [panel["viewType"] for panel in panels] == ["Scatter Plot", "Scatter Plot", "Run Comparer", "Media Browser"]
    axes = [(panel["config"]["xAxis"], panel["config"]["yAxis"]) for panel in panels[:2]]
    assert axes == [("summary:cost/madds", "summary:val/mIoU"), ("summary:cost/latency_ms", "summary:val/mIoU")]
    assert panels[3]["config"]["mediaKeys"] == ["val/images"]


def test_runs_that_were_not_logged_have_a_table_and_no_run_set(tmp_path, alone):
    report = specification(group_runs(example_records(tmp_path / "runs")), "team", "nets", "board")["report"]
    kinds = [block["type"] for block in report["spec"]["blocks"]]
    assert kinds.count("markdown-block") == 3 and "panel-grid" not in kinds
    assert "logger=wandb" in json.dumps(report)


def test_an_id_that_is_none_is_left_out(board):
    first = board[0].rows[1].records[0].folder / "wandb_id"
    before = run_ids(board[0])
    for text in ("x' or 1 == 1", "../../x", "", "é", "a" * 300):
        first.write_text(text)
        assert run_ids(board[0]) == before[1:]


def test_tables_hold_the_figures_as_measured(board, tmp_path):
    """The files of the artifact, and that a run takes it."""
    settings = wandb.Settings(silent=True, console="off")
    artifact = build_artifact(board)
    assert artifact.type == "leaderboard" and len(artifact.manifest.entries) == 3
    with open(artifact.manifest.entries["seg_camvid_1.table.json"].local_path) as file:
        table = json.load(file)
    assert table["columns"][:5] == ["group", "task", "data", "protocol", "backbone"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["backbone"] for row in rows] == [row.backbone for row in board[0].rows]
    assert rows[1]["seg camvid #1 val/mIoU"] == pytest.approx(0.71) and rows[1]["seeds"] == 3
    run = wandb.init(mode="offline", project="nets", dir=tmp_path, settings=settings)
    run.log_artifact(artifact)
    run.finish()
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 60  # W&B's own process writes it
    while b"seg_camvid_1.table.json" not in log.read_bytes():
        assert time.monotonic() < deadline, log.stat()
        time.sleep(0.1)


def test_hostile_names_stay_text(tmp_path, alone):
    data = "../../x' | `<script>alert(1)</script>"
    found = [replace(record, data=data, backbone=data) for record in example_records(tmp_path / "runs")[:1]]
    (found[0].folder / "wandb_id").write_text("abc")
    made = specification(group_runs(found), "team", "nets", title({"data": data * 9}))
    (name,) = made["artifact"]["tables"]
    assert "/" not in name and "." not in name
    (table,) = [block["content"] for block in made["report"]["spec"]["blocks"] if block["type"] == "markdown-block"]
    assert "<script" not in table
    assert len(made["report"]["displayName"]) == 128
    twins = [replace(found[0], data=word) for word in ("a/b", "a.b")]
    assert len(tables(group_runs(twins))) == 2


def test_dry_run_prints_the_specification(here, alone, capsys):
    assert main(["leaderboard", "--task", "seg", "--wandb", "team/nets", "--dry-run"]) == 0
    printed = capsys.readouterr()
    made = json.loads(printed.out)
    assert (made["entity"], made["project"]) == ("team", "nets")
    assert made["report"]["displayName"] == "lightseg leaderboard: task=seg"
    assert made["artifact"]["tables"]["seg_camvid"]["data"][0][1] == "seg"
    assert printed.err == "1 runs were not logged to W&B: they are in the tables, not in the run sets\n"


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--wandb", "t/p"], {}, "not logged in to W&B: run `wandb login`, or set WANDB_API_KEY; --dry-run shows"),
        (["--wandb", "t/p"], {"WANDB_MODE": "offline"}, "WANDB_MODE=offline: nothing is sent to W&B; unset it first;"),
        (
            ["--wandb", "t/p"],
            {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": CLOSED},
            f"W&B cannot be reached at {CLOSED} ([Errno 111] Connection refused): try again later; --dry-run shows",
        ),
        (["--wandb", "nets", "--dry-run"], {}, "--wandb nets: give entity/project, such as my-team/lightseg"),
        (["--wandb", "a/b/c", "--dry-run"], {}, "--wandb a/b/c: give entity/project, such as my-team/lightseg"),
        (["--dry-run"], {}, "--dry-run prints what --wandb entity/project would send: give that too"),
        (
            ["--wandb", "t/p", "--format", "csv"],
            {},
            "--wandb has a format of its own: leave out --format",
        ),
    ],
)
def test_what_cannot_be_sent_is_one_line(here, monkeypatch, tmp_path, capsys, words, environment, message):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"NETRC": str(tmp_path / "none"), "no_proxy": "*", **environment}.items():
        monkeypatch.setenv(name, value)
    assert main(["leaderboard", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}") and printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_without_the_package_it_says_what_to_install(here, alone, monkeypatch, capsys, words):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports", None)
    assert main(["leaderboard", "--wandb", "t/p", *words]) == 2
    error = capsys.readouterr().err
    assert "pip install 'lightseg[leaderboard]'" in error and error.count("\n") == 1


@pytest.fixture
def service(monkeypatch, tmp_path):
    """W&B as far as `publish` asks it: what is sent is kept."""
    sent = SimpleNamespace(reports=[], artifacts=[], runs=[], known=[])

    class Run:
        def log_artifact(self, artifact):
            sent.artifacts.append(artifact)
            return SimpleNamespace(wait=lambda: artifact)

        def finish(self):
            pass

    def init(**options):
        sent.runs.append(options)
        return Run()

    def save(report):
        report.id = report.id or "new"
        sent.reports.append(report)

    monkeypatch.setattr("lightseg.tracking.report.require_online", lambda shows: None)
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(reports=lambda path: sent.known))
    monkeypatch.setattr(v2.Report, "save", save)
    monkeypatch.setattr(v2.Report, "url", property(lambda report: f"https://wandb.ai/{report.entity}/{report.id}"))
    return sent


def test_publish_sends_both_and_replaces_the_report_of_that_name(board, service):
    assert publish(board, "team", "nets", "board") == "https://wandb.ai/team/new"
    service.known = [SimpleNamespace(display_name="other", id="1"), SimpleNamespace(display_name="board", id="2")]
    assert publish(board, "team", "nets", "board") == "https://wandb.ai/team/2"
    assert [len(artifact.manifest.entries) for artifact in service.artifacts] == [3, 3]
    assert {(run["entity"], run["project"], run["id"], run["resume"]) for run in service.runs} == {
        ("team", "nets", "lightseg-leaderboard", "allow")  # not one more run in the table each time
    }
    (run_set,) = service.reports[0].blocks[3].runsets
    assert (run_set.entity, run_set.project) == ("team", "nets")


def test_whatever_wandb_raises_is_one_line(here, service, monkeypatch, capsys):
    def refuse(report):
        raise RuntimeError("permission denied\n  (403)")

    monkeypatch.setattr(v2.Report, "save", refuse)
    assert main(["leaderboard", "--wandb", "team/nets"]) == 2
    assert capsys.readouterr().err == "error: W&B, team/nets: permission denied (403)\n"


def test_the_report_that_is_sent_is_the_one_that_is_shown(board, monkeypatch):
    """But for the project's number, which W&B is asked for, and the random ids of panels and run sets."""
    from wandb_workspaces.reports.v2 import interface

    answer = {"project": {"internalId": "7"}}
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    monkeypatch.setattr(interface, "execute_graphql", lambda *args: answer)

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in ("id", "__id__", "name", "ref")}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    sent = build_report(board, "team", "nets", "board")._to_model().model_dump(by_alias=True, exclude_none=True)
    shown = specification(board, "team", "nets", "board")["report"]
    assert bare(json.loads(json.dumps(sent["spec"]))) == bare(shown["spec"])
