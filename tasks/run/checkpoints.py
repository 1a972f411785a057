"""Checkpoints, written atomically: a file on the disk is always complete."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

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


class RunCheckpoint(ModelCheckpoint):
    """ModelCheckpoint of one file in a run folder.

    Among equal values of the monitor, and among undefined ones, the last is kept, where Lightning keeps the first. A
    run folder that was moved or renamed keeps its best value, which Lightning drops because the path has changed.
    """

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if self.monitor is None or current is None or not self.best_k_models:
            return super().check_monitor_top_k(trainer, current)
        better = torch.nan_to_num(current, nan=-torch.inf) >= self.best_k_models[self.kth_best_model_path]
        return trainer.strategy.reduce_boolean_decision(bool(better))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def moved(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: moved(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {moved(path): value for path, value in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def checkpoint_callbacks(folder: Path, monitor: str) -> list[ModelCheckpoint]:
    """`best.ckpt`, written after an evaluation whose monitored metric is the best so far, and `last.ckpt`, after every
    epoch. A run is resumed from `last.ckpt`."""
    shared: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    return [
        RunCheckpoint(filename="best", monitor=monitor, mode="max", save_on_train_epoch_end=False, **shared),
        RunCheckpoint(filename="last", monitor=None, save_top_k=1, save_on_train_epoch_end=True, **shared),
    ]
