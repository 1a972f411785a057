"""MobileSeg and RTMCC from training to evaluation, prediction, and profile."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.model import create_model
from lightseg.profile.cost import count_params
from tasks.base import Task
from tests.conftest import only_run
from tests.tasks.runs import run


@pytest.mark.parametrize(("head", "count"), [("mobileseg", 3), ("lraspp", 1)])
def test_a_step_asks_for_what_only_the_loss_needs(head, count):
    model = create_model("micronet_m0", "seg", 3, head={"name": head}).train()
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    task = SimpleNamespace(model=model, _trainer=None)
    outputs = Task.forward(task, images, training_outputs=True)
    assert isinstance(model(images), torch.Tensor)
    assert len(outputs) == count if count > 1 else isinstance(outputs, torch.Tensor)


@pytest.mark.slow
def test_mobileseg(words, tmp_path, mini_seg, capsys):
    options = ["head.name=mobileseg", "head.fusion=attention", "loss.ohem=0.7", "trainer.max_epochs=1"]
    record = run(words(*options, "trainer.log_every_n_steps=1"))
    folder = only_run(tmp_path / "runs")
    assert record["config"]["output_stride"] == 32 and record["config"]["head"]["widths"] is None
    assert record["config"]["head"]["bins"] == [1, 2, 4] and record["config"]["head"]["auxiliary"] == 1.0
    checkpoint = folder / "checkpoints" / "best.ckpt"
    model = load_model(checkpoint)
    auxiliary = count_params(model.head.auxiliary)
    assert record["cost"]["params"] == count_params(model) - auxiliary
    with open(folder / "metrics.csv", newline="") as file:
        losses = [row for row in csv.DictReader(file) if row.get("train/loss_auxiliary")]
    assert len(losses) == 3
    for row in losses:
        assert float(row["train/loss"]) > float(row["train/loss_auxiliary"]) > 0
    again = run(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}"])
    assert again["metrics"]["val/mIoU"] == record["metrics"]["val/mIoU"]
    images = next((mini_seg / "leftImg8bit" / "val").iterdir())
    assert main(["predict", str(checkpoint), str(images), "--output", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").rglob("*.png"))
    capsys.readouterr()
    assert main(["profile", str(checkpoint), "image_size=64x128", "--runs", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == record["cost"]["params"]


@pytest.mark.slow
def test_rtmcc(pose_words, tmp_path):
    options = ["head.name=rtmcc", "head.hidden=64", "head.attention=32", "trainer.max_epochs=1"]
    record = run(pose_words(*options, "evaluation.flip=true"))
    assert 0 <= record["metrics"]["val/AP"] <= 1
    assert (record["config"]["head"]["kernel"], record["config"]["head"]["attention"]) == (7, 32)
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    again = run(["mode=test", f"ckpt={checkpoint}", "evaluation.flip=true", f"runs_dir={tmp_path / 'again'}"])
    assert again["metrics"] == record["metrics"]
    model = load_model(checkpoint)
    height, width = model.contract.size
    images = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    assert model(images)["x"].shape == (1, len(model.contract.class_names), 2 * width)
