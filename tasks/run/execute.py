"""A run, from its composed configuration to its record."""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from lightseg import events
from lightseg.config.dmasking import is_search

from . import distributed, run_folder
from .build import set_up
from .early_stopping import training_of
from .evaluate import evaluate
from .loggers import close
from .measure import measure
from .progress_events import start_of
from .record import summary, write_record
from .signals import Stopped, StopSignals
from .split_lists import save_lists
from .sync_batchnorm import check_sync_batchnorm
from .trainer import build_trainer, check_resumed, quiet, seed_everything
from .trainer_checks import check_batches, check_devices, check_sizes
from .user_callbacks import check_callbacks, raised_by


def run(config: dict[str, Any], defaults: dict[str, Any], callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Data, task, fit, evaluate, record. Returns the record (empty in all processes but the first).

    callbacks: of the user.

    Raises:
        SystemExit: 143 after SIGTERM, 129 after SIGHUP, 138 after SIGUSR1, once the step is done and `last.ckpt` is
            written.
        KeyboardInterrupt: after Ctrl-C, likewise.
    """
    callbacks = check_callbacks(callbacks)
    with StopSignals() as signals:
        try:
            return _run(config, defaults, signals, callbacks)
        except Stopped as stop:
            line = _stopped_line(stop)
            if stop.number == signal.SIGINT:
                raise KeyboardInterrupt(line) from None
            print(line, file=sys.stderr, flush=True)
            raise SystemExit(128 + stop.number) from None
        except Exception as error:
            if (raiser := raised_by(error, callbacks)) is not None:
                again = f"finished epochs are saved (continue with resume={distributed.current_run_folder()})"
                print(f"your callback {type(raiser).__name__} raised this error; {again}", file=sys.stderr, flush=True)
            raise


def _stopped_line(stop: Stopped) -> str:
    folder = distributed.run_folder_or_none()
    if folder is None:
        return f"{stop.reason} before the run began"
    if stop.saved is not None:
        return f"{stop.reason}; saved at step {stop.saved} (continue with resume={folder})"
    if run_folder.last_checkpoint(folder).is_file():
        return f"{stop.reason}; finished epochs are saved (continue with resume={folder})"
    return f"{stop.reason}; no step was saved in {folder}"


def _run(
    config: dict[str, Any], defaults: dict[str, Any], signals: StopSignals, callbacks: list[Callback]
) -> dict[str, Any]:
    started = time.time()
    distributed.check(config["trainer"])
    check_devices(config["trainer"])
    check_sync_batchnorm(config["trainer"])
    if config["resume"] is not None and distributed.rank() == 0:
        run_folder.refuse_running(Path(config["resume"]))
        check_resumed(config)
    quiet()
    seed_everything(config["seed"])
    config, data, task = set_up(config)
    search = None
    if is_search(config) and config["mode"] == "train":
        from ..search.dmasking import DMasking

        search = DMasking(task, data, config)
    check_batches(config, data)
    check_sizes(config, task.model, data.evaluation_size())
    measured = measure(config, task, data)
    config = measured.config
    folder = distributed.agree(lambda: run_folder.run_folder(config))
    claimed = run_folder.claim(folder)  # until this function ends, also by an error
    run_folder.save_config(config, folder)
    save_lists(data, folder, resumed=config["resume"] is not None)
    trainer = build_trainer(config, folder, task, data, signals, search, callbacks)
    measured.save(folder)
    events.emit("start", **start_of(config, folder))

    if trainer.is_global_zero:
        print(f"{task.describe()}\n{data.describe()}\nrun folder: {folder}", flush=True)
    if config["mode"] == "train":
        trainer.fit(task, datamodule=data, ckpt_path=folder / "checkpoints" / "last.ckpt" if config["resume"] else None)
    if signals.received is not None:  # after the last step
        raise Stopped(signals.received)
    training = training_of(trainer) if config["mode"] == "train" else None
    if search is not None:
        search.finish(folder)  # task.model is then the net that the search chose
    evaluation = evaluate(trainer, task, data, config, folder)
    events.emit(
        "evaluation",
        final=True,
        checkpoint=evaluation.checkpoint,
        samples=evaluation.samples,
        metrics=evaluation.metrics,
    )
    if not trainer.is_global_zero:
        return {}  # a single record per run
    record = write_record(folder, config, defaults, evaluation, task, data, started, training)
    close(trainer.loggers, record)
    run_folder.release(claimed)
    print(summary(record, folder, data.unit), flush=True)
    stopped = (training or {}).get("stopped")
    events.emit("end", folder=str(folder), record=str(folder / "record.json"), wall_s=record["wall_s"], stopped=stopped)
    return record
