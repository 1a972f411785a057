"""A fifth task that lives in this folder goes through everything that the four shipped ones go through."""

import json
import shutil
from pathlib import Path

import pytest

from lightseg.catalog.arch_yaml import write_arch
from lightseg.catalog.tasks import TASKS, register_task
from lightseg.cli import main as lightseg
from lightseg.commands.train import main as train
from lightseg.config.compose import compose, defaults_of, plain
from lightseg.config.sweep import read_sweep
from lightseg.errors import LightsegError
from lightseg.model import create_model
from lightseg.record import setting
from tests.conftest import only_run
from tests.export.conftest import TINY
from tests.toy_task.spec import HERE, INFO

SHORT = ["backbone=tiny.yaml", "trainer.max_epochs=1", "logger=csv", "profile.runs=1", "schedule.warmup_steps=0"]


@pytest.fixture
def depth(tmp_path, monkeypatch):
    """The task is known, and its data file is found in ./configs of a folder of the person's own."""
    shutil.copytree(HERE / "configs" / "data", tmp_path / "configs" / "data")
    monkeypatch.chdir(tmp_path)
    write_arch(TINY, Path("tiny.yaml"))  # exported in a third of the time that the smallest shipped net takes
    register_task(INFO)
    yield
    del TASKS[INFO.name]


def record_of(folder: Path) -> dict:
    return json.loads((only_run(folder) / "record.json").read_text())


def test_a_fifth_task_goes_through_everything(depth, tmp_path, capsys):
    assert train(["task=depth", *SHORT]) == 0
    run = only_run(tmp_path / "runs")
    record = record_of(tmp_path / "runs")
    assert (record["task"], record["data"], record["head"]) == ("depth", "depth_csv", "pooled")
    assert 0 <= record["metrics"]["val/delta1"] <= 1 and record["metrics"]["val/rmse"] > 0
    assert record["setting"] == {"schedule.warmup_steps": 0, "trainer.max_epochs": 1}
    assert record["input"]["size"] == [64, 64] and (run / "images" / "val.png").is_file()

    checkpoint = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "moved.ckpt")
    words = ["task=depth", "mode=test", "logger=csv", "profile.runs=1"]
    assert train([*words, f"ckpt={checkpoint}", "runs_dir=tested"]) == 0
    assert record_of(tmp_path / "tested")["metrics"] == record["metrics"]

    assert lightseg(["export", str(checkpoint), "--output", "net.onnx"]) == 0
    assert train([*words, "ckpt=net.onnx", "runs_dir=exported"]) == 0
    exported = record_of(tmp_path / "exported")["metrics"]
    assert exported == pytest.approx(record["metrics"], abs=1e-4)

    for model in (str(checkpoint), "net.onnx"):
        output = tmp_path / f"predictions_{Path(model).stem}"
        assert lightseg(["predict", model, "datasets/depth/images", "--output", str(output)]) == 0
        results = json.loads((output / "results.json").read_text())
        assert len(results) == 24 and all(entry["depth"] > 0 for entry in results)
        assert len(list((output / "overlays").iterdir())) == 24
    assert lightseg(["profile", str(checkpoint), "--no-onnx", "--runs", "0"]) == 0

    capsys.readouterr()
    assert lightseg(["leaderboard", "runs"]) == 0
    table = capsys.readouterr().out
    assert "delta1 %" in table and "rmse m" in table
    assert lightseg(["leaderboard", "runs", "--output", "board.html"]) == 0
    page = Path("board.html").read_text()
    assert "Depth of an image" in page and '{"name":"rmse","unit":"m","lower":true}' in page


def test_a_new_model_of_it_is_profiled_by_name(depth, capsys):
    assert lightseg(["profile", "task=depth", "backbone=mobilenetv3_small_050", "--no-onnx", "--runs", "0"]) == 0
    assert "task=depth, 1 classes, one image of 64x64" in capsys.readouterr().out


def test_sweeps_and_files_of_ones_own_know_it(depth):
    runs = read_sweep(["task=depth", "seed=0,1", "loss.beta=0.5,1.0"]).runs
    assert len(runs) == 4 and {run.config["task"] for run in runs} == {"depth"}
    own = Path("configs/task/near.yaml")
    own.parent.mkdir()
    own.write_text("name: depth\nloss: {beta: 0.2}\n")
    config = compose(["task=near"])
    assert (config.task, config.data.name, config.loss.beta) == ("depth", "depth_csv", 0.2)
    assert setting(plain(config), plain(defaults_of(config))) == {"loss.beta": 0.2}


def test_its_keys_and_choices_are_checked_like_those_of_the_others(depth, capsys):
    for override, message in (
        ("head.name=poold", "pooled"),
        ("evaluation.flip=true", "evaluation.flip is not for task=depth"),
        ("schedule.mixup=[0,1]", "schedule.mixup is for task=cls and multilabel only"),
        ("loss.betta=1", "loss.beta"),
        ("data=mini_det", "is for task=det"),
        ("evaluation.predictions=true", "data=depth_csv (format: depth_csv) has no form for predictions"),
    ):
        assert train(["task=depth", override]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_unknown_without_being_registered():
    with pytest.raises(LightsegError, match="no task named 'depth'"):
        create_model("mobilenetv3_small_050", "depth", 1)
