"""Every `python train.py ...` and `lightseg train ...` of the README and of docs/ composes; own_data.md shows files."""

import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch_yaml import write_arch
from lightseg.config.compose import compose
from lightseg.config.sweep import read_sweep

ROOT = Path(__file__).parents[2]
OWN_DATA = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
QUOTES = "errors.md"  # its commands are parts of messages
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != QUOTES)]


def commands(page: Path) -> list[str]:
    """What follows `python train.py` or `lightseg train` up to the end of the line or of the inline code.

    Lines that end in \\ are joined.
    """
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    return [found.strip() for found in re.findall(r"(?:python train\.py|lightseg train)([^\n`]*)", text)]


def data_files(data: Path) -> dict[str, str]:
    """Name -> text of the files configs/data/<name>.yaml that own_data.md shows, their roots below `data`."""
    files = re.findall(r"```yaml\n# configs/data/(\w+)\.yaml\n(.*?)```", OWN_DATA, re.DOTALL)
    return {name: text.replace("root: /data", f"root: {data}") for name, text in files}


def other_files() -> dict[str, str]:
    """`trainer/short` -> text of the files of other groups that own_data.md shows."""
    files = re.findall(r"```yaml\n# configs/(\w+/\w+)\.yaml\n(.*?)```", OWN_DATA, re.DOTALL)
    return {name: text for name, text in files if not name.startswith("data/")}


def add_data_files(files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices besides the shipped ones: `./configs/` of `folder`, which becomes the working directory."""
    (folder / "configs" / "data").mkdir(parents=True)
    for name, text in {**{f"data/{name}": text for name, text in files.items()}, **other_files()}.items():
        path = folder / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(folder)


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def real(word: str, folder: Path) -> str:
    """The word with its made-up folder, run or file replaced by one that there is."""
    key, _, value = word.partition("=")
    if key == "data.root":
        return f"{key}={folder}"
    if key in ("ckpt", "resume"):
        task = next((part for part in Path(value).parts if part in ("cls", "det", "pose")), "seg")
        run = folder / "run"
        (run / "checkpoints").mkdir(parents=True)
        OmegaConf.save(compose([f"task={task}"]), run / "config.yaml")
        (run / "checkpoints" / "best.ckpt").touch()
        return f"{key}={run if key == 'resume' else run / 'checkpoints' / 'best.ckpt'}"
    if key == "pretrained" and "." in value:
        (folder / "weights.pth").touch()
        return f"{key}={folder / 'weights.pth'}"
    if key == "backbone" and value.split(",")[0].endswith("arch.yaml"):  # one for all
        write_arch(ARCHS[0], folder / "arch.yaml")
        return f"{key}={folder / 'arch.yaml'}"
    if word == "data=auto":
        return "data=yolo"  # the folder that there is here is empty
    if key == "data.person_boxes":
        (folder / "results.json").touch()
        return f"{key}={folder / 'results.json'}"
    return word


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value.strip()[:60])
def test_it_composes(page, command, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")  # a Slurm
    monkeypatch.setattr("lightseg.config.loggers.find_spec", lambda module: object())  # MLflow and Comet
    files = data_files(tmp_path)
    own = files.keys() | {name.split("/")[1] for name in other_files()}
    if own & {word.split("=", 1)[-1] for word in shlex.split(command, comments=True)}:
        for name in files:
            (tmp_path / name).mkdir()
        add_data_files(files, tmp_path, monkeypatch)
    words = [word for word in shlex.split(command, comments=True) if word not in ("--help", "--cfg")]
    runs = read_sweep([real(word, tmp_path) for word in words]).runs
    given = dict(word.split("=", 1) for word in words)
    assert {run.config["task"] for run in runs} == set(given.get("task", runs[0].config["task"]).split(","))
    if "data" in given:
        # a format's name means its file for the task
        name = real(f"data={given['data']}", tmp_path).removeprefix("data=")
        assert {run.config["data"]["name"] for run in runs} <= {name, f"{name}_{given.get('task')}"}


def test_every_page_on_a_task_has_commands():
    pages = [page for page, _ in COMMANDS]
    assert {"README.md", "tour.md", "questions.md", "own_data.md", "detection.md", "pose.md"} <= set(pages)
    assert pages.count("detection.md") >= 8 and pages.count("pose.md") >= 10 and pages.count("segmentation.md") >= 12
