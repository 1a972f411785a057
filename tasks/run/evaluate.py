"""The final evaluation of a run."""

from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from lightseg.config.dmasking import is_search
from lightseg.profile.accelerator import accelerator

from ..base import Task
from ..data import DataModule
from .checkpoints import AtomicCheckpointIO


class Evaluation(NamedTuple):
    """What was measured, and on what.

    Attributes:
        metrics: `{"val/mIoU": ...}`.
        samples: the number of samples that were evaluated: fewer than the split has under `trainer.limit_test_batches`.
        checkpoint: "best" or "last", whose weights were loaded, or the path of `ckpt`.
        precision: of the trainer: Lightning replaces 16-mixed by bf16-mixed on a CPU.
        accelerator: the device of the run, see `lightseg.profile.accelerator`.
    """

    metrics: dict[str, float]
    samples: int
    checkpoint: str | None
    precision: str
    accelerator: dict[str, Any]


def evaluate(trainer: pl.Trainer, task: Task, data: DataModule, config: dict[str, Any], folder: Path) -> Evaluation:
    """The figures of the record, of the chosen checkpoint with the evaluation protocol. After a search, of the net that
    it chose.

    Where there is no best checkpoint, because no epoch was validated, the last weights are evaluated.
    """
    options = config["evaluation"]
    checkpoint = config["ckpt"]
    if config["mode"] == "train":
        checkpoint = options["checkpoint"]
        if not is_search(config):
            chosen = folder / "checkpoints" / f"{checkpoint}.ckpt"
            if chosen.is_file():
                task.load_state_dict(AtomicCheckpointIO().load_checkpoint(chosen)["state_dict"])
            else:
                checkpoint = "last"
    task.flip, task.scales = options["flip"], [float(scale) for scale in options["scales"]]
    task.evaluated = 0
    trainer.test(task, datamodule=data, verbose=False)
    split = f"{data.evaluation_split}/"
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(split)}
    samples = trainer.strategy.reduce(torch.tensor(task.evaluated, device=task.device), reduce_op="sum")
    device = accelerator(trainer.strategy.root_device, trainer.world_size)
    return Evaluation(metrics, int(samples), checkpoint, str(trainer.precision), device)
