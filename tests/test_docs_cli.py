"""Every `lightseg ...` of the README and of docs/ is a command that works, on a small folder of runs."""

import copy
import json
import re
import shlex
import socket
from pathlib import Path

import pytest

from lightseg.cli import VERBS, main
from tests.leaderboard.conftest import RECORD

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("export", "predict")  # verbs that need checkpoints: tests/test_docs_ship.py runs their pages
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODELS = (("mobilenetv3_large", 0.71), ("micronet_m3", 0.55), ("efficientnet_lite0", 0.68))
RUNS = (("seg", "camvid", "val/mIoU"), ("seg", "mini_seg", "val/mIoU"), ("det", "mini_det", "val/mAP"))
RUNS += (("pose", "mini_pose", "val/AP"), ("cls", "mini_cls", "val/top1"))


def commands(page: Path) -> list[str]:
    """What follows `lightseg` at the start of a line or of inline code, lines that end in \\ joined."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    verbs = "|".join(verb for verb in VERBS if verb not in ELSEWHERE)
    return [found.strip() for found in re.findall(rf"(?:^ *|`)lightseg ((?:{verbs})\b[^\n`]*)", text, re.MULTILINE)]


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


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
    for word in (".md", ".csv", ".tex", ".html", ".json", "--matrix", "--target-ms", "--wandb", "--dry-run", "sync"):
        assert word in found
    assert len(COMMANDS) >= 10
