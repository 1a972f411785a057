"""The final evaluation of a run."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightseg.config.dmasking import is_search

from ..base import Task
from ..data import DataModule
from .checkpoints import AtomicCheckpointIO


def evaluate(
    trainer: pl.Trainer, task: Task, data: DataModule, config: dict[str, Any], folder: Path
) -> dict[str, float]:
    """The figures of the record: `{"val/mIoU": ...}` of the chosen checkpoint with the evaluation protocol. After a
    search, of the net that it chose."""
    options = config["evaluation"]
    if config["mode"] == "train" and not is_search(config):
        chosen = folder / "checkpoints" / f"{options['checkpoint']}.ckpt"
        if chosen.is_file():
            task.load_state_dict(AtomicCheckpointIO().load_checkpoint(chosen)["state_dict"])
    task.flip, task.scales = options["flip"], [float(scale) for scale in options["scales"]]
    trainer.test(task, datamodule=data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("train/")}
