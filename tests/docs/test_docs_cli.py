"""Every `lightseg ...` of the README and of docs/ works: here those on a small folder of runs, and profile.

test_docs_ship.py and test_docs_tour.py run the pages with checkpoints, images and exported files.
"""

import copy
import json
import re
import shlex
import socket
from pathlib import Path

import pytest

from lightseg.cli import main
from lightseg.profile.guidelines import EXPERIMENTS
from tests.leaderboard.conftest import RECORD
from tests.marks import slow_except

ROOT = Path(__file__).parents[2]
QUOTES = "errors.md"  # its commands are parts of messages
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != QUOTES)]
MODELS = (("mobilenetv3_large", 0.71), ("micronet_m3", 0.55), ("efficientnet_lite0", 0.68))
RUNS = (("seg", "camvid", "val/mIoU"), ("seg", "mini_seg", "val/mIoU"), ("det", "mini_det", "val/mAP"))
RUNS += (("pose", "mini_pose", "val/AP"), ("cls", "mini_cls", "val/top1"))


def commands(*verbs: str) -> list[tuple[str, str]]:
    """Page, and what follows `lightseg` at the start of a line or of inline code, lines that end in \\ joined."""
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
        pattern = rf"(?:^ *|`)lightseg ((?:{'|'.join(verbs)})\b[^\n`]*)"
        found += [(page.name, words.strip()) for words in re.findall(pattern, text, re.MULTILINE)]
    return found


COMMANDS = commands("models", "leaderboard", "sync")
FILES = (".ckpt", ".compressed")  # profiled by the tests of the pages that make them
PROFILE = sorted(
    {command for _, command in commands("profile") if " " in command and not any(f in command for f in FILES)}
)
TIMED = ("--plot", "--guidelines")  # what says nothing without measured times
UNTIMED = [command for command in PROFILE if not any(word in command for word in TIMED)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """`runs/` with three nets, each on five data sets by two seeds; two W&B logs wait, one of a run that broke off."""
    for task, data, metric in RUNS:
        for i, (backbone, value) in enumerate(MODELS):
            for seed in (0, 1):
                record = copy.deepcopy(RECORD) | {"task": task, "data": data, "backbone": backbone, "seed": seed}
                record |= {"metrics": {metric: value - seed / 100}, "config_hash": f"{i}"}
                folder = tmp_path / "runs" / task / data / backbone / f"2026112{seed}-101500"
                folder.mkdir(parents=True)
                (folder / "config.yaml").write_text("task: seg\n")
                (folder / "record.json").write_text(json.dumps(record))
    for run in (folder, tmp_path / "runs" / "seg" / "camvid" / "micronet_m3" / "20261122-101500"):
        log = run / "wandb" / "offline-run-20261122_101500-abcd1234" / "run-abcd1234.wandb"
        log.parent.mkdir(parents=True)
        log.touch()
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    def connect(*args):
        raise AssertionError("none of this needs a network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value[:60])
def test_it_works(page, command, here, capsys):
    words = shlex.split(command, comments=True)
    words = ["runs" if word.startswith("runs/leaderboard_") else word for word in words]  # the benchmark's folders
    expected = 0
    if words[0] == "sync" or "--wandb" in words:  # without a login they say so
        expected = 0 if "--dry-run" in words else 2
    assert main(words) == expected
    printed = capsys.readouterr()
    if expected:
        assert printed.err.startswith("error: not logged in to W&B: run `wandb login`") and printed.err.count("\n") == 1
    elif "--output" in words:
        assert Path(words[words.index("--output") + 1]).stat().st_size > 0
    else:
        assert printed.out


def test_the_page_on_leaderboards_shows_every_format_and_verb():
    found = " ".join(command for page, command in COMMANDS if page == "leaderboards.md")
    for word in (".md", ".csv", ".tex", ".html", ".json", "--matrix", "--reward", "--wandb", "--dry-run", "sync"):
        assert word in found
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", slow_except(UNTIMED[:2], UNTIMED))
def test_profiles(command, capsys):
    assert main([*shlex.split(command), "--runs", "0"]) == 0
    printed = capsys.readouterr().out
    assert '"layers"' in printed if "--json" in command else "MAdds M" in printed


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in PROFILE if any(word in command for word in TIMED)])
def test_profiles_with_times(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightseg.profile.guidelines.EXPERIMENTS_BUDGET_S", 0.0)  # three rounds
    monkeypatch.setattr("lightseg.profile.guidelines.EXPERIMENTS", EXPERIMENTS[-1:])  # G4
    assert main([*shlex.split(command), "--runs", "1", "--no-onnx"]) == 0
    assert "G4" in (printed := capsys.readouterr().out) or "MAdds M" in printed
    assert ("--plot" in command) == any(tmp_path.glob("*.png"))


def test_the_page_on_profiles_shows_its_options():
    found = " ".join(PROFILE)
    for word in ("--layers", "--json", "--plot", "--runs", "--no-onnx", "--guidelines", "--threads", "task=pose"):
        assert word in found
