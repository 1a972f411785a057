"""A loss that is NaN or infinite ends the training before it reaches a weight, in all processes at once."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightseg.errors import LightsegError

REPEATS = 10  # steps in a row that a gradient scaler may leave out


class NonFiniteLoss(LightsegError):
    """The loss became NaN or infinite."""


class FiniteLoss:
    """Looks at the loss of each step.

    Under 16-mixed an overflow is usual: the gradient scaler leaves such a step out and lowers its scale. Then the
    buffers of the model (the statistics of batch norm) get their values of before the step, and only the
    REPEATS-th such step in a row raises.
    """

    def __init__(self) -> None:
        self._left_out = 0  # steps in a row
        self._restores = False
        self._buffers: list[Tensor] = []
        self._kept: list[Tensor] = []

    def before_forward(self, trainer: pl.Trainer, model: nn.Module) -> None:
        if not _scales(trainer):
            return
        self._buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if not self._kept:
            self._kept = [torch.empty_like(buffer) for buffer in self._buffers]
        torch._foreach_copy_(self._kept, self._buffers)

    def check(self, loss: Tensor, trainer: pl.Trainer, names: list[str]) -> None:
        """Raise NonFiniteLoss, in all processes, with the line of the first that has such a loss."""
        missed = (~loss.detach().isfinite()).float()
        if trainer.world_size > 1:
            missed = trainer.strategy.reduce(missed, reduce_op="sum")  # type: ignore[assignment]
        if not float(missed):
            self._left_out = 0
            return
        self._left_out += 1
        self._restores = _scales(trainer)
        if self._restores and self._left_out < REPEATS:
            return
        value, names = next(
            each for each in _of_all(trainer, float(loss.detach()), names) if not math.isfinite(each[0])
        )
        raise NonFiniteLoss(
            f"the loss is {value} at step {trainer.global_step} (epoch {trainer.current_epoch}) on {', '.join(names)}: "
            "lower optimizer.lr, set trainer.gradient_clip_val, or look at these images; last.ckpt is untouched"
        )

    def after_backward(self) -> None:
        if self._restores:
            torch._foreach_copy_(self._buffers, self._kept)
            self._restores = False


def _scales(trainer: pl.Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _of_all(trainer: pl.Trainer, value: float, names: list[str]) -> list[tuple[float, list[str]]]:
    """The loss of each process, and the images that it is of."""
    if trainer.world_size == 1:
        return [(value, names)]
    losses: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(losses, (value, names))
    return losses
