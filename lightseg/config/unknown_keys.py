"""Unknown keys of a data file. Without this check a mistyped optional key would silently be its default."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.config.data_keys import OPTIONAL, example_of
from lightseg.errors import LightsegError, nearest

FREE = ("classes", "split", "augment", "eval", "palette", "colors")  # free names, or checked by check_data
COMPOSED = ("name", "file")  # added when `data=` is composed


def check_unknown_keys(data: DictConfig, origin: str) -> None:
    """LightsegError, one line, for a key that the shipped file of the same format does not have.

    data: checked by `check_data`; origin: the file of the group, for error texts.
    """
    content: Any = OmegaConf.to_container(data)
    values = {key: value for key, value in content.items() if key not in COMPOSED}
    _check(values, example_of(content["format"]), origin, "")


def _check(values: dict[Any, Any], example: dict[str, Any], origin: str, prefix: str) -> None:
    keys = [*example, *(OPTIONAL if not prefix else ())]
    for key, value in values.items():
        if key not in keys:
            raise LightsegError(f"{origin}: no key '{prefix}{key}': {nearest(str(key), keys)}")
        if isinstance(value, dict) and isinstance(example.get(key), dict) and f"{prefix}{key}" not in FREE:
            _check(value, example[key], origin, f"{prefix}{key}.")
