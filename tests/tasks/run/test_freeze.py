"""freeze: parts that are not trained, for some epochs or for the run."""

import csv
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from lightseg.cli import main
from lightseg.config.compose import compose, plain
from lightseg.config.freeze import read_freeze
from lightseg.errors import LightsegError
from lightseg.model import create_model
from tasks.run.freezing import Freezing
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.runs import run

ROOT = Path(__file__).parents[3]
STEPS = 3  # of an epoch


def model_of(task: str = "seg", backbone: str = "mobilenetv3_small_050", **options):
    return create_model(backbone, task, 5, **options)


def names(model, part: str) -> set[str]:
    own = {id(parameter) for parameter in Freezing(model, {part: 1}, False).parts[part]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


def test_parts_of_a_pyramid():
    model = model_of()
    backbone = {name for name, _ in model.named_parameters() if name.startswith("backbone.")}
    assert names(model, "backbone") == backbone
    assert names(model, "head") == {name for name, _ in model.named_parameters()} - backbone
    assert names(model, "backbone.net.blocks.0") == {name for name in backbone if ".blocks.0." in name}
    stages = [names(model, f"stage{number}") for number in range(1, len(model.backbone.stages) + 1)]
    assert all(shallow < deep for shallow, deep in pairwise(stages))
    assert {name for name in stages[0] if "conv_stem" in name} and stages[-1] <= backbone
    assert not any(".blocks.5." in name for name in stages[-2]) and any(".blocks.5." in name for name in stages[-1])


def test_the_head_of_a_classifier_is_its_last_layer():
    model = model_of("cls", head={"name": "native"})
    head = names(model, "head")
    assert head == {"backbone.net.classifier.weight", "backbone.net.classifier.bias"}
    assert names(model, "backbone") == {name for name, _ in model.named_parameters()} - head


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ({"bakbone": 1}, "did you mean backbone"),
        ({"stage9": 1}, "has no such stage: give stage1 to stage"),
        (["backbone", "head"], "leaves nothing to train"),
        ({"backbone": 2, "head": 1}, "leaves nothing to train"),
    ],
)
def test_parts_that_the_model_has_not(freeze, message):
    with pytest.raises(LightsegError, match=message):
        Freezing(model_of(), freeze, False)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("backbone", {"backbone": None}), ("[backbone,stage2]", {"backbone": None, "stage2": None}),
     ("{backbone: 5, head: false}", {"backbone": 5}), ("{backbone: true}", {"backbone": None}), ("null", {})],
)  # fmt: skip
def test_forms(text, parts):
    assert read_freeze(plain(compose([f"freeze={text}"]))["freeze"]) == parts


@pytest.mark.parametrize("text", ["{backbone: 0}", "{backbone: -1}", "{backbone: 1.5}", "{backbone: x}", "3", "[3]"])
def test_other_forms_are_refused(text):
    with pytest.raises(LightsegError, match="freeze="):
        compose([f"freeze={text}"])


def saved(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], part: str) -> set[str]:
    return {key for key, value in before.items() if key.startswith(part) and not torch.equal(value, after[key])}


def test_a_backbone_that_is_frozen_for_an_epoch_and_then_resumed(words, tmp_path, capsys):
    """Equal to a run that was not resumed; frozen weights and statistics are those of the file, to the bit."""
    start = model_of(backbone=SHALLOW).backbone.net.state_dict()
    torch.save(start, tmp_path / "weights.pth")
    options = [f"pretrained={tmp_path / 'weights.pth'}", "freeze={backbone: 1}", "optimizer.lr=0.01", "ema.decay=0.9",
               "schedule.name=constant", "optimizer.backbone_lr_mult=0.1"]  # fmt: skip
    run(words(*options, "trainer.max_epochs=1", f"runs_dir={tmp_path / 'cut'}"))
    folder = only_run(tmp_path / "cut")
    before = {f"model.backbone.net.{key}": value for key, value in start.items()}
    after = saved(folder)
    before = {key: value for key, value in before.items() if key in after}
    assert len(before) > 50 and not changed(before, after, "model.backbone.")
    head = {key: value for key, value in after.items() if key.startswith("model.head.")}
    capsys.readouterr()
    assert main(["train", f"resume={folder}", "trainer.max_epochs=2"]) == 0
    assert "epoch 2: backbone is trained from here on (lr/backbone 0.001, lr/head 0.01)" in capsys.readouterr().out
    assert len(changed(before, saved(folder), "model.backbone.")) > 50 and changed(head, saved(folder), "model.head.")
    run(words(*options, "trainer.max_epochs=2", f"runs_dir={tmp_path / 'whole'}"))
    whole = saved(only_run(tmp_path / "whole"))
    assert not changed(whole, saved(folder), "")


@pytest.mark.slow
def test_in_two_processes(words, tmp_path):
    """With freeze_bn: parameters without a gradient and batch norms that stay, of both kinds at once."""
    start = model_of(backbone=SHALLOW).backbone.net.state_dict()
    torch.save(start, tmp_path / "weights.pth")
    command = words(f"pretrained={tmp_path / 'weights.pth'}", "freeze={stage2: true}", "freeze_bn=true",
                    "data.batch_size=1", "trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu",
                    "optimizer.lr=0.01", "ema.decay=0")  # fmt: skip
    subprocess.run([sys.executable, "train.py", *command], cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    after = saved(only_run(tmp_path / "runs"))
    same = {key for key, value in start.items() if torch.equal(after.get(f"model.backbone.net.{key}", value), value)}
    assert any("conv_stem" in key for key in same) and "blocks.4.0.conv_dw.weight" not in same
    norms = {key for key in start if ".bn" in f".{key}"}
    assert len(norms) > 40 and norms <= same
    with open(only_run(tmp_path / "runs") / "metrics.csv", newline="") as file:
        assert list(csv.DictReader(file))
