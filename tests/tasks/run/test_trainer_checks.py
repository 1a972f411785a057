"""Lightning's arguments against the machine and the data, before there is a run folder."""

from types import SimpleNamespace

import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.model import create_model
from tasks.run.optimization import build_optimizer
from tasks.run.trainer_checks import check_batches, check_devices, check_sizes

DATA = SimpleNamespace(training_loader=lambda part: range(12), test_dataloader=lambda: range(4), part=None)


@pytest.mark.parametrize(
    ("gpus", "accelerator", "devices", "message"),
    [
        (0, "gpu", 1, "trainer.accelerator=gpu: torch .* finds no such device here: give auto or cpu"),
        (0, "auto", [0], "there is no GPU here: give a number of processes"),
        (0, "auto", -1, "there is no GPU here"),
        (2, "auto", 3, "trainer.devices=3: this machine has 2: give 1 to 2, or numbers from 0"),
        (2, "gpu", [0, 2], r"trainer.devices=\[0, 2\]: this machine has 2"),
        (2, "cuda", [0, 1], None),
        (2, "auto", -1, None),
        (2, "cpu", 3, None),
        (0, "auto", 2, None),
        (0, "auto", "auto", None),
    ],
)
def test_devices(gpus, accelerator, devices, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    trainer = {"accelerator": accelerator, "devices": devices}
    if message is None:
        check_devices(trainer)
    else:
        with pytest.raises(LightsegError, match=message):
            check_devices(trainer)


@pytest.mark.parametrize(
    ("mode", "trainer", "message"),
    [
        ("train", {"val_check_interval": 13}, "val_check_interval=13 is more than the 12 batches of an epoch"),
        ("train", {"val_check_interval": 12}, None),
        ("train", {"val_check_interval": 13, "check_val_every_n_epoch": None}, None),
        ("train", {"val_check_interval": 5, "limit_train_batches": 4}, "more than the 4 batches"),
        ("train", {"val_check_interval": 7, "limit_train_batches": 0.5}, "more than the 6 batches"),
        ("train", {"val_check_interval": 7, "devices": 2}, "more than the 6 batches"),
        ("train", {"val_check_interval": 0.1}, None),
        ("train", {"limit_train_batches": 0.05}, "trainer.limit_train_batches=0.05 of 12 batches is none"),
        ("train", {"limit_test_batches": 0.1}, "trainer.limit_test_batches=0.1 of 4 batches is none"),
        ("test", {"limit_test_batches": 0.1}, "trainer.limit_test_batches=0.1 of 4 batches is none"),
        ("test", {"limit_train_batches": 0.05, "val_check_interval": 13}, None),
    ],
)
def test_batches(mode, trainer, message):
    config = {"mode": mode, "trainer": trainer}
    if message is None:
        check_batches(config, DATA)
    else:
        with pytest.raises(LightsegError, match=message):
            check_batches(config, DATA)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"profile": [32, 32]}, r"profile.image_size=\[32, 32\]: tiny cannot take images of 32x32: too small"),
        ({"profile": [64, 96]}, None),
        ({"profile": [32, 32], "resolved": ["profile.image_size"]}, None),
        ({"scales": [1.0, 0.5]}, r"evaluation.scales=\[1.0, 0.5\]: tiny cannot take images of 32x48: too small"),
        ({"scales": [1.0, 0.75]}, None),
    ],
)
def test_sizes(config, message):
    class Tiny(torch.nn.Module):
        spec = {"backbone": "tiny"}

        def blank(self, batch, height, width):
            return torch.zeros((batch, 3, height, width), dtype=torch.uint8)

        def forward(self, images):
            if images.shape[-2] < 48:
                raise RuntimeError("too small")
            assert images.dtype == torch.uint8 and not self.training

    values = {"profile": {"image_size": config.get("profile", [64, 96])}, "resolved": config.get("resolved", [])}
    values["evaluation"] = {"scales": config.get("scales", [1.0])}
    model = Tiny()
    if message is None:
        check_sizes(values, model, (64, 96))
    else:
        with pytest.raises(LightsegError, match=message):
            check_sizes(values, model, (64, 96))
    assert model.training


def test_an_optimizer_that_refuses_a_value_is_not_misspelled():
    options = {"weight_decay": 0.0, "momentum": 0.9, "backbone_lr_mult": 1.0, "eps": None, "layer_decay": None}
    with pytest.raises(LightsegError, match=r"^optimizer.name=adamw: .*learning rate") as error:
        build_optimizer(create_model("micronet_m0", "cls", 2), name="adamw", lr=-1.0, fused=False, **options)
    assert "did you mean" not in str(error.value)
