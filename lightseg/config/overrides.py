"""Overrides: `key=value` texts parsed to values, and values merged into a configuration with checks of key and type."""

from typing import Any

import yaml
from omegaconf import DictConfig

from lightseg.config import usage
from lightseg.config.checks import check_trainer_argument, wrong_kind
from lightseg.config.paths import GROUPS, NAMED
from lightseg.config.renamed_keys import RENAMED
from lightseg.errors import LightsegError, nearest

COMMAND_LINE = "the command line"
LISTED = ("logger",)  # keys of which several values are for one run, not a sweep


def split_overrides(overrides: list[str]) -> dict[str, Any]:
    """`["trainer.max_epochs=2"]` -> `{"trainer.max_epochs": 2}`. Values are parsed as YAML."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise LightsegError(f"'{override}' is not of the form key=value (see {usage.command()} --help)")
        if key in values:
            raise LightsegError(f"'{key}' is given twice on the command line")
        try:
            values[key] = yaml.safe_load(text) if text else None
        except yaml.YAMLError as error:
            raise LightsegError(f"the value of '{override}' cannot be read: quote it, as in '{key}=\"...\"'") from error
        kept = (str, dict, list) if key in LISTED else (str, dict)
        if key in NAMED and values[key] is not None and not isinstance(values[key], kept):  # data=2024 is a name
            values[key] = text
        if isinstance(values[key], str) and key not in NAMED:  # YAML 1.1 reads 1e-3 as text
            values[key] = _number(values[key])
    return values


def _number(text: str) -> Any:
    try:
        return float(text) if any(c.isdigit() for c in text) else text
    except ValueError:
        return text


def apply(config: DictConfig, values: dict[str, Any], origin: str) -> None:
    """Merge values by dotted key into a configuration, in place. Old keys are renamed.

    origin: the source of the values, for error texts.

    Raises:
        LightsegError: an unknown key, or a value of another type than the default's.
    """
    for key, value in ((RENAMED.get(key, key), value) for key, value in values.items()):
        if key in GROUPS and (isinstance(value, str | None) or (key in LISTED and isinstance(value, list))):
            continue  # the group's file has been chosen already
        *parents, last = key.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig) or last not in node:
            if key.startswith("trainer.") and len(parents) == 1:
                _check_trainer_argument(last, origin)
            else:
                raise LightsegError(f"no key '{key}' ({origin}): {nearest(key, _keys(config))}")
        elif (kind := wrong_kind(node[last], value, key)) is not None:
            raise LightsegError(f"{key}={value!r} ({origin}): must be {kind}")
        if isinstance(node.get(last), DictConfig) and isinstance(value, dict) and last != "classes":
            apply(config, {f"{key}.{inner}": v for inner, v in value.items()}, origin)
        else:
            node[last] = value


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
    keys = []
    for key, value in ((str(k), v) for k, v in config.items()):
        keys.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
