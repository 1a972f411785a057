"""trainer.sync_batchnorm: the layers stay what they are, but for their statistics over all devices."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from timm.layers import BatchNormAct2d
from timm.layers.norm_act import SyncBatchNormAct
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightseg.errors import LightsegError
from lightseg.model import create_model
from tasks.run.freezing import Freezing
from tasks.run.sync_batchnorm import SyncBatchNorm, check_sync_batchnorm, layer_sync
from tests.nets import every_backbone

SYNC = (nn.SyncBatchNorm, SyncBatchNormAct)


def tensors(outputs) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    return list(outputs.values() if isinstance(outputs, dict) else outputs)


def assert_conversion_changes_no_output(model, net, images) -> None:
    """net: the model or a part of it that takes `images`. In evaluation, and in training in one process."""
    classes = [type(module) for module in model.modules()]
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    plugin, results = SyncBatchNorm(), []
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for convert in (None, plugin.apply, plugin.revert):
        if convert is not None:
            assert convert(model) is model
        if convert == plugin.apply:
            assert all(isinstance(norm, SYNC) for norm in norms)
        model.load_state_dict(state)
        for training in (False, True):
            torch.manual_seed(0)
            with torch.no_grad():
                results.append(tensors(net.train(training)(images)))
    before = results[:2]
    for after in (results[2:4], results[4:]):
        for mode in (0, 1):
            assert all(torch.equal(a, b) for a, b in zip(before[mode], after[mode], strict=True))
    assert before[0][0].std() > 0
    assert [type(module) for module in model.modules()] == classes


@pytest.mark.parametrize("name", every_backbone())
def test_every_net_has_the_same_outputs(name):
    """With the taps of detection, which are hooks on batch norms."""
    torch.manual_seed(0)
    model = create_model(name, "det", 5, head={"extra_channels": [32, 32, 32, 32]})
    assert_conversion_changes_no_output(model, model.backbone, torch.randn(2, 3, 64, 96))


@pytest.mark.parametrize(
    ("task", "backbone", "head"),
    [
        ("seg", "mobilenetv2_035", {"name": "lraspp", "variant": "torchvision"}),
        ("cls", "micronet_m0", {"name": "native"}),  # it has BatchNorm1d too
        ("det", "mobilenetv3_small_050", {"name": "ssdlite"}),
        ("pose", "mobilenetv2_035", {"name": "heatmap", "variant": "simple"}),
    ],
)
def test_every_task_has_the_same_outputs(task, backbone, head):
    torch.manual_seed(0)
    model = create_model(backbone, task, 5, head=head)
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    assert_conversion_changes_no_output(model, model, images)


def test_frozen_batch_norm_stays_frozen():
    model = create_model("mobilenetv2_035", "seg", 5)
    freezing = Freezing(model, None, freeze_bn=True)
    SyncBatchNorm().apply(model.train())
    freezing.set_norms(0)
    norms = [module for module in model.backbone.modules() if isinstance(module, _BatchNorm)]
    assert norms and all(isinstance(norm, SYNC) and not norm.training for norm in norms)


def test_lightning_converts_by_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    plugins = layer_sync({"sync_batchnorm": True, "accelerator": "auto"})
    monkeypatch.undo()
    trainer = pl.Trainer(accelerator="cpu", strategy="ddp", devices=2, logger=False, plugins=plugins)
    net = nn.Sequential(BatchNormAct2d(4))
    trainer.strategy._layer_sync.apply(net)
    assert type(net[0]) is SyncBatchNormAct and isinstance(net[0].act, nn.ReLU)


@pytest.mark.parametrize(
    ("trainer", "gpu", "error", "line"),
    [
        ({"sync_batchnorm": True, "accelerator": "auto", "devices": 2}, False, "not in 2 processes on a CPU", ""),
        ({"sync_batchnorm": True, "accelerator": "cpu", "devices": 2}, True, "trainer.sync_batchnorm=false", ""),
        ({"sync_batchnorm": True, "accelerator": "auto", "devices": "auto"}, False, None, "has no effect here"),
        ({"sync_batchnorm": True, "accelerator": "auto", "devices": 2}, True, None, None),
        ({"sync_batchnorm": False, "accelerator": "cpu", "devices": 2}, False, None, None),
        ({"accelerator": "cpu", "devices": 2}, False, None, None),
    ],
)
def test_without_gpus_it_is_refused_or_named(trainer, gpu, error, line, monkeypatch, capsys):
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: gpu))
    if error is not None:
        with pytest.raises(LightsegError, match=error):
            check_sync_batchnorm(trainer)
        return
    check_sync_batchnorm(trainer)
    out = capsys.readouterr().out
    assert out.count("\n") == (line is not None) and (line or "") in out
    assert bool(layer_sync(trainer)) == (gpu and trainer.get("sync_batchnorm", False))
