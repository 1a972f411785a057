"""Checks of `search=dmasking`, before torch is imported."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lightseg.catalog.cost_table import check_table
from lightseg.catalog.spaces import read_space, shipped
from lightseg.catalog.tasks import get_task
from lightseg.errors import LightsegError


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
    if config.trainer.devices == "auto":  # that may be several
        OmegaConf.update(config, "trainer.devices", 1)
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
    if search.target is None:
        raise LightsegError(f"search=dmasking needs search.target=<number>, the maximum {search.cost} of the backbone")
    if config.mode == "train":
        _check_trainer(config)
    if search.table is not None:
        check_table(Path(str(search.table)), search.cost)


def _check_trainer(config: DictConfig) -> None:
    devices = config.trainer.devices
    if (len(devices) if isinstance(devices, ListConfig) else devices) != 1 or config.trainer.get("num_nodes", 1) != 1:
        raise LightsegError("search=dmasking runs in one process: give trainer.devices=1, or a list of one GPU")
    if config.trainer.max_epochs is None or config.trainer.max_epochs < 1:
        raise LightsegError("search=dmasking anneals over the epochs: give trainer.max_epochs")
    for key in ("pretrained", "freeze_bn", "drop_path_rate", "input_format", "compile"):
        if config[key]:
            raise LightsegError(f"search=dmasking takes no {key}={config[key]}: leave it out")
