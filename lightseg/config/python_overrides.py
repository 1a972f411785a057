"""The arguments of `lightseg.train`: values instead of text, without what only the command line supports."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

from omegaconf import DictConfig

from lightseg.config.overrides import dotted, split_overrides
from lightseg.config.sweep import WITHIN_A_RUN, expand
from lightseg.errors import LightsegError

INSTEAD = "is for the command line (lightseg train); in Python call lightseg.train once per run"


def merge_overrides(overrides: Mapping[str, Any] | Iterable[str], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Both as a dict of plain values. LightsegError for a key that occurs twice or a value that YAML cannot have."""
    if isinstance(overrides, Mapping):
        values = {str(key): _plain(value, str(key)) for key, value in overrides.items()}
    elif isinstance(overrides, str):
        raise LightsegError(f"lightseg.train({overrides!r}): give a list of key=value texts, a dict, or keywords")
    else:
        values = _from_texts([str(text) for text in overrides])
    named = {key: _plain(value, key) for key, value in keywords.items()}
    if twice := dotted(values).keys() & dotted(named).keys():
        raise LightsegError(f"lightseg.train: '{min(twice)}' is given twice")
    # {"trainer": "short"} and trainer={"max_epochs": 2}: a file, and values over it
    for key in values.keys() & named.keys():
        for side in (values, named):
            if isinstance(side[key], dict):
                side |= {f"{key}.{inner}": item for inner, item in side.pop(key).items()}
    return {**values, **named}


def check_one_run(config: DictConfig) -> None:
    """LightsegError for a configuration that starts other runs or Slurm jobs."""
    if "launcher" in config and config.launcher.name != "local":
        raise LightsegError(f"lightseg.train: launcher={config.launcher.name} {INSTEAD}")
    search = config.search.name if "search" in config else "none"
    if search != "none" and f"search={search}" not in WITHIN_A_RUN:
        raise LightsegError(f"lightseg.train: search={search} {INSTEAD}")


def _from_texts(texts: list[str]) -> dict[str, Any]:
    for flag in {"--help", "-h", "--cfg"} & set(texts):
        raise LightsegError(f"lightseg.train: {flag} {INSTEAD}")
    combinations = expand(texts)
    if len(combinations) > 1:
        several = next(text for text, (pair, swept) in zip(texts, combinations[0], strict=True) if swept)
        raise LightsegError(f"lightseg.train: '{several}' means {len(combinations)} runs, which {INSTEAD}")
    return split_overrides(texts)


def _plain(value: Any, key: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return {str(inner): _plain(item, f"{key}.{inner}") for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    kind = type(value).__name__
    raise LightsegError(f"lightseg.train: {key} is of type {kind}: give a number, text, list, dict, true or false")
