"""`data=`: the file that a name means for a task, and `data=auto`; the checks of `data.split`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightseg.catalog.tasks import TASKS
from lightseg.config.paths import SHIPPED, find_file, is_path, remark
from lightseg.config.recognize import recognize
from lightseg.errors import LightsegError

AUTO = "auto"


def choose_data(name: Any, task: str, values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The name of the data file of `data=name` for a task, and the values that were recognized, by dotted key.

    A shipped format that several tasks read has a file for each: `yolo` is `yolo_seg` for task=seg. `auto` is the
    format that `data.root`, one of `values`, is in.
    """
    if name == AUTO:
        if values.get("data.root") is None:
            raise LightsegError("data=auto needs data.root=<folder of the data set>, whose format it recognizes")
        file, recognized, line = recognize(Path(str(values["data.root"])).expanduser(), task)
        remark(line)
        return file, {f"data.{key}": value for key, value in recognized.items()}
    if isinstance(name, str) and not is_path(name) and task in TASKS:
        sibling = SHIPPED / "data" / f"{name}_{task}.yaml"
        path = SHIPPED / "data" / f"{name}.yaml"
        if sibling.is_file() and path.is_file() and find_file("data", name) == path:
            return sibling.stem, {}
    return name, {}


def check_split(data: Any) -> None:
    """Raise LightsegError for a `data.split.group` that cannot be used."""
    split = data.get("split") or {}
    pattern = split.get("group") if hasattr(split, "get") else None
    if pattern is None:
        return
    if not isinstance(split.get("val"), float | int):
        raise LightsegError(
            f"data.split.group={pattern}: the data has an evaluation split; give data.split.val=0.2 too, or null here"
        )
    try:
        brackets = re.compile(pattern).groups
    except re.error as error:
        raise LightsegError(
            f"data.split.group={pattern} is no regular expression ({error}): give another pattern, or null"
        ) from error
    if not brackets:
        raise LightsegError(
            f"data.split.group={pattern} has no brackets: put some around what images share, as in (.*)_[0-9]+"
        )
