"""A run of an EfficientNet that is scaled on the command line: its folder, its checkpoint, and going on with it."""

import json

import pytest
import torch

import train
from lightseg.checkpoint import load_model
from tasks.run.run_folder import run_folder
from tests.conftest import only_run


@pytest.mark.slow
def test_a_scaled_net_trains_goes_on_and_is_loaded_by_its_name(cls_words, tmp_path):
    words = cls_words("backbone=efficientnet", "depth=0.5", "width=0.25", "trainer.max_epochs=1")
    assert train.main(words) == 0
    folder = only_run(tmp_path / "runs")
    assert folder.parent.name == "efficientnet_w0.25_d0.5"
    assert train.main([f"resume={folder}", "trainer.max_epochs=2"]) == 0
    record = json.loads((folder / "record.json").read_text())
    assert record["backbone"] == "efficientnet_w0.25_d0.5"
    model = load_model(folder / "checkpoints" / "last.ckpt")
    assert model.backbone.name == "efficientnet_w0.25_d0.5"
    assert model(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 6)


@pytest.mark.parametrize(
    ("backbone", "folder"),
    [
        ("efficientnet_w1.1_d1.2", "efficientnet_w1.1_d1.2"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("searched/small.yaml", "small"),
    ],
)
def test_run_folders_of_different_nets_are_different(backbone, folder, tmp_path):
    config = {"resume": None, "runs_dir": str(tmp_path), "task": "cls", "data": {"name": "mini_cls"}}
    assert run_folder({**config, "backbone": backbone}).parent.name == folder
