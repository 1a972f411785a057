"""Checks of `search=netadapt`, before torch is imported."""

from pathlib import Path
from typing import Any

from lightseg.catalog.cost_table import check_table
from lightseg.catalog.tasks import TASKS
from lightseg.errors import LightsegError


def check_netadapt(search: dict[str, Any], config: dict[str, Any]) -> None:
    """search: the group as composed; config: the run's. Raises LightsegError, one line."""
    tasks = [info.name for info in TASKS.values() if "netadapt" in info.searches]
    if config["task"] not in tasks:
        raise LightsegError(f"search=netadapt is for task={' and task='.join(tasks)}, not task={config['task']}")
    if not isinstance(config["pretrained"], str):
        raise LightsegError(
            "search=netadapt starts from a trained net: give pretrained=<run folder>/checkpoints/best.ckpt"
        )
    if config["mode"] != "train" or config["resume"] is not None:
        raise LightsegError("search=netadapt continues with the same command: leave out mode and resume")
    if search["table"] is not None:
        check_table(Path(str(search["table"])), search["cost"])
