"""Proxy trainings: short trainings of many nets, for searches that compare nets.

Nets are evaluated on held-out training images, on which none of them is trained.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from lightseg.data.io.integrity import verify
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.search.netadapt.channel_selection import arch_of, build_model

from ..base import Task
from ..data import DataModule
from ..run.build import task_with_model
from ..run.trainer import seed_everything

# Options of the run's trainer that proxy trainings use.
TRAINER = ("accelerator", "precision", "gradient_clip_val", "accumulate_grad_batches")


class ProxyTraining:
    """Trains nets briefly and evaluates them.

    Args:
        config: of the run. Its schedule is applied to `steps`, with a warm-up of at most a tenth of them.
        data: of the run.
        steps: optimizer steps of each training.
        lr: peak learning rate of each training.
        holdout: fraction of the training images that nets are evaluated on instead of trained on.

    Raises:
        LightsegError: too few images to hold out, or fewer than a batch to train on.
    """

    def __init__(self, config: dict[str, Any], data: DataModule, steps: int, lr: float, holdout: float) -> None:
        self.config, self.data = config, data
        accumulated = config["trainer"].get("accumulate_grad_batches") or 1
        self.batches = steps * accumulated
        schedule = dict(config["schedule"])
        if schedule["warmup_steps"] is not None:
            schedule["warmup_steps"] = min(schedule["warmup_steps"], steps // 10)
        self.schedule, self.optimizer = schedule, {**config["optimizer"], "lr": lr}
        self.train_dataset = data.dataset("train")
        self.held_out_dataset = data.open("train", data.spec.eval_transform(data.options))
        verify(self.held_out_dataset, data.options["on_error"])
        order = np.random.default_rng([config["seed"], 1]).permutation(len(self.train_dataset))
        count = round(holdout * len(order))
        self.held_out, self.train_indices = sorted(order[:count].tolist()), sorted(order[count:].tolist())
        size = data.options["batch_size"]
        if not self.held_out or len(self.train_indices) < size:
            raise LightsegError(
                f"search.holdout={holdout:g} of {len(order)} training images leaves {len(self.held_out)} to compare "
                f"nets on and {len(self.train_indices)} to train on, in batches of {size}: give another fraction, "
                f"or more images"
            )

    def task(self, model: Model) -> Task:
        """The run's task with a copy of the model."""
        task = task_with_model(
            model.spec, {**self.config, "optimizer": self.optimizer, "schedule": self.schedule}, self.data
        )
        task.model.load_state_dict(model.state_dict())
        return task

    def train(self, model: Model, *seed: int) -> tuple[Model, float]:
        """The model after a proxy training, and its metric on the held-out images.

        seed: integers that, with the run's seed, determine the order of the images.
        """
        seed_everything(self.config["seed"])
        task = self.task(model)
        trainer = self.trainer()
        batches = Batches(
            self.train_indices, self.data.options["batch_size"], self.batches, [self.config["seed"], *seed]
        )
        trainer.fit(task, train_dataloaders=self._loader(self.train_dataset, batch_sampler=batches))
        metric = self._metric(task, self._held_out_loader())
        trained = build_model(model.spec, arch_of(model))
        trained.load_state_dict(task.model.state_dict())
        return trained, metric

    def evaluate_held_out(self, model: Model) -> float:
        """The monitored metric on the held-out images."""
        return self._metric(self.task(model), self._held_out_loader())

    def evaluate(self, model: Model) -> float:
        """The monitored metric on the evaluation split."""
        return self._metric(self.task(model), self.data.val_dataloader())

    def _metric(self, task: Task, loader: DataLoader) -> float:
        trainer = self.trainer()
        trainer.validate(task, dataloaders=loader, verbose=False)
        return float(trainer.callback_metrics[task.monitor])

    def trainer(self, callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
        """A trainer on a single device, without logger, checkpoints and progress bar."""
        options = {key: self.config["trainer"][key] for key in TRAINER if key in self.config["trainer"]}
        return pl.Trainer(
            **options,
            callbacks=callbacks,
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )

    def _held_out_loader(self) -> DataLoader:
        keys = [(index, 0) for index in self.held_out]
        return self._loader(self.held_out_dataset, sampler=keys, batch_size=self.data.options["eval_batch_size"])

    def _loader(self, dataset: Any, **options: Any) -> DataLoader:
        return self.data._loader(dataset, **options)


class Batches(Sampler[list[tuple[int, int, int]]]):
    """`count` batches of `size` keys `(index, sample seed, phase 0)`, in random orders of `indices` from `seed`."""

    def __init__(self, indices: list[int], size: int, count: int, seed: list[int]) -> None:
        self.indices, self.size, self.count, self.seed = indices, size, count, seed

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        rng = np.random.default_rng(self.seed)
        pending: list[tuple[int, int, int]] = []
        for _ in range(self.count):
            while len(pending) < self.size:
                order = rng.permutation(self.indices).tolist()
                seeds = rng.integers(0, 2**63, len(order)).tolist()
                pending += [(index, seed, 0) for index, seed in zip(order, seeds, strict=True)]
            yield pending[: self.size]
            pending = pending[self.size :]
