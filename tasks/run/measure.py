"""Values that a run measures before it starts: `data.batch_size=auto`, then `optimizer.lr=find`.

The configuration then has the numbers, and `replaced` the words that were composed. A resumed run has the numbers
from its config.yaml.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightseg.draw import save_image

from ..base import Task
from ..data import DataModule
from .batch_size import SMALLEST, check_device, find_batch_size
from .lr_range import find_rate, plot


class Measured(NamedTuple):
    """The configuration with numbers, and the plots by name."""

    config: dict[str, Any]
    plots: dict[str, np.ndarray]

    def save(self, folder: Path) -> None:
        for name, image in self.plots.items():
            save_image(image, folder / "images" / f"{name}.png")


def data_options(config: dict[str, Any]) -> dict[str, Any]:
    """The options of the DataModule. A batch size that is measured later is the smallest until then."""
    options = config["data"]
    if options["batch_size"] != "auto":
        return options
    if config["mode"] == "train":
        check_device(str(config["trainer"]["accelerator"]))
    return {**options, "batch_size": SMALLEST}


def measure(config: dict[str, Any], task: Task, data: DataModule) -> Measured:
    """Measure what `mode=train` asks for. Model and random numbers are as before."""
    plots: dict[str, np.ndarray] = {}
    if config["mode"] == "train" and config["data"]["batch_size"] == "auto":
        size = find_batch_size(config, task, data)
        config = _with(config, "data", "batch_size", size)
    if config["mode"] == "train" and config["optimizer"]["lr"] == "find":
        test = find_rate(config, task, data)
        config = _with(config, "optimizer", "lr", test.chosen)
        task.optimizer_options = {**task.optimizer_options, "lr": test.chosen}
        task.hparams["optimizer"] = task.optimizer_options
        plots["lr_find"] = plot(test)
    return Measured(config, plots)


def _with(config: dict[str, Any], group: str, key: str, value: Any) -> dict[str, Any]:
    word = config[group][key]
    print(f"{group}.{key}={word}: {value:g}", flush=True)
    replaced = {**config.get("replaced", {}), f"{group}.{key}": word}
    return {**config, group: {**config[group], key: value}, "replaced": replaced}
