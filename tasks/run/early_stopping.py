"""Early stopping on the run's monitor: `trainer.patience`."""

import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from .checkpoints import RunCheckpoint


class EarlyStopping(Callback):
    """Stops a run after `patience` evaluations in a row without a better value of `monitor`.

    Lightning's own class stops in the middle of an epoch where there are several evaluations in it, takes the patience
    of the checkpoint instead of the resumed run's, and trains an epoch more when a run that it has stopped is resumed.
    Here an undefined metric (NaN) is an evaluation without improvement, the run stops at the end of an epoch, and a
    resumed run keeps its count and has the patience that it is given.

    Attributes:
        best: the best value so far, -inf before the first.
        waited: evaluations since then.
        reason: why the run was stopped, None where it was not.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        self.monitor, self.patience = monitor, patience
        self.best, self.waited = -math.inf, 0
        self.reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics[self.monitor])
        if value > self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_due(trainer, trainer.current_epoch + 1)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_due(trainer, trainer.current_epoch)  # a run that was stopped only has its evaluation left

    def _stop_if_due(self, trainer: pl.Trainer, epochs: int) -> None:
        least = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
        if trainer.strategy.reduce_boolean_decision(least and self.waited >= self.patience, all=False):
            trainer.should_stop = True
            best = "undefined so far" if math.isinf(self.best) else f"not above {self.best:.4f}"
            evaluations = f"{self.waited} evaluation{'s' if self.waited > 1 else ''}"
            self.reason = f"{self.monitor} was {best} in {evaluations} (trainer.patience={self.patience})"


def training_of(trainer: pl.Trainer) -> dict[str, Any]:
    """What was trained, for the record.

    `epochs` that are finished, optimizer `steps`, `validated_step` (of the last evaluation: the steps after it are in
    `last.ckpt` alone), and why it was `stopped` before its end, or None.
    """
    reasons = [callback.reason for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
    at_end = 0 < (trainer.max_epochs or 0) <= trainer.current_epoch or 0 < trainer.max_steps <= trainer.global_step
    stopped = None if at_end else next(filter(None, reasons), None)
    if stopped and trainer.is_global_zero:
        print(f"stopped early after epoch {trainer.current_epoch}: {stopped}", flush=True)
    cut = trainer.current_epoch > 0 and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    epochs = trainer.current_epoch - cut  # Lightning counts an epoch that trainer.max_steps has cut short
    steps, validated = trainer.global_step, _validated_step(trainer)
    if validated < steps and trainer.is_global_zero:
        print(
            f"after step {validated} of {steps} nothing was validated: best.ckpt is of step {validated} or before, "
            "and last.ckpt (evaluation.checkpoint=last) of the last",
            flush=True,
        )
    return {"epochs": epochs, "steps": steps, "validated_step": validated, "stopped": stopped}


def _validated_step(trainer: pl.Trainer) -> int:
    return next(c.validated_step for c in trainer.callbacks if isinstance(c, RunCheckpoint))  # type: ignore[attr-defined]
