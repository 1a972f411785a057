"""Every command and example of docs/predict.md and docs/export.md, run on tiny checkpoints and images."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightseg.cli import main, parser
from tests.inference.conftest import EVALUATION, NAMES, save_checkpoint

ROOT = Path(__file__).parents[2]
TEXT = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("predict", "export", "python")}
COMMANDS = {name: re.findall(r"^    lightseg (.+)$", TEXT[name], re.MULTILINE) for name in ("predict", "export")}
EXAMPLES = {name: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for name, text in TEXT.items()}
NEEDS = {"executorch": "executorch"}  # the packages of the other formats are installed to test


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs SEG, CLS, DET and POSE, and the images that the pages speak of."""
    folder = tmp_path_factory.mktemp("place")
    for task in NAMES:
        save_checkpoint(folder / task.upper(), task, EVALUATION[task])
    for below in ("photos", "people"):
        (folder / below).mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), dtype=np.uint8)
    for name, image in zip(("street", "person", "photos/a", "photos/b", "people/a"), noise, strict=True):
        cv2.imwrite(str(folder / f"{name}.jpg"), image)
    box = {"category_id": 1, "bbox": [10, 5, 40, 50], "score": 0.9}
    (folder / "boxes.json").write_text(json.dumps([{"image_id": name, **box} for name in "ab"]))
    film = cv2.VideoWriter(str(folder / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (64, 64))
    for image in noise:
        film.write(cv2.resize(image, (64, 64)))
    film.release()
    return folder


def run_example(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [command for commands in COMMANDS.values() for command in commands])
def test_the_words_are_known(command):
    words = shlex.split(command)
    assert parser(words[0]).parse_args(words).command == words[0]


def test_the_pages_have_commands_for_every_task():
    for commands in COMMANDS.values():
        assert all(f" {task.upper()}/" in " ".join(commands) for task in NAMES)
    assert [len(EXAMPLES[name]) for name in COMMANDS] == [1, 1]


@pytest.mark.parametrize("command", COMMANDS["predict"])
def test_prediction(place, command, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = shlex.split(command)
    camera = words[2] == "0"
    code = main(words)
    said = capsys.readouterr()
    if camera:  # machines that test have none, most often
        assert code == 0 or said.err.startswith("error: camera 0 gives no images")
    else:
        assert code == 0 and "predicted in" in said.out, said.err
        assert (place / words[words.index("--output") + 1] / "results.json").is_file()


def test_the_predictor_of_the_python_page(place, monkeypatch):
    monkeypatch.chdir(place)
    (block,) = [block for block in EXAMPLES["python"] if "lightseg.load" in block]
    names: dict[str, object] = {}
    exec(re.sub(r'"runs/\S+"', '"DET"', block), names)
    assert (place / "street_boxes.jpg").is_file() and names["drawn"].shape == (64, 64, 3)
    assert names["prediction"].frame == 4 and names["prediction"].file_name == "walk.mp4"


@pytest.mark.slow
def test_the_example_of_predict(place):
    assert run_example(EXAMPLES["predict"][0], place) == "2 []\n"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_exports_in_the_order_of_the_page(place, monkeypatch, capsys):
    """Those whose packages are installed; of the others the line that names the package."""
    monkeypatch.chdir(place)
    for command in COMMANDS["export"]:
        words = shlex.split(command)
        form = words[words.index("--format") + 1] if "--format" in words else "onnx"
        package = NEEDS.get(form) if words[0] == "export" else None
        code = main(words)
        said = capsys.readouterr()
        if package and find_spec(package) is None:
            assert code == 2 and f"error: {package} is not installed" in said.err
        else:
            assert code == 0, f"{command}: {said.err}"
            assert "same predictions" in said.out or "predicted in" in said.out
    assert run_example(EXAMPLES["export"][0], place).startswith("head [")
