"""freeze_bn: the checkpoint has the batch norms of the weights file, the other weights are trained."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lightseg.backbones import create_backbone
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.runs import run


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A state dict of a shallow net whose batch norms have statistics and affine weights of their own."""
    torch.manual_seed(0)
    pyramid = create_backbone(SHALLOW)
    for layer in pyramid.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    torch.save(pyramid.net.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def changed(weights: Path, runs: Path) -> tuple[set[str], set[str]]:
    """Entries of the state dict of the last checkpoint's backbone that differ from the file: of batch norm, others."""
    saved = torch.load(only_run(runs) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    start = torch.load(weights, weights_only=True)
    trained = {key: saved[f"model.backbone.net.{key}"] for key in start if f"model.backbone.net.{key}" in saved}
    assert len(trained) > 50
    different = {key for key, value in trained.items() if not torch.equal(value, start[key])}
    norms = {key for key in start if ".bn" in f".{key}" or "running" in key or "num_batches" in key}
    return different & norms, different - norms


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norms_stay_as_they_were_loaded(words, weights, tmp_path, frozen):
    options = ["trainer.max_epochs=2", "ema.decay=0.9", "trainer.val_check_interval=2", "optimizer.lr=0.01"]
    run(words(*options, f"pretrained={weights}", f"freeze_bn={str(frozen).lower()}"))
    norms, others = changed(weights, tmp_path / "runs")
    assert len(others) > 10
    assert norms == set() if frozen else len(norms) > 40


def test_without_ema(words, weights, tmp_path):
    """In two processes: test_freeze.py."""
    run(words("optimizer.lr=0.01", "ema.decay=0", f"pretrained={weights}", "freeze_bn=true"))
    norms, others = changed(weights, tmp_path / "runs")
    assert norms == set() and len(others) > 10
