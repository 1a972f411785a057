"""docs/tour.md from its first command to its last, in an empty folder, on fewer images."""

import re
import shlex
from glob import glob
from pathlib import Path

import pytest

import train
from lightseg.cli import COMMANDS as CLI_COMMANDS
from lightseg.cli import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
SHORTER = [
    "trainer.max_epochs=1",
    "data.count={train: 16, val: 4}",
    "schedule.warmup_steps=1",
    "logger=csv",
    "profile.runs=2",
]
WITH_FILES = ("predict.md", "export.md", "compress.md", "tour.md")  # pages whose predictions and exports are run


def test_it_shows_training_a_sweep_and_what_comes_after():
    said = "\n".join(COMMANDS)
    for part in ("task=det", "seed=0,1", "lightseg leaderboard", "lightseg predict", "lightseg export"):
        assert part in said


def test_no_other_page_has_predictions_and_exports():
    for page in sorted((ROOT / "docs").glob("*.md")):
        if page.name not in WITH_FILES:
            assert not re.search(r"lightseg (?:predict|export) [\w./*-]+ ", page.read_text(encoding="utf-8")), page.name


def test_every_page_is_in_the_index_and_every_verb_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
    for verb in CLI_COMMANDS:
        assert f"lightseg {verb}" in readme, verb


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        words = [path for word in shlex.split(command) for path in (sorted(glob(word)) or [word])]  # as a shell does
        if words[:2] == ["python", "train.py"]:
            assert train.main([*words[2:], *SHORTER]) == 0, command
        elif words[0] == "lightseg":
            assert main(words[1:]) == 0, command
        else:
            assert words[0] == "ls" and {Path(word, "record.json").is_file() for word in words[1:]} == {True}
    said = capfd.readouterr().out
    for part in (
        "val/mIoU",
        "val/mAP",
        "record.json",
        "there already",
        "micronet_m3",
        "4 predicted",
        "same predictions",
    ):
        assert part in said
    assert len(list(tmp_path.glob("runs/seg/*/*/*/record.json"))) == 5
    assert len(list((tmp_path / "predictions" / "masks").rglob("*.png"))) == 4
