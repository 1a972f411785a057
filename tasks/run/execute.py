"""A run, from its composed configuration to its record."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightseg.config.dmasking import is_search

from . import distributed, run_folder
from .build import set_up
from .evaluate import evaluate
from .loggers import close
from .record import summary, write_record
from .trainer import build_trainer, check_epochs, quiet, seed_everything


def run(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Data, task, fit, evaluate, record. Returns the record (empty in all processes but the first).

    Raises:
        SystemExit: 143 after SIGTERM, once the step is done, so that a scheduler does not take the run for finished.
    """
    try:
        return _run(config, defaults)
    except SIGTERMException:
        folder = distributed.current_run_folder()
        print(f"terminated; finished epochs are saved (continue with resume={folder})", file=sys.stderr, flush=True)
        raise SystemExit(128 + signal.SIGTERM) from None


def _run(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    started = time.time()
    distributed.check(config["trainer"])
    if config["resume"] is not None and distributed.rank() == 0:
        run_folder.refuse_running(Path(config["resume"]))
        check_epochs(config)
    quiet()
    seed_everything(config["seed"])
    config, data, task = set_up(config)
    search = None
    if is_search(config) and config["mode"] == "train":
        from ..search.dmasking import DMasking

        search = DMasking(task, data, config)
    folder = distributed.agree(lambda: run_folder.run_folder(config))
    claimed = run_folder.claim(folder)  # until this function ends, also by an error
    run_folder.save_config(config, folder)
    trainer = build_trainer(config, folder, task, data, search)

    if trainer.is_global_zero:
        print(f"{task.describe()}\n{data.describe()}\nrun folder: {folder}", flush=True)
    if config["mode"] == "train":
        trainer.fit(task, datamodule=data, ckpt_path=folder / "checkpoints" / "last.ckpt" if config["resume"] else None)
    if search is not None:
        search.finish(folder)  # task.model is then the net that the search chose
    evaluation = evaluate(trainer, task, data, config, folder)
    if not trainer.is_global_zero:
        return {}  # a single record per run
    record = write_record(folder, config, defaults, evaluation, task, data, started)
    close(trainer.loggers, record)
    run_folder.release(claimed)
    print(summary(record, folder, data.unit), flush=True)
    return record
