"""Values against the machine, the data and the model: errors before there is a run folder, not after a training."""

import math
from typing import Any

import torch

from lightseg.errors import LightsegError, one_line
from lightseg.model import Model

from ..data import DataModule
from . import distributed


def check_devices(trainer: dict[str, Any]) -> None:
    """Raise LightsegError for an accelerator or devices that this machine does not have."""
    accelerator, devices = trainer["accelerator"], trainer["devices"]
    cuda, mps = torch.cuda.device_count(), int(torch.backends.mps.is_available())
    count = {"auto": cuda or mps, "gpu": cuda or mps, "cuda": cuda, "mps": mps, "cpu": 0}[accelerator]
    if not count and accelerator not in ("auto", "cpu"):
        raise LightsegError(
            f"trainer.accelerator={accelerator}: torch {torch.__version__} finds no such device here: give auto or cpu"
        )
    if not count and (isinstance(devices, list) or devices == -1):
        raise LightsegError(f"trainer.devices={devices}: there is no GPU here: give a number of processes on the CPU")
    missing = max(devices) >= count if isinstance(devices, list) else isinstance(devices, int) and devices > count
    if count and missing and distributed.launched() is None:
        raise LightsegError(
            f"trainer.devices={devices}: this machine has {count}: give 1 to {count}, or numbers from 0"
        )


def check_batches(config: dict[str, Any], data: DataModule) -> None:
    """Raise LightsegError for `limit_*_batches` without a batch, or `val_check_interval` beyond the end of an epoch."""
    trainer = config["trainer"]
    processes = distributed.processes(trainer)
    counts = {"test": math.ceil(len(data.test_dataloader()) / processes)}
    if config["mode"] == "train":
        counts |= {"train": math.ceil(len(data.training_loader(data.part)) / processes), "val": counts["test"]}
    for name, count in counts.items():
        limit = trainer.get(f"limit_{name}_batches")
        if isinstance(limit, float) and int(limit * count) < 1:
            raise LightsegError(
                f"trainer.limit_{name}_batches={limit} of {count} batches is none: give a larger share or a number"
            )
    interval, limit = trainer.get("val_check_interval"), trainer.get("limit_train_batches")
    if "train" not in counts or type(interval) is not int or trainer.get("check_val_every_n_epoch", 1) is None:
        return
    batches = counts["train"] if limit is None else _limited(counts["train"], limit)
    if interval > batches and not trainer.get("fast_dev_run"):
        raise LightsegError(
            f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch: give fewer, a "
            "share of the epoch (0.5), or trainer.check_val_every_n_epoch=null to count across epochs"
        )


def check_sizes(config: dict[str, Any], model: Model, image_size: tuple[int, int]) -> None:
    """Raise LightsegError where the model cannot take the images of `profile.image_size` or of `evaluation.scales`.

    image_size: (height, width) of an evaluation image.
    """
    sizes = {}
    if "profile.image_size" not in config.get("resolved", ()):
        sizes["profile.image_size"] = config["profile"]["image_size"]
    if (scale := min(config["evaluation"]["scales"])) < 1:
        sizes["evaluation.scales"] = [max(1, round(side * scale)) for side in image_size]
    for key, (height, width) in sizes.items():
        images = model.blank(1, height, width)
        training = model.training
        try:
            with torch.no_grad():
                model.eval()(images)
        except Exception as error:  # the nets raise different errors
            group, name = key.split(".")
            raise LightsegError(
                f"{key}={config[group][name]}: {model.spec['backbone']} cannot take images of {height}x{width}: "
                f"{one_line(error)[:160]}"
            ) from error
        finally:
            model.train(training)


def _limited(batches: int, limit: float) -> int:
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
