"""Training with pruned weights: what is pruned at the start stays zero, and the others make up for it.

Deep Compression's second step (arXiv:1510.00149, section 2), between `lightseg.compress`'s first and third. The weights
that the run begins with decide what is pruned: those of `pretrained=<a run's checkpoint>`.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightseg.compress.pruning import Masks, keep_pruned, prune


class Pruning(Callback):
    """Prunes once and masks after every step. Stands before the moving average among the callbacks, so that it
    averages zeros with zeros. See `lightseg.compress.pruning.prune` for the arguments."""

    def __init__(self, sparsity: float, scope: str = "layer") -> None:
        self.sparsity, self.scope = sparsity, scope
        self._masks: Masks = {}

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        if stage == "fit":
            prune(module.model, self.sparsity, self.scope)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        # Again, on the device, and after a resumed run has its weights back, whose zeros are the smallest.
        self._masks = prune(module.model, self.sparsity, self.scope)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        keep_pruned(module.model, self._masks)
