"""`evaluation.predictions=true`: every prediction as a file for the official evaluator."""

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class WritePredictions(Callback):
    """Writes the predictions of the final evaluation in the format of the data set's official evaluator.

    Either a file per image, or a file of COCO results for all images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if module.one_results_file:
            return
        dataset = trainer.datamodule.dataset(trainer.datamodule.evaluation_split)  # type: ignore[attr-defined]
        for name, prediction in zip(batch["names"], outputs, strict=True):
            dataset.write_prediction(prediction.cpu().numpy(), name, self.folder)

    def on_test_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        if not module.one_results_file:
            return
        results = module.metric.results()  # gathers from all processes, so all must call it
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "results.json").write_text(json.dumps(results))
