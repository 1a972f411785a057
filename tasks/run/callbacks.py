"""Callbacks: the moving average of the weights, the progress bar, and images of samples."""

import sys
import time
from itertools import compress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from lightseg.draw import contact_sheet, save_image

Slots = list[tuple[dict[str, Any], str]]  # a module's dict of tensors, and the name of a tensor in it


class EMA(WeightAveraging):
    """Exponential moving average of weights and buffers, like timm's ModelEmaV3.

    With `warmup` the decay at update t is min(decay, (1 + t) / (10 + t)). Lightning's EMAWeightAveraging has no warm-up
    and loops over the weights. torch's AveragedModel collects the tensors again at each step, which takes as long as
    averaging them.
    """

    def __init__(self, decay: float, warmup: bool = True) -> None:
        super().__init__()
        self.decay, self.warmup = decay, warmup

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            average: Any = self._average_model
            averaged, current = _slots(average.module), _slots(pl_module)
            average.update_parameters = lambda module: self._update(average.n_averaged, averaged, current)

    @torch.no_grad()
    def _update(self, count: Tensor, averaged: Slots, current: Slots) -> None:
        t = int(count)
        rate = (min(self.decay, (1 + t) / (10 + t)) if self.warmup else self.decay) if t else 0.0
        averages = [tensors[name] for tensors, name in averaged]
        values = [tensors[name].to(avg.device) for (tensors, name), avg in zip(current, averages, strict=True)]
        floating = [average.is_floating_point() for average in averages]  # the others are counters of batch norm
        torch._foreach_lerp_(list(compress(averages, floating)), list(compress(values, floating)), 1 - rate)
        for average, value in zip(averages, values, strict=True):
            if not average.is_floating_point():
                average.copy_(value)
        count += 1


def _slots(module: torch.nn.Module) -> Slots:
    """The dict and name of each weight and buffer of a module, shared tensors once."""
    stores = [store for part in module.modules() for store in (part._parameters, part._buffers)]
    slots = {id(tensor): (store, name) for store in stores for name, tensor in store.items() if tensor is not None}
    return list(slots.values())


class RunProgress(ProgressBar):
    """A progress bar for the run: loss, the monitored metric, images per second, time left.

    Without a terminal it prints a line per epoch.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self._enabled = True
        self._bar: Progress | None = None
        self._images = 0
        self._images_seconds = 0.0

    def disable(self) -> None:
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._total = self._total_batches(trainer)
        self._images, self._images_seconds = 0, 0.0
        self._start = self._last = time.perf_counter()
        if self._enabled and sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(),
            )
            self._bar.start()
            done = trainer.current_epoch * int(trainer.num_training_batches)
            done += (
                trainer.fit_loop.epoch_loop.batch_progress.current.completed
                if trainer.fit_loop.restarted_mid_epoch
                else 0
            )
            self._task = self._bar.add_task("train", total=self._total, completed=done, epoch="", figures="")

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._images, self._images_seconds = 0, 0.0
        self._last = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        now = time.perf_counter()
        self._images += len(batch["names"]) * trainer.world_size
        self._images_seconds += now - self._last
        self._last = now
        if self._bar is not None:
            self._bar.update(
                self._task, advance=1, epoch=f"{trainer.current_epoch + 1}", figures=self._figures(trainer)
            )

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._enabled and self._bar is None and not trainer.sanity_checking and trainer.is_global_zero:
            if trainer.state.fn != "fit":
                return
            epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
            elapsed = time.perf_counter() - self._start
            done = epoch * int(trainer.num_training_batches)
            left = elapsed / max(done, 1) * max(self._total - done, 0)
            of = f"/{epochs}" if epochs > 0 else ""
            print(f"epoch {epoch}{of}  {self._figures(trainer)}  {elapsed:.0f} s, ETA {left:.0f} s", flush=True)
        self._last = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _figures(self, trainer: pl.Trainer) -> str:
        metrics = trainer.callback_metrics
        speed = self._images / self._images_seconds if self._images_seconds else 0.0
        parts = [f"loss {float(metrics['train/loss']):.3f}"] if "train/loss" in metrics else []
        if self.monitor in metrics:
            parts.append(f"{self.monitor.removeprefix('val/')} {float(metrics[self.monitor]):.3f}")
        return "  ".join([*parts, f"{speed:.1f} images/s"])

    @staticmethod
    def _total_batches(trainer: pl.Trainer) -> int:
        steps = int(trainer.num_training_batches)
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            return steps * trainer.max_epochs
        return trainer.max_steps * trainer.accumulate_grad_batches


class SampleImages(Callback):
    """Draws predictions on the first `count` images of the final evaluation.

    They go into a contact sheet in the run folder, and to the loggers that show images.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def on_test_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        self._samples: list[tuple[dict[str, Any], Any]] = []

    def on_test_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        for index, name in enumerate(batch["names"]):
            if len(self._samples) == self.count:
                return
            sample = {k: v[index] for k, v in batch.items() if k != "names"} | {"name": name}
            self._samples.append((sample, outputs[index]))

    def on_test_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        charts = module.charts()
        if not self._samples or not trainer.is_global_zero:
            return
        for name, chart in charts.items():
            save_image(chart, self.folder / f"{name}.png")
        rows = [module.draw(sample, prediction) for sample, prediction in self._samples]
        legend = list(zip(module.class_names, module.palette, strict=False)) if module.colors_mean_classes else []
        sheet = contact_sheet(rows, module.headings, legend)
        save_image(sheet, self.folder / f"{trainer.datamodule.evaluation_split}.png")  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            if hasattr(logger, "log_samples"):
                logger.log_samples(module, self._samples, sheet)
