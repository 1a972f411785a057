"""Checks of `search=dmasking`, before torch is imported."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.catalog.cost_table import METRIC, check_table
from lightseg.catalog.spaces import read_space, shipped
from lightseg.catalog.tasks import get_task
from lightseg.errors import LightsegError

COSTS = ("madds", "params", METRIC)


def is_search(config: Any) -> bool:
    """Whether a configuration is of a run with `search=dmasking`."""
    return bool(config.get("search")) and config["search"]["name"] == "dmasking"


def settle(config: DictConfig, overridden: dict[str, Any]) -> None:
    """Set the keys for which a search needs other values than a training.

    overridden: the user's values by dotted key.
    """
    fixed: dict[str, tuple[Any, str]] = {
        "ema.decay": (0.0, "an average over a search is not a net"),
        "evaluation.checkpoint": ("last", "a search ends with one net"),
    }
    if head := get_task(config.task).search_head:
        fixed["head.name"] = (head, "a super-network has no classifier of its own")
    for key, (value, reason) in fixed.items():
        if key in overridden and overridden[key] != value:
            raise LightsegError(f"search=dmasking needs {key}={value} ({reason}), not {overridden[key]}")
        OmegaConf.update(config, key, value)


def check_dmasking(config: DictConfig) -> None:
    """Raise LightsegError, one line, for a search that cannot start."""
    search, name = config.search, str(config.backbone)
    if name not in shipped() and not Path(name).is_file():
        raise LightsegError(
            f"search=dmasking needs a search space: backbone={name} is none; choose from {', '.join(shipped())}, "
            "or give a YAML file with a space"
        )
    read_space(name)
    if search.cost not in COSTS:
        raise LightsegError(f"search.cost={search.cost}: choose from {', '.join(COSTS)}")
    if not _number(search.target) or search.target <= 0:
        raise LightsegError(
            f"search=dmasking needs search.target=<number>, the maximum {search.cost} of the backbone, "
            f"not {search.target}"
        )
    for key, minimum in (("weight", 0), ("lr", 0), ("weight_decay", 0), ("warmup", 0)):
        if search[key] < minimum or (key == "warmup" and search[key] >= 1):
            raise LightsegError(
                f"search.{key}={search[key]}: must be {minimum} or more" + " and under 1" * (key == "warmup")
            )
    ends = list(search.temperature)
    if len(ends) != 2 or not all(_number(end) and end > 0 for end in ends):
        raise LightsegError(f"search.temperature={ends}: give two numbers above 0, as in [5.0, 0.2]")
    if config.mode == "train":
        _check_trainer(config)
    if search.table is not None:
        check_table(Path(str(search.table)), search.cost)


def _check_trainer(config: DictConfig) -> None:
    if str(config.trainer.devices) not in ("1", "auto") or config.trainer.get("num_nodes", 1) != 1:
        raise LightsegError("search=dmasking runs in one process: leave trainer.devices at 1")
    if config.trainer.max_epochs is None or config.trainer.max_epochs < 1:
        raise LightsegError("search=dmasking anneals over the epochs: give trainer.max_epochs")
    for key in ("pretrained", "freeze_bn", "drop_path_rate", "input_format", "compile"):
        if config[key]:
            raise LightsegError(f"search=dmasking takes no {key}={config[key]}: leave it out")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
