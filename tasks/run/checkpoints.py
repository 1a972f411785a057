"""Checkpoints, written atomically: a file on the disk is always complete."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from lightseg.atomic_io import writing
from lightseg.checkpoint import load_model
from lightseg.compressed_file import is_compressed
from lightseg.errors import LightsegError


class SaveError(LightsegError):
    """A checkpoint could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk and renames. Reads only tensors and plain values.

    Lightning's own class writes into the system's temporary folder. If that is on another disk, its last step is a
    copy, which is not atomic. Files of `lightseg compress` are read too.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.writing")  # a fixed name: at most one file is left behind
        try:
            with writing(target, sync=True, unfinished=unfinished) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
            kept = "the previous one is untouched" if target.exists() else "there was none before it"
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "is the disk full?"
            raise SaveError(
                f"cannot write {target}: {reason}; {kept}. Make room, then resume={target.parent.parent}"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        if is_compressed(path):
            model = load_model(path)
            state = {f"model.{key}": value for key, value in model.state_dict().items()}
            return {"hyper_parameters": {"model": model.spec}, "state_dict": state}
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:
            raise LightsegError(
                f"{path} is not a checkpoint that can be read safely ({type(error).__name__})"
            ) from error


def checkpoint_callbacks(folder: Path, monitor: str) -> list[ModelCheckpoint]:
    """`last.ckpt` after every epoch, `best.ckpt` by the monitored metric. A run can be resumed from both."""
    shared: dict[str, Any] = {
        "dirpath": folder / "checkpoints",
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,
    }
    return [
        ModelCheckpoint(filename="best", monitor=monitor, mode="max", **shared),
        ModelCheckpoint(filename="last", monitor=None, save_top_k=1, **shared),
    ]
