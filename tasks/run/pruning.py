"""Training with pruned weights: weights that are pruned at the start stay zero, and the others are fine-tuned.

This is the second step of Deep Compression (arXiv:1510.00149, section 2); `lightseg.compress` has the first and third.
The initial weights decide what is pruned: those of `pretrained=<a run's checkpoint>`.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightseg.compress.pruning import Masks, keep_pruned, prune


class Pruning(Callback):
    """Prunes at the start and masks after every step. See `lightseg.compress.pruning.prune` for the arguments.

    It must come before the moving average in the list of callbacks, which then averages zeros with zeros.
    """

    def __init__(self, sparsity: float, scope: str = "layer") -> None:
        self.sparsity, self.scope = sparsity, scope
        self._masks: Masks = {}

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        if stage == "fit":
            prune(module.model, self.sparsity, self.scope)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        # Again, on the device. In a resumed run the weights are loaded now, and their zeros are the smallest.
        self._masks = prune(module.model, self.sparsity, self.scope)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        keep_pruned(module.model, self._masks)
