"""Overrides: `key=value` texts parsed to values, and values merged into a configuration with checks of key and type."""

from os.path import expanduser
from typing import Any

import yaml
from omegaconf import DictConfig

from lightseg.config import usage
from lightseg.config.check_key import canonical, expected
from lightseg.config.domain import shown
from lightseg.config.domains import domains_of, sections_of
from lightseg.config.habits import check_spelling, suggestion
from lightseg.config.paths import GROUPS
from lightseg.config.renamed_keys import RENAMED
from lightseg.config.trainer_keys import TRAINER, check_trainer_argument
from lightseg.config.values import Unread, parse
from lightseg.errors import LightsegError

COMMAND_LINE = "the command line"
FREE_TABLES = ("classes", "merge_classes")  # that a value replaces
LISTED = ("logger",)  # keys of which several values are for one run, not a sweep


def split_overrides(overrides: list[str]) -> dict[str, Any]:
    """`["trainer.max_epochs=2"]` -> `{"trainer.max_epochs": 2}`. The key decides how its text is read."""
    check_spelling(overrides)
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise LightsegError(f"'{override}' is not of the form key=value (see {usage.command()} --help)")
        if key in values:
            raise LightsegError(f"'{key}' is given twice on the command line")
        try:
            values[key] = parse(key, text)
        except yaml.YAMLError as error:
            raise LightsegError(f"the value of '{override}' cannot be read: quote it, as in '{key}=\"...\"'") from error
    return values


def expand_paths(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key, some of them nested, with `~` expanded in those that are paths."""
    return {key: _expanded(value, f"{prefix}{key}") for key, value in values.items()}


def _expanded(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return expand_paths(value, f"{key}.")
    is_path = any(part.is_path for domain in domains_of(key) for part in domain.alternatives())
    return expanduser(value) if is_path and isinstance(value, str) else value


def apply(config: DictConfig, values: dict[str, Any], origin: str) -> None:
    """Merge values by dotted key into a configuration, in place. Old keys are renamed.

    origin: the source of the values, for error texts.

    Raises:
        LightsegError: an unknown key, or a value that the key cannot have.
    """
    sections = sections_of(config)
    for key, value in ((RENAMED.get(key, key), value) for key, value in values.items()):
        if key in GROUPS and (isinstance(value, str | None) or (key in LISTED and isinstance(value, list))):
            continue  # the group's file has been chosen already
        *parents, last = key.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig) or last not in node:
            if key.startswith("trainer.") and len(parents) == 1 and isinstance(node, DictConfig):
                _check_trainer_argument(last, origin)
            else:
                raise LightsegError(f"no key '{key}' ({origin}): {suggestion(key, _keys(config))}")
        default = node.get(last)
        value = value.read(default) if isinstance(value, Unread) else value
        if isinstance(default, DictConfig) and isinstance(value, dict) and last not in FREE_TABLES:
            apply(config, {f"{key}.{inner}": v for inner, v in value.items()}, origin)
            continue
        if (kind := expected(key, value, default, sections)) is not None:
            raise LightsegError(f"{key}={shown(value)} ({origin}): must be {kind}")
        node[last] = canonical(key, value, sections)


def _check_trainer_argument(name: str, origin: str) -> None:
    try:
        check_trainer_argument(name)
    except LightsegError as error:
        raise LightsegError(str(error) if origin == COMMAND_LINE else f"{error} ({origin})") from None


def dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"data": {"size": 1}}` -> `{"data.size": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = [] if prefix else [f"trainer.{name}" for name in TRAINER if name != "name" and "trainer" in config]
    for key, value in ((str(k), v) for k, v in config.items()):
        keys.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
