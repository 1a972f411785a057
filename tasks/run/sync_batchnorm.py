"""`trainer.sync_batchnorm`: batch norm over the batches of all devices."""

from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from timm.layers import BatchNormAct2d
from timm.layers.norm_act import SyncBatchNormAct
from torch import nn

from lightseg.errors import LightsegError

from . import distributed

SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: nn.SyncBatchNorm,
    nn.BatchNorm2d: nn.SyncBatchNorm,
    BatchNormAct2d: SyncBatchNormAct,
}


class SyncBatchNorm(LayerSync):
    """Replaces the classes of a model's batch-norm layers while it trains.

    The layers stay the same objects with the same tensors: their activations, their hooks, and the references of
    freezing and of the moving average hold. Converters that build new layers lose hooks and references, and torch's,
    which Lightning calls, also loses the activations of timm's BatchNormAct2d.
    """

    def __init__(self) -> None:
        self._classes: list[tuple[nn.Module, type[nn.Module]]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if (kind := type(layer)) in SYNCHRONIZED:
                self._classes.append((layer, kind))
                layer.__class__ = SYNCHRONIZED[kind]
                layer.process_group = None  # type: ignore[assignment]  # all processes
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for layer, kind in self._classes:
            layer.__class__ = kind
            del layer.process_group
        self._classes.clear()
        return model


def check_sync_batchnorm(trainer: dict[str, Any]) -> None:
    """Raise LightsegError for several processes without GPUs, whose batch norm torch cannot synchronize."""
    if not trainer.get("sync_batchnorm") or _uses_cuda(trainer):
        return
    if (count := distributed.processes(trainer)) > 1:
        raise LightsegError(
            f"trainer.sync_batchnorm=true: torch synchronizes batch norm on CUDA GPUs alone, not in {count} processes "
            "on a CPU: give trainer.sync_batchnorm=false"
        )
    if distributed.rank() == 0:
        print("trainer.sync_batchnorm=true has no effect here: it is for several CUDA GPUs", flush=True)


def layer_sync(trainer: dict[str, Any]) -> list[LayerSync]:
    """The plugins of Lightning's Trainer for `trainer.sync_batchnorm`."""
    return [SyncBatchNorm()] if trainer.get("sync_batchnorm") and _uses_cuda(trainer) else []


def _uses_cuda(trainer: dict[str, Any]) -> bool:
    return trainer["accelerator"] in ("auto", "gpu", "cuda") and torch.cuda.is_available()
