"""`evaluation.predictions=true`: every prediction as a file that the official evaluator reads."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class WritePredictions(Callback):
    """During the final evaluation, one file a picture, in the form that the data set's own evaluator takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        dataset = trainer.datamodule.dataset(trainer.datamodule.evaluation_split)  # type: ignore[attr-defined]
        for name, prediction in zip(batch["names"], outputs, strict=True):
            module.write_prediction(dataset, prediction, name, self.folder)

    def on_test_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        module.write_results(self.folder)
