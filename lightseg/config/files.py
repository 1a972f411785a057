"""The YAML files of the groups, as values.

A user's file is merged over the shipped file of its kind, so it needs only the keys that differ. A data file is
complete.
"""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightseg.catalog.tasks import TASKS
from lightseg.config.data_keys import add_keys
from lightseg.config.overrides import apply, expand_paths
from lightseg.config.paths import GROUPS, SHIPPED, base_file, find_file, is_path, shown
from lightseg.config.values import keep_text
from lightseg.errors import LightsegError

KINDS = ("task", "logger", "launcher", "search")  # groups whose name decides what code runs


def read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, RecursionError, OSError) as error:
        raise LightsegError(f"{shown(path)} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, DictConfig):
        raise LightsegError(f"{shown(path)} must hold `key: value` lines")
    return config


def values_of(path: Path, group: str = "") -> dict[str, Any]:
    """The content of a user's file, as values to be merged over others. Names and paths are the text that was typed.

    group: that the keys of the file are in, "" for keys from the top.
    """
    content: Any = OmegaConf.to_container(read(path), resolve=False)
    content = keep_text(content, yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), group)
    return expand_paths({str(key): value for key, value in content.items()}, f"{group}." if group else "")


def names_of(values: dict[str, Any]) -> dict[str, Any]:
    """The groups that have a name, without those that have values (`trainer: {max_epochs: 3}`)."""
    return {group: values[group] for group in GROUPS if group in values and not isinstance(values[group], dict)}


def group_of(group: str, name: str, of_task: DictConfig | None = None) -> DictConfig:
    """The values of `group=name`: the shipped file, then the task's values for the group, then the user's file."""
    path = find_file(group, name)
    if group == "data":
        content = read(path) if is_shipped(path) else OmegaConf.create(values_of(path, group))
        if reserved := {"name", "file"} & content.keys():
            raise LightsegError(f"{shown(path)}: no key '{min(reserved)}': data is named after its file, {path.stem}")
        return add_keys(OmegaConf.merge({"name": path.stem, **({"file": name} if is_path(name) else {})}, content))  # type: ignore[arg-type]
    user_values = {} if is_shipped(path) else values_of(path, group)
    kind = kind_of(group, path, user_values)
    shipped = path if is_shipped(path) else base_file(group, kind if group in KINDS else "default")
    part = OmegaConf.create({group: OmegaConf.merge({"name": kind}, read(shipped), of_task or {})})
    user_values = {key: value for key, value in user_values.items() if group not in KINDS or key != "name"}
    apply(part, {f"{group}.{key}": value for key, value in user_values.items()}, shown(path))
    return part[group]


def kind_of(group: str, path: Path, content: dict[str, Any]) -> str:
    """The shipped choice that a user's file changes: its `name:`, otherwise the name of the file."""
    if group not in KINDS:
        return path.stem
    kinds = sorted(TASKS) if group == "task" else sorted(file.stem for file in (SHIPPED / group).glob("*.yaml"))
    kind = str(content.get("name", path.stem))
    if kind not in kinds:
        raise LightsegError(
            f"{shown(path)} must say which {group} it is for: add a line `name: <{' or '.join(kinds)}>`"
        )
    return kind


def is_shipped(path: Path) -> bool:
    return path.is_relative_to(SHIPPED) or any(info.config and path == Path(info.config) for info in TASKS.values())


def data_file_of(data: DictConfig) -> Path:
    """The file that a `data` group came from."""
    return find_file("data", str(data.get("file") or data.name))
