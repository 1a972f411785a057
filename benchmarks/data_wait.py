"""Fraction of training that is spent waiting for data, with the workers of the configuration.

    python benchmarks/data_wait.py backbone=mobilenetv3_large
    python benchmarks/data_wait.py data=camvid data.root=/data/CamVid

Takes overrides, as train.py. Steps are those of training (Lightning, the configured data, model and optimizer); the
time between the end of a step and the start of the next is that of the data loader. The first steps, which start the
workers, do not count.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lightseg.config.compose import compose, plain


def main(overrides: list[str], warmup: int = 5, steps: int = 60) -> None:
    config = plain(compose([*overrides, "logger=csv"]))
    from lightseg import process_tuning

    process_tuning.tune_process()
    import pytorch_lightning as pl

    from tasks.run.build import set_up
    from tasks.run.signals import StopSignals
    from tasks.run.trainer import build_trainer, quiet, seed_everything

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.waits: list[float] = []
            self.steps: list[float] = []
            self.end: float | None = None

        def on_train_batch_start(self, *args: object) -> None:
            self.start = time.perf_counter()
            if self.end is not None:
                self.waits.append(self.start - self.end)

        def on_train_batch_end(self, *args: object) -> None:
            self.end = time.perf_counter()
            self.steps.append(self.end - self.start)

        def on_train_epoch_end(self, *args: object) -> None:
            self.end = None  # validation and checkpoints are not waiting for data

    quiet()
    seed_everything(config["seed"])
    with TemporaryDirectory() as folder:
        config["trainer"] |= {"max_epochs": 1000, "max_steps": warmup + steps, "limit_val_batches": 0}
        config, data, task = set_up(config)
        trainer: Any = build_trainer(config, Path(folder), task, data, StopSignals())
        clock = Clock()
        trainer.callbacks = [clock]
        trainer.fit(task, datamodule=data)
    waits, durations = clock.waits[warmup:], clock.steps[warmup:]
    total, batch = sum(waits) + sum(durations), config["data"]["batch_size"]
    print(
        f"{config['data']['name']}, {config['backbone']}, batch {batch}, {config['data']['workers']} workers: "
        f"{batch * len(durations) / total:.1f} images/s, median step {1000 * median(durations):.0f} ms, "
        f"median wait {1000 * median(waits):.1f} ms, waiting for data {100 * sum(waits) / total:.1f} % of the time"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
