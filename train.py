"""Train one backbone on one task, evaluate it, and leave a record of the run.

    python train.py task=seg backbone=mobilenetv3_large
    python train.py --help

The configuration is composed and checked before torch is imported: a mistyped key is answered at once.
"""

import sys
import time
from typing import Any

from configs.compose import defaults_of, help_text, plain
from configs.sweep import read_sweep
from lightseg.errors import LightsegError, one_line


def main(words: list[str]) -> int:
    """Exit code: 0 done, 1 runs of a sweep failed, 2 the user can mend it (one line on stderr), 130 interrupted."""
    if {"--help", "-h"} & set(words):
        print(help_text())
        return 0
    try:
        sweep = read_sweep([word for word in words if word != "--cfg"])
        if "--cfg" in words:
            print("---\n".join(sweep.configurations()), end="")
            return 0
        if not sweep.is_one_run:
            from tasks.sweep import run_sweep

            return run_sweep(sweep)
        run(plain(sweep.first), plain(defaults_of(sweep.first)))
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is saved (resume=<run folder> or the same sweep goes on)", file=sys.stderr)
        return 130
    return 0


def run(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Data, task, fit, evaluate, record. Returns the record (empty in other processes than the first)."""
    started = time.time()
    from lightseg import runtime

    runtime.tune_process()

    from configs.dmasking import is_search
    from tasks import folders, processes
    from tasks import run as this
    from tasks.data import DataModule
    from tasks.loggers import close
    from tasks.progressive import Progressive

    processes.check(config["trainer"])
    this.quiet()
    this.seed_everything(config["seed"])
    progressive = Progressive(config["schedule"], config["trainer"]["max_epochs"])
    data = DataModule(this.data_options(config, progressive), config["seed"], progressive)
    data.prepare_data()
    task = this.build_task(config, data)
    search = None
    if is_search(config) and config["mode"] == "train":
        from tasks.dmasking import DMasking

        search = DMasking(task, data, config)
    folder = processes.agree(lambda: folders.run_folder(config))
    claimed = folders.claim(folder)  # until this function ends, however it does
    folders.save_config(config, folder)
    trainer = this.build_trainer(config, folder, task, data, search)

    if trainer.is_global_zero:
        print(f"{task.describe()}\n{data.describe()}\nrun folder: {folder}", flush=True)
    if config["mode"] == "train":
        trainer.fit(task, datamodule=data, ckpt_path=folder / "checkpoints" / "last.ckpt" if config["resume"] else None)
    if search is not None:
        search.finish(folder)  # task.model is then the net that was found
    metrics = this.evaluate(trainer, task, data, config, folder)
    if not trainer.is_global_zero:
        return {}  # one record a run
    record = this.write_record(folder, config, defaults, metrics, task, data, started)
    close(trainer.loggers, record)
    folders.release(claimed)
    print(this.summary(record, folder, data.unit), flush=True)
    return record


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
