"""The task that a choice of `data=` is for."""

from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import formats
from lightseg.config.data_choice import AUTO
from lightseg.config.files import group_of
from lightseg.config.overrides import split_overrides
from lightseg.config.recognize import usual_task


def with_task(overrides: list[str] | dict[str, Any]) -> dict[str, Any]:
    """The overrides as values, with the task of `data` where they name a data set and no task.

    Raises LightsegError for data that does not exist.
    """
    values = split_overrides(overrides) if isinstance(overrides, list) else dict(overrides)
    data = values.get("data")
    if {"task", "experiment"} & values.keys() or not isinstance(data, str):
        return values
    if data == AUTO:
        if (task := usual_task(Path(str(values.get("data.root", ""))).expanduser())) is not None:
            values["task"] = task  # otherwise `data=auto` says why
    elif (info := formats().get(str(group_of("data", data).get("format")))) is not None:
        values["task"] = info.name
    return values
