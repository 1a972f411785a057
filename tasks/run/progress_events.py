"""The events of a training for `log=jsonl`."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightseg import __version__, events


class ProgressEvents(Callback):
    """An `evaluation` event for each validation, and an `epoch` event at the end of each epoch."""

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            metrics = {key: value for key, value in _metrics(trainer).items() if key.startswith("val/")}
            events.emit("evaluation", final=False, **self._progress(trainer), metrics=metrics)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        metrics = {key: value for key, value in _metrics(trainer).items() if not key.startswith("val/")}
        events.emit("epoch", **self._progress(trainer), metrics=metrics)

    def _progress(self, trainer: pl.Trainer) -> dict[str, Any]:
        return {
            "epoch": trainer.current_epoch + 1,
            "epochs": trainer.max_epochs,
            "step": trainer.global_step,
            "seconds": round(time.perf_counter() - self._start, 3),
        }


def _metrics(trainer: pl.Trainer) -> dict[str, float]:
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def start_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of the `start` event."""
    return {
        "schema": events.SCHEMA,
        "version": __version__,
        "folder": str(folder),
        "mode": config["mode"],
        "task": config["task"],
        "data": config["data"]["name"],
        "backbone": config["backbone"],
        "seed": config["seed"],
        "epochs": config["trainer"]["max_epochs"],
        "resumed": config["resume"] is not None,
    }
