"""Checkpoints, written atomically: a file on the disk is always complete."""

import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor

from lightseg.atomic_io import writing
from lightseg.checkpoint import load_model
from lightseg.compressed_file import is_compressed
from lightseg.errors import LightsegError

from .signals import Stopped, StopSignals


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

    Attributes:
        validated_step: the optimizer step of the last evaluation during training, 0 before the first.
    """

    validated_step = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.validated_step = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "validated_step": self.validated_step}

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
        self.validated_step = state_dict.get("validated_step", 0)  # older releases have none
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


class LastCheckpoint(RunCheckpoint):
    """`last.ckpt`, after every epoch, and within an epoch where `trainer.max_steps`, `trainer.max_time` or a signal
    ends the training. A run that is resumed from there takes the batches of the epoch that are left, and is equal to a
    run that was not stopped.

    Raises:
        Stopped: once the checkpoint is written for a signal. One that arrives during an evaluation ends the evaluation,
            which is repeated on resume; with several processes it is finished first.
    """

    def __init__(self, signals: StopSignals, **options: Any) -> None:
        super().__init__(**options)
        self.signals = signals
        self._within_epoch = False  # a checkpoint was written within the epoch

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, RunCheckpoint.__qualname__, 1)  # of older releases

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.signals.install()
        self.signals.waits = True
        self._within_epoch = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.waits = False
        super().on_train_end(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.signals.waits = False
        super().on_exception(trainer, pl_module, exception)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop._num_ready_batches_reached():  # the end of the epoch saves
            return
        number = self._signal(trainer)
        if number and loop._should_check_val_fx(trainer.fit_loop._data_fetcher):  # type: ignore[arg-type]
            return  # Lightning would leave out that evaluation on resume
        if number or trainer.should_stop or trainer.global_step == trainer.max_steps:
            self._within_epoch = True
            self._save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._within_epoch:  # not where it was saved: Lightning logs the step after that
            raise Stopped(self._signal(trainer) or signal.SIGTERM, trainer.global_step)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.signals.received is None or trainer.world_size > 1 or not self.signals.waits:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAveraging):
                callback.on_validation_epoch_end(trainer, pl_module)  # the trained weights are back in the model
        progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        for count in (progress.total, progress.current):  # as in the first batch of the evaluation
            count.reset()
            count.ready = count.started = 1  # type: ignore[attr-defined]
        self._save(trainer)
        raise Stopped(self.signals.received, trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._within_epoch:
            super().on_train_epoch_end(trainer, pl_module)
        if number := self._signal(trainer):
            raise Stopped(number, trainer.global_step)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(Path(str(self.dirpath)) / f"{self.filename}{self.FILE_EXTENSION}")

    def _signal(self, trainer: pl.Trainer) -> int | None:
        """The signal that any process of the run has received."""
        number = torch.tensor(self.signals.received or 0, device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number) or None


def checkpoint_callbacks(folder: Path, monitor: str, signals: StopSignals) -> list[ModelCheckpoint]:
    """`best.ckpt`, written after an evaluation whose monitored metric is the best so far, and `last.ckpt`, from which a
    run is resumed."""
    shared: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    return [
        RunCheckpoint(filename="best", monitor=monitor, mode="max", save_on_train_epoch_end=False, **shared),
        LastCheckpoint(signals, filename="last", monitor=None, save_top_k=1, save_on_train_epoch_end=True, **shared),
    ]
