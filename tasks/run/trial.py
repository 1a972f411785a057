"""A short training before the run that leaves no trace in model, data and random numbers."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ..base import Task
from ..data import DataModule
from .signals import Stopped

OPTIONS = (  # of the `trainer` group, which hold for a trial too
    *("accelerator", "devices", "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("deterministic", "benchmark"),
)


def run_trial(
    config: dict[str, Any], task: Task, data: DataModule, steps: int, callbacks: list[Callback], lr: float | None = None
) -> None:
    """Train for `steps` optimizer steps at a constant rate, on the run's data in the run's order, then restore all.

    lr: instead of `optimizer.lr`.
    """
    with _restored(task, data):
        task.schedule_options = {**task.schedule_options, "name": "constant", "warmup_steps": 0}
        if lr is not None:
            task.optimizer_options = {**task.optimizer_options, "lr": lr}
        trainer = pl.Trainer(
            **{key: config["trainer"][key] for key in OPTIONS if key in config["trainer"]},
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=callbacks,
        )
        try:
            trainer.fit(task, datamodule=data)
        except SIGTERMException:  # of Lightning's own handler, which it sets for a training
            raise Stopped(signal.SIGTERM) from None


@contextmanager
def _restored(task: Task, data: DataModule) -> Iterator[None]:
    """Parameters, buffers, modes, options, and the state of every random number generator are as before at the end."""
    tensors = [(tensor, tensor.detach().clone()) for tensor in chain(task.parameters(), task.buffers())]
    modes = [(module, module.training) for module in task.modules()]
    options = task.optimizer_options, task.schedule_options, dict(task.scheduled)
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        task.cpu()  # a trainer that is interrupted leaves it on the device
        with torch.no_grad():
            for tensor, value in tensors:
                tensor.copy_(value)
                tensor.grad = None
        for module, training in modes:
            module.training = training
        task.optimizer_options, task.schedule_options, task.scheduled = options
        task.trainer = data.trainer = None
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)
