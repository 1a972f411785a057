"""Every `python train.py ...` of the README and of docs/ is a command that composes."""

import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from configs.compose import compose
from configs.sweep import read_sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """What follows `python train.py` up to the end of the line (or of the inline code), lines that end in \\ joined."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    return [found.strip() for found in re.findall(r"python train\.py([^\n`]*)", text)]


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def real(word: str, folder: Path) -> str:
    """The word with its made-up folder, run or file replaced by one that there is."""
    key, _, value = word.partition("=")
    if key == "data.root":
        return f"{key}={folder}"
    if key in ("ckpt", "resume"):
        task = next((part for part in Path(value).parts if part in ("cls", "det")), "seg")
        run = folder / "run"
        (run / "checkpoints").mkdir(parents=True)
        OmegaConf.save(compose([f"task={task}"]), run / "config.yaml")
        (run / "checkpoints" / "best.ckpt").touch()
        return f"{key}={run if key == 'resume' else run / 'checkpoints' / 'best.ckpt'}"
    if key == "pretrained" and "." in value:
        (folder / "weights.pth").touch()
        return f"{key}={folder / 'weights.pth'}"
    return word


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value.strip()[:60])
def test_it_composes(page, command, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")  # a Slurm
    words = [word for word in shlex.split(command, comments=True) if word not in ("--help", "--cfg")]
    runs = read_sweep([real(word, tmp_path) for word in words]).runs
    given = dict(word.split("=", 1) for word in words)
    assert {run.config["task"] for run in runs} == set(given.get("task", runs[0].config["task"]).split(","))
    if "data" in given:
        assert {run.config["data"]["name"] for run in runs} == {given["data"]}


def test_every_page_on_a_task_has_commands():
    assert {"README.md", "detection.md"} <= {page for page, _ in COMMANDS}
    assert len([page for page, _ in COMMANDS if page == "detection.md"]) >= 8
