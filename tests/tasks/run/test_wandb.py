"""What a run leaves in W&B's own log, read as W&B's server would read it: a flat configuration, the record's summary,
and one id however often it is started and by however many processes."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

import train
from lightseg.config.compose import compose, plain
from lightseg.leaderboard.table import group_runs
from lightseg.leaderboard.validate import parse
from lightseg.tracking.report import specification
from tasks.run.loggers import close, flat, summary, wandb_logger
from tests.conftest import only_run
from tests.leaderboard.conftest import RECORD

ROOT = Path(__file__).parents[3]
BLOCK, HEADER = 32768, 7  # LevelDB's log format: checksum (4), length (2), kind (1); kinds 1 whole, 2 first, 4 last


def entries(log: Path) -> Iterator[Record]:
    content = log.read_bytes()
    position, body = HEADER, b""  # the file begins with a header of its own of 7 bytes
    while position + HEADER <= len(content):  # the last entry may be half written
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        length, kind = struct.unpack("<HB", content[position + 4 : position + HEADER])
        position += HEADER
        body = (b"" if kind in (1, 2) else body) + content[position : position + length]
        position += length
        if position > len(content):
            return
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(body)
            yield record


def read(folder: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The run, its configuration and its summary in one of W&B's folders."""
    (log,) = folder.glob("*.wandb")
    deadline = time.monotonic() + 60  # W&B's own process writes it, also after the run's end
    while not any(record.WhichOneof("record_type") == "exit" for record in entries(log)):
        assert time.monotonic() < deadline, f"{log} has no end"
        time.sleep(0.1)
    run, config, summary = None, {}, {}
    for record in entries(log):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = run or record.run
            config |= {item.key or "/".join(item.nested_key): item.value_json for item in record.run.config.update}
        elif kind == "config":
            config |= {item.key or "/".join(item.nested_key): item.value_json for item in record.config.update}
        elif kind == "summary":
            summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
    return run, _plain(config), _plain(summary)


def _plain(values: dict[str, str]) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in values.items() if not key.startswith("_")}


@pytest.fixture
def offline(words, monkeypatch, tmp_path):
    """The words of a run that logs to W&B offline."""
    for name in ("WANDB_API_KEY", "WANDB_RUN_ID", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    return lambda *more: words("logger=wandb", "trainer.max_epochs=1", *more)


def test_configuration_and_summary_are_flat_and_of_the_record(offline, tmp_path):
    assert train.main(offline("seed=3", "optimizer.lr=0.002")) == 0
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "record.json").read_text())
    (place,) = folder.glob("wandb/offline-run-*")
    run, config, shown = read(place)
    names = {key: config[key] for key in ("task", "data", "backbone", "head", "seed", "pretrained")}
    assert names == {key: record[key] for key in ("task", "data", "backbone", "head", "seed")} | {"pretrained": False}
    assert config["optimizer.lr"] == 0.002 and config["data.batch_size"] == 2
    assert not [key for key, value in config.items() if isinstance(value, dict) and value]
    measured = {key: value for key, value in record["metrics"].items() if value is not None}
    assert {key: shown[key] for key in measured} == pytest.approx(measured)
    for key in ("params", "madds", "latency_ms", "peak_memory_mb"):
        assert shown[f"cost/{key}"] == pytest.approx(record["cost"][key])
    assert shown["cost/wall_s"] == record["wall_s"]
    assert run.run_id == (folder / "wandb_id").read_text()


@pytest.mark.slow
def test_a_run_that_goes_on_is_the_same_run(offline, tmp_path):
    assert train.main(offline()) == 0
    folder = only_run(tmp_path / "runs")
    assert train.main([f"resume={folder}", "trainer.max_epochs=2"]) == 0
    first, second = sorted(folder.glob("wandb/offline-run-*"))
    (run, _, _), (again, config, shown) = read(first), read(second)
    assert again.run_id == run.run_id and again.resume  # what `wandb sync` appends by
    record = json.loads((folder / "record.json").read_text())
    assert config["trainer.max_epochs"] == 2 and config["backbone"] == record["backbone"]
    assert shown["val/mIoU"] == pytest.approx(record["metrics"]["val/mIoU"])


def test_a_second_start_takes_the_id_of_the_first(offline, tmp_path):
    config = {"task": "seg", "data": {"name": "camvid"}, "head": {"name": "lraspp"}}
    identities = []
    for _ in range(2):
        logger = wandb_logger({"mode": "offline", "project": "p", "entity": None}, tmp_path, config)
        identities.append(logger.experiment.id)
        logger.finish()
    run, _, _ = read(max(tmp_path.glob("wandb/offline-run-*")))
    assert identities == [run.run_id] * 2 and run.resume


def test_a_sweep_s_agent_gives_the_id(offline, tmp_path, monkeypatch, request):
    monkeypatch.setenv("WANDB_RUN_ID", "fromagent")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    wandb.teardown()  # it reads the environment once a process
    request.addfinalizer(wandb.teardown)
    config = {"task": "seg", "data": {"name": "camvid"}, "head": {"name": "lraspp"}, "backbone": "a"}
    folder = tmp_path / "seg" / "camvid" / "a" / "time"
    folder.mkdir(parents=True)
    logger = wandb_logger({"mode": "offline", "project": "p", "entity": None}, folder, config)
    close([logger], {"metrics": {"val/mIoU": 0.5, "val/IoU/x": None}, "cost": {"measured": {}}, "wall_s": 1.0})
    (place,) = folder.glob("wandb/offline-run-*-fromagent")
    run, logged, shown = read(place)
    assert run.run_id == "fromagent" == (folder / "wandb_id").read_text()
    assert logged == flat(config) | {"data": "camvid", "head": "lraspp"}
    assert shown == {"val/mIoU": 0.5, "cost/wall_s": 1.0}


def test_the_leaderboard_s_report_reads_these_names(tmp_path):
    """Its columns and axes are keys of `summary` and `flat`, or it would be empty."""
    found = parse(json.dumps(RECORD).encode(), tmp_path)
    (tmp_path / "wandb_id").write_text("abcd")
    logged = {f"summary:{key}" for key in summary(RECORD)} | {"config:head.value"}
    logged |= {f"config:{key}.value" for key in flat(plain(compose(["task=seg"])))}
    blocks = specification(group_runs([found]), "team", "nets", "board")["report"]["spec"]["blocks"]
    (grid,) = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    assert set(grid["runSets"][0]["runFeed"]["columnVisible"]) <= logged
    for panel in grid["panelBankSectionConfig"]["panels"][:2]:
        assert {panel["config"]["xAxis"], panel["config"]["yAxis"]} <= logged


def test_flat_keys_are_those_of_the_command_line():
    assert flat({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}, "f": None}) == {
        "a.b": 1,
        "a.c.d": [1, 2],
        "e": {},
        "f": None,
    }
