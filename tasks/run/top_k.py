"""`checkpoints.top_k`: the checkpoints of the best evaluations, besides best.ckpt and last.ckpt."""

from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from .checkpoints import RunCheckpoint


class TopK(RunCheckpoint):
    """The `count` best checkpoints as `step<optimizer step>-<monitored metric>.ckpt`.

    Of equal values the later is kept, an undefined one (NaN) is below all others, as for best.ckpt.
    """

    def __init__(self, folder: Path, monitor: str, count: int) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename=f"step{{step:06d}}-{{{monitor}:.4f}}",
            auto_insert_metric_name=False,
            monitor=monitor,
            mode="max",
            save_top_k=count,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if current is not None and len(self.best_k_models) < self.save_top_k:
            return True
        return super().check_monitor_top_k(trainer, current)
