"""`lightseg sync`: which folders it takes, in which order, and what it says of those that did not go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from lightseg.cli import main
from lightseg.commands.sync import sync

NOT_LOGGED_IN = (
    "error: not logged in to W&B: run `wandb login`, or set WANDB_API_KEY; "
    "--dry-run shows which runs would be uploaded\n"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A run with two starts, one that is uploaded, one that is not finished, one that was online."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for run, start, identity in (
        ("a", "20261122_120000", "aaaa"),
        ("a", "20261121_130000", "aaaa"),
        ("b", "20261122_110000", "bbbb"),
        ("c", "20261122_100000", "cccc"),
    ):
        folder = tmp_path / "runs/seg/camvid/net" / run
        place = folder / "wandb" / f"offline-run-{start}-{identity}"
        place.mkdir(parents=True)
        (place / f"run-{identity}.wandb").touch()
        if run == "b":
            (place / "run-bbbb.wandb.synced").touch()
        if run != "c":
            (folder / "record.json").write_text("{}")
    online = tmp_path / "runs/seg/camvid/net/d/wandb/run-20261122_100000-dddd"
    online.mkdir(parents=True)
    (online / "run-dddd.wandb").touch()
    (tmp_path / "runs/seg/camvid/net/a/wandb/latest-run").symlink_to("offline-run-20261122_120000-aaaa")
    return tmp_path


@pytest.fixture
def uploads(monkeypatch):
    """Stands in for the `wandb sync` command: marks what it is given, but for folders that hold a word."""
    calls: list[list[str]] = []

    def run(words, check):
        calls.append([Path(word).name for word in words[4:]])
        assert words[:4] == [sys.executable, "-m", "wandb", "sync"] and not check
        for place in map(Path, words[4:]):
            for log in place.glob("*.wandb"):
                if "cccc" not in log.name:
                    log.with_suffix(".wandb.synced").touch()

    monkeypatch.setattr("lightseg.tracking.sync.require_online", lambda shows: None)
    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_dry_run_names_them_the_oldest_start_first(here, capsys):
    assert main(["sync", "--dry-run"]) == 0
    printed = capsys.readouterr()
    names = [Path(line).name for line in printed.out.splitlines()]
    assert names == ["offline-run-20261121_130000-aaaa", "offline-run-20261122_120000-aaaa"]
    assert printed.err == (
        "offline runs: 2 to upload, 1 before, 1 of unfinished runs left out (--unfinished takes them)\n"
    )


def test_folders_that_overlap_are_read_once(here):
    found, chosen = sync(["runs", "runs/seg", "runs/../runs"], dry_run=True)
    assert len(chosen) >= 2 and found.uploaded >= 1
    found, chosen = sync(["runs", "runs/seg"], dry_run=True)
    assert (len(chosen), found.uploaded, len(found.unfinished)) == (2, 1, 1)


def test_uploads_once(here, uploads, capsys):
    assert main(["sync"]) == 0 and main(["sync"]) == 0
    assert uploads == [["offline-run-20261121_130000-aaaa", "offline-run-20261122_120000-aaaa"]]
    assert capsys.readouterr().err.splitlines()[1].startswith("offline runs: 0 uploaded, 3 before")


def test_what_did_not_go_is_said(here, uploads, capsys):
    assert main(["sync", "--unfinished"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 1 of 3 runs are not uploaded (")
    assert "cccc): see the messages of wandb above" in error


def test_bad_input_is_one_line(here, capsys, monkeypatch):
    assert main(["sync"]) == 2
    assert capsys.readouterr().err == NOT_LOGGED_IN
    assert main(["sync", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: nowhere is not a folder: give the runs_dir of your runs\n"
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["sync"]) == 2
    assert capsys.readouterr().err == "error: uploading needs wandb: pip install wandb\n"


def test_nothing_to_upload_needs_no_login(tmp_path, capsys):
    assert main(["sync", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "offline runs: 0 uploaded, 0 before\n"


def test_the_real_command_takes_the_folders_of_a_real_run(tmp_path):
    """Two starts of one run, as W&B itself lays them down; its own --dry-run stands for the upload."""
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    for _ in range(2):
        settings = wandb.Settings(silent=True, console="off")
        wandb.init(mode="offline", project="p", id="abcd", resume="allow", dir=folder, settings=settings).finish()
    (folder / "record.json").write_text("{}")
    _, chosen = sync([tmp_path / "runs"], dry_run=True)
    words = [sys.executable, "-m", "wandb", "sync", "--dry-run", *map(str, chosen)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"NO_COLOR": "1"})
    said = done.stdout + done.stderr
    assert len({*chosen}) in (1, 2) and f"Would sync {len(chosen)} run(s)" in said  # 1: both within one second
