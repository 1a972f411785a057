"""Lightning's Trainer for one run, with its callbacks and loggers."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lightseg import process_tuning
from lightseg.errors import LightsegError

from ..base import Task
from ..data import DataModule
from .callbacks import EMA, RunProgress, SampleImages
from .checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from .early_stopping import EarlyStopping
from .loggers import build_loggers
from .predictions import WritePredictions
from .progress_events import ProgressEvents
from .pruning import Pruning
from .signals import StopSignals
from .sync_batchnorm import layer_sync
from .top_k import TopK
from .user_callbacks import ReadableStates

OF_A_TRAINING = {"epoch", "global_step", "hyper_parameters", "loops", "optimizer_states", "state_dict"}


def build_trainer(
    config: dict[str, Any],
    folder: Path,
    task: Task,
    data: DataModule,
    signals: StopSignals,
    search: pl.Callback | None = None,
    own: Sequence[pl.Callback] = (),
) -> pl.Trainer:
    """Lightning's Trainer for a resolved configuration. search: the callback of a search within the run. own: the
    user's callbacks."""
    options = {
        key: value for key, value in config["trainer"].items() if key not in ("name", "patience", "sync_batchnorm")
    }
    prune = config["prune"]
    # first, so that the moving average is over pruned weights
    callbacks: list[pl.Callback] = [Pruning(**prune)] if prune["sparsity"] else []
    if options.get("enable_progress_bar", True):
        callbacks.append(RunProgress(task.monitor))
    callbacks += [
        SampleImages(folder / "images", config["logger"]["images"]),
        *checkpoint_callbacks(folder, task.monitor, signals),
    ]
    if (count := config["checkpoints"]["top_k"]) > 1:
        callbacks.append(TopK(folder, task.monitor, count))
    if (patience := config["trainer"].get("patience")) is not None:
        callbacks.append(EarlyStopping(task.monitor, patience))
    if config.get("log") == "jsonl":
        callbacks.append(ProgressEvents())
    if own:
        callbacks += [*own, ReadableStates(own)]
    if search is not None:
        callbacks.append(search)
    if config["ema"]["decay"]:
        callbacks.append(EMA(config["ema"]["decay"], config["ema"]["warmup"]))
    if config["evaluation"]["predictions"]:
        callbacks.append(WritePredictions(folder / "predictions"))
    if "bf16" in str(options["precision"]) and not torch.cuda.is_available() and process_tuning.emulates_bfloat16():
        print("this CPU has no bfloat16 instructions: trainer.precision=32-true is faster", flush=True)
    resume_step = None
    if config["resume"] is not None:
        resume_step = AtomicCheckpointIO().load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    defaults = {"num_sanity_val_steps": 0, "log_every_n_steps": 10, "enable_model_summary": False}
    try:
        return pl.Trainer(
            **{**defaults, **options},
            default_root_dir=folder,
            # the number of batches changes with the phase
            reload_dataloaders_every_n_epochs=int(data.progressive.grows_batches),
            logger=build_loggers(config["logger"], folder, config, resume_step),
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO(), *layer_sync(config["trainer"])],
            use_distributed_sampler=False,  # EpochSampler distributes the samples
        )
    except (ValueError, TypeError, RuntimeError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise LightsegError(f"trainer: {' '.join(str(error).split())}") from error


def check_resumed(config: dict[str, Any]) -> None:
    """Raise LightsegError if `last.ckpt` of the run that is resumed is no checkpoint of a training, or if the run has
    finished more epochs than `trainer.max_epochs`."""
    last = Path(str(config["resume"])) / "checkpoints" / "last.ckpt"
    if not last.is_file():  # `run_folder` says so
        return
    checkpoint = AtomicCheckpointIO().load_checkpoint(last)
    if lacking := OF_A_TRAINING - set(checkpoint if isinstance(checkpoint, dict) else ()):
        raise LightsegError(
            f"{last} is not of a training that can be resumed, as it lacks {', '.join(sorted(lacking))}: put the run's "
            "own file back, or start a new run with pretrained=<this file>"
        )
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    epochs = config["trainer"].get("max_epochs")
    if epochs is not None and 0 <= epochs < done:
        raise LightsegError(
            f"resume={config['resume']}: trainer.max_epochs={epochs} is less than the {done} epochs that the run has "
            "finished"
        )


def seed_everything(seed: int) -> None:
    pl.seed_everything(seed, workers=True, verbose=False)


def quiet() -> None:
    """Suppress Lightning's hints on GPUs, workers and litmodels."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    hints = (
        "does not have many workers|Checkpoint directory.*exists and is not empty|LeafSpec|but have no `val_dataloader`"
    )
    loading = "loading a checkpoint outside the 'fit' stage|smaller than the logging interval"
    # not every epoch validates; metrics synchronize themselves
    figures = "ended before the epoch ended and your dataloader|could not find the monitored key|sync_dist=True"
    warnings.filterwarnings("ignore", f".*({hints}|{loading}|{figures}).*")
