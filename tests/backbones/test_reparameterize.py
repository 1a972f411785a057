"""Reparameterisable nets are measured, exported, compressed and predicted with in their deployed form."""

import copy

import pytest
import torch
from torch import nn

from lightseg.backbones import reparameterize
from lightseg.checkpoint import load_model
from lightseg.compress.api import compress_model
from lightseg.inference.runners import CheckpointRunner
from lightseg.model import create_model
from lightseg.profile import count_madds, count_params, profile_model
from lightseg.profile.api import profile
from tests.marks import slow_except

NETS = [  # of each kind of block that timm can fuse the smallest
    "mobileone_s0",
    "repvgg_a0",
    "fastvit_t8",
    "repghostnet_050",
    "ghostnetv3_050",
    "repvit_m0_9",
    "lcnetv2_small",
    "iformer_t",
    "efficientvim_m1",
    "efficientvit_m0",
    "shvit_s1",
    "levit_conv_128s",
    "tiny_vit_5m_224",
    "nextvit_small",
]
DILATED = [
    "mobileone_s0",
    "repvgg_a0",
    "fastvit_t8",
    "repghostnet_050",
    "ghostnetv3_050",
    "repvit_m0_9",
    "lcnetv2_small",
]
SIZES = {"tiny_vit_5m_224": 224, "levit_conv_128s": 224, "efficientvit_m0": 224}


def trained(name: str, task: str = "cls", **options):
    """A model whose batch norms have statistics and weights as after training: with fresh ones any fusion is right."""
    torch.manual_seed(0)
    model = create_model(name, task, 5, **options)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 2)
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.1)
    return model


def difference(a, b) -> float:
    """Relative to the outputs' spread."""
    return float((a - b).abs().max() / a.std())


@pytest.mark.parametrize("name", slow_except(["mobileone_s0", "repghostnet_050", "repvit_m0_9"], NETS))
def test_the_deployed_form_has_equal_outputs_and_the_training_form_is_not_changed(name):
    model = trained(name)
    before = copy.deepcopy(model.state_dict())
    deployed = model.deployed()
    size = SIZES.get(name, 64)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.eval()(images)
        assert difference(expected, deployed(images)) < 1e-3
    assert count_params(deployed) < count_params(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert deployed.deployed() is deployed


@pytest.mark.parametrize("name", slow_except(["fastvit_t8", "lcnetv2_small"], DILATED))
def test_the_maps_of_a_dilated_pyramid_are_equal_too(name):
    """timm's blocks fuse with the stride that they were built with."""
    model = trained(name, "seg").eval()
    images = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    deployed = model.deployed()
    with torch.no_grad():
        assert difference(model(images), deployed(images)) < 1e-3
    assert count_params(deployed) < count_params(model)


def test_a_fusion_that_changes_the_outputs_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(reparameterize, "_restore_geometry", lambda plain, net: None)
    model = trained("fastvit_t8", "seg")
    assert model.deployed() is model and "has other outputs" in caplog.text


def test_mobileone_s0_costs_what_its_paper_says_and_both_forms_are_reported():
    """ "MobileOne: An Improved One Millisecond Mobile Backbone" (arXiv:2206.04040), table 9: 2.1 M and 275 M."""
    model = create_model("mobileone_s0", "cls", 1000)
    cost = profile_model(model, (224, 224), runs=1)
    assert cost["params"] == pytest.approx(2.08e6, rel=0.01) and cost["madds"] == pytest.approx(275e6, rel=0.01)
    assert cost["training_form"] == {
        "params": count_params(model),
        "madds": count_madds(model, (1, 3, 224, 224), torch.uint8),
    }
    assert cost["training_form"]["params"] == pytest.approx(5.29e6, rel=0.01)
    assert cost["training_form"]["madds"] == pytest.approx(1052e6, rel=0.01)
    report = profile(model, (224, 224), runs=0)
    assert report["params"] == cost["params"] and report["training_form"] == cost["training_form"]


def test_a_net_without_branches_is_itself():
    model = create_model("mobilenetv3_small_050", "cls", 5)
    assert model.deployed() is model and "training_form" not in profile_model(model, (64, 64), runs=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = trained("mobileone_s0")
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    return path, model.eval()


def test_prediction_uses_the_deployed_form(checkpoint):
    path, model = checkpoint
    runner = CheckpointRunner(path, "cpu")
    assert count_params(runner.model) < 0.5 * count_params(model)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert difference(model(images), runner.model(images)) < 1e-3


def test_a_compressed_file_holds_the_deployed_form(checkpoint, tmp_path):
    path, _ = checkpoint
    deployed = load_model(path).deployed()
    report = compress_model(deployed, tmp_path / "small.compressed", bits=2)
    assert report["weights"] < 2.1e6
    loaded = load_model(tmp_path / "small.compressed")
    assert loaded.spec["deployed"] and loaded.deployed() is loaded
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(images), deployed.eval()(images))


@pytest.mark.slow
def test_an_exported_file_holds_the_deployed_form(checkpoint, tmp_path):
    from lightseg.export.api import export

    path, model = checkpoint
    report = export(path, tmp_path / "small.onnx", size=(64, 64))
    assert report["comparison"]["equal"] and report["bytes"] < 4.5 * count_params(model.deployed())
