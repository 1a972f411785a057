"""`optimizer.lr=find`: the learning rate range test (Smith, "Cyclical Learning Rates", arXiv:1506.01186, section 3.3).

The rate grows geometrically from step to step. The value is where the loss falls most steeply over the logarithm of
the rate: the slope of a line through WINDOW steps, before the lowest loss.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from lightseg.errors import LightsegError

from ..base import Task
from ..data import DataModule
from .finite_loss import NonFiniteLoss
from .trial import run_trial

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
WINDOW = 11  # steps of a slope, and of the mean that is compared
DIVERGED = 4.0  # times the lowest mean loss ends the test


class RangeTest(NamedTuple):
    """The rates that were tested, the mean loss at each, and the rate that was chosen."""

    rates: list[float]
    losses: list[float]
    chosen: float


def find_rate(config: dict[str, Any], task: Task, data: DataModule) -> RangeTest:
    """Train with growing rates, restore the model, and choose a rate.

    Raises:
        LightsegError: the training set is one batch, or the loss falls at no rate.
    """
    if (batches := len(data.train_dataloader())) < 2:
        raise LightsegError(
            f"optimizer.lr=find needs at least 2 training batches, there is {batches}: give a number, or a smaller "
            "data.batch_size"
        )
    print(f"optimizer.lr=find: {STEPS} steps at rates from {LOWEST:g} to {HIGHEST:g} ...", flush=True)
    growing = GrowingRate()
    with suppress(NonFiniteLoss):  # the last rates were too high
        run_trial(config, task, data, STEPS, [growing], lr=1.0)
    rates, losses = growing.results()
    return RangeTest(rates, losses, choose(rates, losses))


class GrowingRate(Callback):
    """Sets the rate of every optimizer step. A trial with `lr=1` has groups whose rates are their factors."""

    def __init__(self) -> None:
        self.rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
        self.losses: list[list[float]] = [[] for _ in self.rates]  # of the batches of each step
        self.best = math.inf

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        groups = trainer.optimizers[0].param_groups
        self.factors = [group.get("initial_lr", group["lr"]) for group in groups]

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.step = trainer.global_step
        for group, factor in zip(trainer.optimizers[0].param_groups, self.factors, strict=True):
            group["lr"] = factor * self.rates[self.step]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss: Tensor = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not math.isfinite(float(loss)):  # a step that a gradient scaler leaves out
            trainer.should_stop = True
            return
        accumulated = trainer.accumulate_grad_batches  # Lightning has divided the loss by it
        self.losses[self.step].append(float(loss) * accumulated)
        recent = [loss for losses in self.losses[: self.step + 1][-WINDOW:] for loss in losses]
        mean = sum(recent) / len(recent)
        self.best = min(self.best, mean)
        if self.step >= WINDOW and mean > DIVERGED * self.best:
            trainer.should_stop = True

    def results(self) -> tuple[list[float], list[float]]:
        """The rates with a loss, and the mean loss at each."""
        tested = [
            (rate, sum(losses) / len(losses)) for rate, losses in zip(self.rates, self.losses, strict=True) if losses
        ]
        return [rate for rate, _ in tested], [loss for _, loss in tested]


def choose(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate of the steepest fall, with two digits. rates: a geometric sequence; losses: one a rate."""
    if len(losses) > 2 * WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(losses), WINDOW)
        means, lines = windows.mean(1), windows @ (np.arange(WINDOW) - WINDOW // 2)
        lowest = int(means.argmin())
        if lowest and means[lowest] < means[0]:
            steepest = int(lines[: lowest + 1].argmin())
            return float(f"{rates[steepest + WINDOW // 2]:.2g}")
    highest = rates[-1] if rates else LOWEST
    raise LightsegError(f"optimizer.lr=find: the loss falls at no rate from {LOWEST:g} to {highest:.2g}: give a number")


def plot(test: RangeTest) -> np.ndarray:
    """The loss over the rate on a logarithmic axis, uint8 RGB [H, W, 3], with a line at the chosen rate."""
    left, top, right, bottom = 70, 40, 620, 330
    sheet, font = Image.new("RGB", (640, 380), "white"), ImageFont.load_default(12)
    draw = ImageDraw.Draw(sheet)
    low, high = min(test.losses), sorted(test.losses)[int(0.9 * len(test.losses))]  # without the divergence
    span = max(high - low, 1e-12) * 1.1

    def x(rate: float) -> float:
        return left + (right - left) * math.log(rate / LOWEST) / math.log(HIGHEST / LOWEST)

    def y(loss: float) -> float:
        return bottom - (bottom - top) * min(1.0, (loss - low) / span)

    draw.text((left, 12), f"training loss over the learning rate; optimizer.lr={test.chosen:g}", "black", font)
    draw.rectangle((left, top, right, bottom), outline="grey")
    for exponent in range(round(math.log10(LOWEST)), round(math.log10(HIGHEST)) + 1):
        draw.line((x(10.0**exponent), top, x(10.0**exponent), bottom), fill=(225, 225, 225))
        draw.text((x(10.0**exponent), bottom + 6), f"{10.0**exponent:g}", "black", font, anchor="ma")
    for loss in (low, low + span / 2, low + span):
        draw.text((left - 6, y(loss)), f"{loss:.3g}", "black", font, anchor="rm")
    draw.line(
        [(x(rate), y(loss)) for rate, loss in zip(test.rates, test.losses, strict=True)], fill=(31, 119, 180), width=2
    )
    draw.line((x(test.chosen), top, x(test.chosen), bottom), fill=(214, 39, 40), width=2)
    return np.asarray(sheet)
