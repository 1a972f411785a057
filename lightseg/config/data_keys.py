"""The keys of a data file. A shipped file of each format has every key, and other files are compared with it."""

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.catalog.tasks import formats
from lightseg.config import paths
from lightseg.config.check_key import expected
from lightseg.config.domains import ALL, domain_of
from lightseg.config.split_keys import VAL_SHARE
from lightseg.errors import LightsegError, nearest

SHIPPED = paths.SHIPPED / "data"
REQUIRED = ("augment.size", "augment.crop_size", "augment.multi_scale", "eval.size", "eval.keep_aspect")
# besides the other keys of the tables FILLED, which transforms fill in
OPTIONAL = (
    "coarse",
    "colors",
    "void_colors",
    "color_tolerance",
    "image_end",
    "mask_end",
    "boxes_on",
    "least_visibility",
    "max_detections",
    "merge_classes",
    "single_class",
    "background",
    "first_pixel",
    "columns",
    "images",
    "sampler",
    "channels",
    "range",
    "tile",
    "split.train.list",
    "split.val.list",
    "split.train.masks",
    "split.val.masks",
    "split.group",
)
# of every data file, added where it lacks them
ADDED: dict[str, Any] = {"channels": 3, "range": None}
ADDED_TILES: dict[str, Any] = {"tile": None}  # of tasks that have tiles
FILLED = ("augment", "eval", "skeleton")


def add_keys(data: DictConfig) -> DictConfig:
    """A `data` group with the keys that every data file has and need not show."""
    info = formats().get(str(data.get("format")))
    tiles = ADDED_TILES if info is not None and info.tiles else {}
    return OmegaConf.merge(ADDED, tiles, data)  # type: ignore[return-value]


def check_data(data: DictConfig, task: str, where: str) -> None:
    """LightsegError, one line, for a `data` group that lacks keys, has values of a wrong type, or is for another task.

    where: the file of the group, for error texts.
    """
    values: dict[str, Any] = OmegaConf.to_container(data)  # type: ignore[assignment]
    form = values.get("format")
    tasks = formats()
    if form is None:
        raise LightsegError(f"{where} lacks format: choose from {', '.join(tasks)}")
    if form not in tasks:
        raise LightsegError(f"{where}: no format named '{form}': {nearest(str(form), tasks)}")
    info = tasks[form]
    if info.name != task:
        raise LightsegError(f"data={values['name']} is for task={info.name} (format: {form}), not task={task}")
    example = example_of(form)
    shown = f"{paths.shown(_example_file(form))} shows every key of format: {form}"
    missing = _missing(example, values, where, "", (info.name, ALL))
    if missing:
        raise LightsegError(f"{where} lacks {', '.join(missing)}: {shown}")
    for table in ("augment", "eval"):
        for key in values.get(table) or {}:
            if table in example and key not in example[table]:
                raise LightsegError(f"{where}: no key '{table}.{key}': {nearest(str(key), example[table])} ({shown})")


@cache
def example_of(form: str) -> dict[str, Any]:
    """The content of the data file that shows every key of a format."""
    return OmegaConf.to_container(OmegaConf.load(_example_file(form)))  # type: ignore[return-value]


def _example_file(form: str) -> Path:
    example = formats()[form].formats[form].example
    return Path(example) if paths.is_path(example) else SHIPPED / f"{example}.yaml"


def _missing(
    example: dict[str, Any], values: dict[str, Any], where: str, prefix: str, sections: tuple[str, ...]
) -> list[str]:
    """The required keys that are missing. LightsegError for a value that a key cannot have."""
    missing = []
    for name, default in example.items():
        key, value = f"{prefix}{name}", values.get(name)
        table = isinstance(default, dict)
        listed = key in OPTIONAL and (default is None or not key.startswith("split."))
        is_optional = not table and (listed or (prefix.rstrip(".") in FILLED and key not in REQUIRED))
        if name not in values:
            missing += [] if is_optional else [key]
        elif table and not (key == "skeleton" and value is None):
            if key == "split.val" and VAL_SHARE.fits(value):
                continue
            if not isinstance(value, dict):
                raise LightsegError(f"{where}: {key} is {value!r}: must have keys and values, as in {key}: {default}")
            missing += _missing(default, value, where, f"{key}.", sections)
        elif table:
            continue
        elif value is None:
            if not _may_be_null(key, default, sections):
                raise LightsegError(f"{where}: {key} is null: give a value, as in {key}: {default}")
        elif (kind := expected(f"data.{key}", value, default, sections)) is not None:
            raise LightsegError(f"{where}: {key} is {value!r}: must be {kind}")
    return missing


def _may_be_null(key: str, default: Any, sections: tuple[str, ...]) -> bool:
    domain = domain_of(f"data.{key}", sections)
    if domain is not None:
        return domain.fits(None)
    return default is None or (key == "eval.size" and isinstance(default, int))
