"""Short trainings of many nets on one task's data, for searches that compare nets: the trained net is measured on
training pictures that none of them is trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler

from lightseg.data.io.integrity import verify
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.search.netadapt.channel_selection import arch_of, built

from ..base import Task
from ..data import DataModule
from ..run.build import over_model
from ..run.trainer import seed_everything

TRAINER = ("accelerator", "precision", "gradient_clip_val", "accumulate_grad_batches")  # what short trainings share


class Bench:
    """Trains and measures.

    Args:
        config: of the run; its schedule goes over `steps`, its warm-up over a tenth of them at most.
        data: of the run, its training pictures less the share `holdout` are trained on.
        steps, lr: of each training.
    """

    def __init__(self, config: dict[str, Any], data: DataModule, steps: int, lr: float, holdout: float) -> None:
        self.config, self.data = config, data
        accumulated = config["trainer"].get("accumulate_grad_batches") or 1
        self.batches = steps * accumulated
        schedule = dict(config["schedule"])
        schedule["warmup_steps"] = min(schedule["warmup_steps"], steps // 10)
        self.schedule, self.optimizer = schedule, {**config["optimizer"], "lr": lr}
        self.trained = data.dataset("train")
        self.measured = data.open("train", data.spec.eval_transform(data.options))
        verify(self.measured, data.options["on_error"])
        order = np.random.default_rng([config["seed"], 1]).permutation(len(self.trained))
        count = round(holdout * len(order))
        self.held, self.kept = sorted(order[:count].tolist()), sorted(order[count:].tolist())
        size = data.options["batch_size"]
        if not self.held or len(self.kept) < size:
            raise LightsegError(
                f"search.holdout={holdout:g} of {len(order)} training pictures leaves {len(self.held)} to compare nets "
                f"on and {len(self.kept)} to train on, in batches of {size}: give another share, or more pictures"
            )

    def task(self, model: Model) -> Task:
        """The run's task over the model's weights; it is another model with the same spec."""
        task = over_model(
            model.spec, {**self.config, "optimizer": self.optimizer, "schedule": self.schedule}, self.data
        )
        task.model.load_state_dict(model.state_dict())
        return task

    def trained_shortly(self, model: Model, *place: int) -> tuple[Model, float]:
        """The model after a short training, and its metric on the pictures that were held out.

        place: numbers that, with the run's seed, decide which pictures come in which order.
        """
        seed_everything(self.config["seed"])
        task = self.task(model)
        trainer = self.trainer()
        batches = Batches(self.kept, self.data.options["batch_size"], self.batches, [self.config["seed"], *place])
        trainer.fit(task, train_dataloaders=self._loader(self.trained, batch_sampler=batches))
        metric = self._metric(task, self._held_out())
        made = built(model.spec, arch_of(model))
        made.load_state_dict(task.model.state_dict())
        return made, metric

    def held_out(self, model: Model) -> float:
        """The metric on the pictures that were held out."""
        return self._metric(self.task(model), self._held_out())

    def validation(self, model: Model) -> float:
        """The metric on the split that runs are evaluated on."""
        return self._metric(self.task(model), self.data.val_dataloader())

    def _metric(self, task: Task, loader: DataLoader) -> float:
        trainer = self.trainer()
        trainer.validate(task, dataloaders=loader, verbose=False)
        return float(trainer.callback_metrics[task.monitor])

    def trainer(self, callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
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

    def _held_out(self) -> DataLoader:
        keys = [(index, 0) for index in self.held]
        return self._loader(self.measured, sampler=keys, batch_size=self.data.options["eval_batch_size"])

    def _loader(self, dataset: Any, **options: Any) -> DataLoader:
        return self.data._loader(dataset, **options)


class Batches(Sampler[list[tuple[int, int, int]]]):
    """`count` batches of `size` keys `(index, sample seed, stage 0)`: the pictures `indices` in one random order after
    the other, all from `seed`."""

    def __init__(self, indices: list[int], size: int, count: int, seed: list[int]) -> None:
        self.indices, self.size, self.count, self.seed = indices, size, count, seed

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        random = np.random.default_rng(self.seed)
        waiting: list[tuple[int, int, int]] = []
        for _ in range(self.count):
            while len(waiting) < self.size:
                order = random.permutation(self.indices).tolist()
                seeds = random.integers(0, 2**63, len(order)).tolist()
                waiting += [(index, seed, 0) for index, seed in zip(order, seeds, strict=True)]
            yield waiting[: self.size]
            waiting = waiting[self.size :]
