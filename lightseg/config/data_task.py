"""The task that a choice of `data=` is for."""

from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import TASKS, formats
from lightseg.config.data_choice import AUTO
from lightseg.config.files import group_of
from lightseg.config.overrides import split_overrides
from lightseg.config.recognize import recognize
from lightseg.errors import LightsegError


def with_task(overrides: list[str] | dict[str, Any]) -> dict[str, Any]:
    """The overrides as values, with the task of `data` where they name a data set and no task.

    Raises LightsegError for data that does not exist.
    """
    values = split_overrides(overrides) if isinstance(overrides, list) else dict(overrides)
    data = values.get("data")
    if data == AUTO and "task" not in values and "data.root" in values:
        values |= _task_of(Path(str(values["data.root"])).expanduser())
    elif isinstance(data, str) and not {"task", "experiment"} & values.keys():
        info = formats().get(str(group_of("data", data).get("format")))
        if info is not None:
            values["task"] = info.name
    return values


def _task_of(root: Path) -> dict[str, Any]:
    """The first task that the labels of a folder are for."""
    for task in TASKS:
        try:
            recognize(root, task)
        except LightsegError:
            continue
        return {"task": task}
    return {}  # `data=auto` says why
