"""Records are read as plain checked values, or left out with a reason that is counted."""

import json
import os
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from lightseg.errors import LightsegError
from lightseg.leaderboard.records import MAX_BYTES, read_records


def test_a_complete_record(write_run, runs):
    folder = write_run()
    (record,) = read_records([runs]).records
    assert (record.task, record.data, record.backbone, record.head) == ("seg", "camvid", "mobilenetv3_large", "lraspp")
    assert record.folder == folder and record.weights == "scratch" and record.seed == 0
    assert record.metrics == {"val/mIoU": 0.7, "val/pixel_accuracy": 0.9}  # without those of single classes
    assert record.setting == {"trainer.max_epochs": "24", "data.augment.crop_size": "[180, 240]"}
    assert record.protocol["images"] == "101" and "skipped" not in record.protocol
    assert record.fingerprint == "7582276648db"
    assert (record.params, record.madds, record.latency_ms, record.memory_mb) == (3221198, 247153536, 17.128, 17.35)
    assert record.latency_how == "cpu, 2 threads, Linux x86_64" and record.input == "1x3x360x480 uint8"
    assert record.started == datetime(2026, 11, 22, 8, 10, 4, tzinfo=timezone.utc) and record.wall_s == 629.7


def test_missing_values_are_none(write_run, runs):
    write_run({"cost": {}, "wall_s": None, "data_fingerprint": {}, "versions": {}})
    (record,) = read_records([runs]).records
    assert record.params is record.madds is record.latency_ms is record.memory_mb is record.wall_s is None
    assert record.fingerprint == "" and record.latency_how == "unknown conditions"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"cost.measured.processor": "Intel(R) Core(TM) i7-8700"},
            "Intel(R) Core(TM) i7-8700, 2 threads, Linux x86_64",
        ),
        ({"cost.measured.processor": "a\x1b[2Jb" * 99}, None),
        ({"cost.measured.processor": ["x"], "versions": {}}, '["x"], 2 threads'),
        ({"cost.measured.processor": None}, "cpu, 2 threads, Linux x86_64"),
        ({"cost.measured.processor": "Intel", "cost.measured.device": "NVIDIA A100"}, "NVIDIA A100, Linux x86_64"),
    ],
)
def test_measurement_conditions_of_latency(write_run, runs, changes, expected):
    write_run(changes)
    how = read_records([runs]).records[0].latency_how
    assert how == expected if expected else how.isprintable() and len(how) < 250


@pytest.mark.parametrize(
    ("pretrained", "weights"),
    [
        (True, "pretrained"),
        (None, "scratch"),
        ("/home/me/w/net.pth", "net.pth"),
        ("..\\..\\net.pth", "net.pth"),
        ("w/scratch", "file scratch"),
    ],
)
def test_initial_weights(write_run, runs, pretrained, weights):
    write_run({"config.pretrained": pretrained, "setting": {"pretrained": pretrained, "optimizer.lr": 0.1}})
    (record,) = read_records([runs]).records
    assert record.weights == weights
    assert record.setting == {"optimizer.lr": "0.1"}


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [("last", "last"), ("runs/a/checkpoints/best.ckpt", "best"), ("/home/me/w/net.pth", "given"), (None, "given")],
)
def test_a_checkpoint_is_named_without_its_path(write_run, runs, checkpoint, name):
    write_run({"protocol.checkpoint": checkpoint})
    assert read_records([runs]).records[0].protocol["checkpoint"] == name


def test_images_left_out_are_counted_not_listed(write_run, runs):
    write_run({"protocol.skipped": [{"path": "/home/me/a.png", "reason": "no PNG"}] * 3})
    (record,) = read_records([runs]).records
    assert record.protocol["skipped"] == "3" and "/home/me" not in str(record.protocol)


def test_labels_are_part_of_the_protocol(write_run, runs):
    write_run({"config.data.classes": ["Sky", "Road"], "config.data.split": {"val": "test"}})
    write_run({"config.data.classes": ["Sky", "Car"], "config.data.split": {"val": "val"}})
    first, second = (record.protocol for record in read_records([runs]).records)
    assert first["classes"].split()[0] == second["classes"].split()[0] == "2" and first["classes"] != second["classes"]
    assert (first["split"], second["split"]) == ("test", "val")
    assert first["ignore"] == "[11]"


HUGE = "9" * 400
INVALID = {  # content, reason
    "half": ('{"schema": 1, "task": "se', "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "bytes": (b"\xff\xfe\x00\xd8\x00", "not valid JSON"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "list": ("[1, 2]", "not a JSON object"),
    "string": ('"record"', "not a JSON object"),
    "nan": ('{"schema": 1, "metrics": {"val/mIoU": NaN}}', "with NaN for a number"),
    "infinite": ('{"schema": 1, "wall_s": -Infinity}', "with -Infinity for a number"),
    "digits": ('{"schema": 1' + "0" * 10_000 + "}", "not valid JSON"),
    "large": (b" " * (MAX_BYTES + 1), "larger than 8 MB"),
    "newer": ({"schema": 2}, "of schema 2 (newer: update lightseg)"),
    "older": ({"schema": 0}, "of schema 0 (older: run it again)"),
    "no schema": ({"schema": ...}, "without a schema"),
    "schema true": ({"schema": True}, "without a schema"),
    "huge schema": (json.dumps({"schema": 7}).replace("7", HUGE), "whose schema is not a number from 0 to 1e+18"),
    "task": ({"task": "depth"}, "of task depth, which is not one of seg, cls, multilabel, det, pose"),
    "no backbone": ({"backbone": ...}, "without backbone"),
    "backbone is a list": ({"backbone": ["a"]}, "whose backbone is not a name"),
    "escape codes": ({"backbone": "a\x1b[2J"}, "whose backbone is too long or holds control characters"),
    "bidi": ({"data": "cam\u202edi"}, "whose data is too long or holds control characters"),
    "surrogate": ({"head": "\ud800"}, "whose head is too long or holds control characters"),
    "long": ({"head": "a" * 201}, "whose head is too long or holds control characters"),
    "no metrics": ({"metrics": ...}, "without metrics"),
    "metrics is a list": ({"metrics": [1]}, "whose metrics is not an object"),
    "no main metric": ({"metrics": {"val/pixel_accuracy": 0.5}}, "without val/mIoU"),
    "undefined": ({"metrics": {"val/mIoU": None}}, "without val/mIoU"),
    "per cent": ({"metrics": {"val/mIoU": 71.2}}, "whose val/mIoU is not a number from 0 to 1"),
    "negative": ({"metrics": {"val/mIoU": -0.1}}, "whose val/mIoU is not a number from 0 to 1"),
    "true": ({"metrics": {"val/mIoU": True}}, "whose val/mIoU is not a number from 0 to 1"),
    "text": ({"metrics": {"val/mIoU": "0.7"}}, "whose val/mIoU is not a number from 0 to 1"),
    "huge": ({"metrics": {"val/mIoU": 0.5, "val/x": int(HUGE)}}, "whose val/x is not a number from -1e+18 to 1e+18"),
    "params": ({"cost.params": -1}, "whose cost.params is not a number from 0 to 1e+18"),
    "latency": ({"cost.latency_ms": "fast"}, "whose cost.latency_ms is not a number from 0 to 1e+18"),
    "cost": ({"cost": None}, "without cost"),
    "protocol": ({"protocol": "val"}, "whose protocol is not an object"),
    "config": ({"config": ...}, "without config"),
    "weights": ({"config.pretrained": {"a": 1}}, "whose config.pretrained is neither true, false nor a file"),
    "seed": ({"seed": 0.5}, "whose seed is not an integer"),
    "no seed": ({"seed": ...}, "without a seed"),
    "hash": ({"config_hash": 5}, "whose config_hash is not a name"),
    "date": ({"started": "yesterday"}, "whose start is not an ISO date"),
    "date is a number": ({"started": 5}, "whose start is not an ISO date"),
    "settings": ({"setting": {str(i): i for i in range(201)}}, "with more than 200 settings"),
    "long protocol": ({"protocol.crop": "a" * 500}, "whose protocol is too long"),
}


@pytest.mark.parametrize(("content", "reason"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_record_is_left_out_with_its_reason(write_run, runs, content, reason):
    good, bad = write_run(), write_run(content)
    scan = read_records([runs])
    assert [record.folder for record in scan.records] == [good]
    assert scan.skipped == {reason: [bad / "record.json"]}
    assert scan.note() == f"skipped 1 of 2 records: 1 {reason} ({bad / 'record.json'})"
    assert scan.note().isprintable()


def test_a_number_that_overflows_to_infinity(write_run, runs, record):
    write_run()
    write_run(json.dumps(record()).replace("629.7", "1e999"))
    assert set(read_records([runs]).skipped) == {"whose wall_s is not a number from 0 to 1e+18"}


def test_control_characters_are_replaced(write_run, runs):
    write_run({"setting": {"a\x1b[2J": "\u202eb\n", "long": "x" * 1000}, "cost.measured.device": "c\x07pu\ud800"})
    (record,) = read_records([runs]).records
    assert record.setting["a?[2J"] == "?b?" and len(record.setting["long"]) == 200
    assert record.latency_how == "c?pu?, Linux x86_64"


def test_reasons_are_counted_in_one_line(write_run, runs):
    write_run()
    for _ in range(3):
        write_run("{")
    write_run({"schema": 9})
    for i in range(8):
        write_run({"task": f"task{i}"})
    note = read_records([runs]).note()
    assert note.startswith("skipped 12 of 13 records: 3 not valid JSON (") and "\n" not in note
    assert note.count("which is not one of") == 4 and note.endswith("4 for other reasons")


def test_unfinished_runs_are_counted(write_run, runs):
    write_run()
    folder = write_run()
    (folder / "record.json").rename(folder / ".record.json.4711")  # killed while it was written
    scan = read_records([runs])
    assert len(scan.records) == 1
    assert scan.note() == f"1 runs without a record: not finished ({folder})"


def test_no_record_is_an_error(write_run, runs, tmp_path):
    with pytest.raises(LightsegError, match=r"runs is not a folder: give the runs_dir of your runs"):
        read_records([runs])
    runs.mkdir()
    with pytest.raises(LightsegError, match=r"^no record.json in .*: a run writes it last; no run was started there$"):
        read_records([runs])
    write_run("{")
    with pytest.raises(LightsegError, match=r"^no valid record.json in .*1 not valid JSON"):
        read_records([runs])


def test_symbolic_links_are_not_followed(write_run, runs, tmp_path):
    folder = write_run()
    (runs / "circle").symlink_to(runs)
    (runs / "elsewhere").mkdir()
    (runs / "elsewhere" / "record.json").symlink_to(folder / "record.json")
    scan = read_records([runs])
    assert [record.folder for record in scan.records] == [folder]
    assert set(scan.skipped) == {"below a symbolic link, which is not followed: give its path", "not a regular file"}
    assert len(read_records([runs / "circle"]).records) == 1  # followed as an argument


def test_a_pipe_is_not_waited_for(write_run, runs):
    write_run()
    (runs / "pipe").mkdir()
    os.mkfifo(runs / "pipe" / "record.json")
    assert read_records([runs]).skipped == {"not a regular file": [runs / "pipe" / "record.json"]}


def test_each_run_of_overlapping_folders_is_read_once(write_run, runs):
    folders = [write_run(), write_run()]
    scan = read_records([runs, runs / "seg", folders[1]])
    assert [record.folder for record in scan.records] == folders


def test_reading_imports_neither_torch_nor_numpy():
    code = "import sys; import lightseg.leaderboard.records, lightseg.commands.leaderboard; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'torch'", "'numpy'", "'timm'", "'wandb'"} & set(done.stdout.strip("[]\n").split(", "))
