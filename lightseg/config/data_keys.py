"""What a data file must hold: one shipped file of each format shows every key, and all others are held against it."""

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.catalog.tasks import formats
from lightseg.config import paths
from lightseg.config.checks import wrong_kind
from lightseg.errors import LightsegError, nearest

SHIPPED = paths.SHIPPED / "data"
NEEDED = ("augment.size", "augment.crop_size", "augment.multi_scale", "eval.size", "eval.keep_aspect")
OPTIONAL = ("coarse", "colors", "image_end", "mask_end")  # besides the rest of these tables, which transforms fill in:
FILLED = ("augment", "eval", "skeleton")
NULL = ("root", "oks_nms")  # may be null where the shipped file has a value; so may the one side of cls's pictures


def check_data(data: DictConfig, task: str, where: str) -> None:
    """LightsegError, one line, for a `data` group that cannot be read or is for another task.

    where: the file that it came from.
    """
    given: dict[str, Any] = OmegaConf.to_container(data)  # type: ignore[assignment]
    form = given.get("format")
    tasks = formats()
    if form is None:
        raise LightsegError(f"{where} lacks format: choose from {', '.join(tasks)}")
    if form not in tasks:
        raise LightsegError(f"{where}: no format named '{form}': {nearest(str(form), tasks)}")
    info = tasks[form]
    if info.name != task:
        raise LightsegError(f"data={given['name']} is for task={info.name} (format: {form}), not task={task}")
    example = example_of(form)
    shown = f"{paths.shown(_example_file(form))} shows every key of format: {form}"
    lacking = _lacking(example, given, where, "")
    if lacking:
        raise LightsegError(f"{where} lacks {', '.join(lacking)}: {shown}")
    for table in ("augment", "eval"):
        for key in given.get(table) or {}:
            if table in example and key not in example[table]:
                raise LightsegError(f"{where}: no key '{table}.{key}': {nearest(str(key), example[table])} ({shown})")


@cache
def example_of(form: str) -> dict[str, Any]:
    """The content of the data file that shows every key of a format."""
    return OmegaConf.to_container(OmegaConf.load(_example_file(form)))  # type: ignore[return-value]


def _example_file(form: str) -> Path:
    example = formats()[form].formats[form].example
    return Path(example) if paths.is_path(example) else SHIPPED / f"{example}.yaml"


def _lacking(example: dict[str, Any], given: dict[str, Any], where: str, prefix: str) -> list[str]:
    """The needed keys that are not there. LightsegError for a value of another kind than the example's."""
    lacking = []
    for name, default in example.items():
        key, value = f"{prefix}{name}", given.get(name)
        table = isinstance(default, dict)
        if not table and (key in OPTIONAL or (prefix.rstrip(".") in FILLED and key not in NEEDED)):
            continue
        if name not in given:
            lacking.append(key)
        elif table and not (key == "skeleton" and value is None):
            if not isinstance(value, dict):
                raise LightsegError(f"{where}: {key} is {value!r}: must be given key by key, as in {key}: {default}")
            lacking += _lacking(default, value, where, f"{key}.")
        elif table or default is None:
            continue
        elif value is None:
            if key not in NULL and not (key == "eval.size" and isinstance(default, int)):
                raise LightsegError(f"{where}: {key} is null: give a value, as in {key}: {default}")
        elif (kind := wrong_kind(default, value, key)) is not None:
            raise LightsegError(f"{where}: {key} is {value!r}: must be {kind}")
    return lacking
