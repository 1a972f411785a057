"""A search space: choices or a range of numbers for each key. Read without torch and Optuna."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightseg.errors import LightsegError

RANGES = ("log", "linear")
# results of other tasks and data cannot be compared; the other keys do not change the result
FIXED = ("task", "data", "mode", "resume", "ckpt", "runs_dir", "logger", "experiment", "launcher", "search", "seed")


@dataclass(frozen=True)
class Dimension:
    """The values of a key as texts of the command line. A range has its two ends and a `scale` (log or linear)."""

    texts: list[str]
    scale: str | None = None

    @property
    def ends(self) -> tuple[float, float]:
        low, high = (json.loads(text) for text in self.texts)
        return low, high


def read_space(value: Any) -> dict[str, Dimension]:
    """`{"optimizer.lr": [1e-4, 1e-2, "log"], "backbone": ["a", "b"]}`, or the path of a YAML file with it."""
    if isinstance(value, str):
        value = _read(Path(value))
    if not isinstance(value, dict) or not value:
        raise LightsegError(
            "search.space: give the keys to search, as in '{optimizer.lr: [1e-4, 1e-2, log]}', or a file"
        )
    return {str(key): _dimension(str(key), values) for key, values in value.items()}


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LightsegError(f"search.space={path}: {error.strerror}; give a YAML file or {{key: [values]}}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LightsegError(f"search.space={path} is not readable YAML: {' '.join(str(error).split())}") from error


def _dimension(key: str, values: Any) -> Dimension:
    if key in FIXED or key.split(".")[0] in ("launcher", "search", "logger"):
        raise LightsegError(f"search.space: {key} cannot be searched: give it beside the space, as {key}=...")
    if not isinstance(values, list) or not values:
        raise LightsegError(f"search.space: {key} takes a list: choices, or [low, high, log] or [low, high, linear]")
    values = [_number(value) for value in values]
    if values[-1] not in RANGES:
        texts = [as_text(value) for value in values]
        if len(set(texts)) < len(texts):
            raise LightsegError(f"search.space: {key} has one choice twice")
        return Dimension(texts)
    numbers = values[:-1]
    if len(numbers) != 2 or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    ):
        raise LightsegError(f"search.space: {key}={values}: a range is two numbers and {' or '.join(RANGES)}")
    low, high = numbers
    if low >= high or (values[-1] == "log" and low <= 0):
        raise LightsegError(f"search.space: {key}={values}: the first number is the smaller one, and above 0 for log")
    return Dimension([json.dumps(low), json.dumps(high)], values[-1])


def as_text(value: Any) -> str:
    """The value as text after `key=`, quoted where YAML would read another value."""
    if isinstance(value, str) and "," not in value and _plain(value):
        return value
    return json.dumps(value)


def _plain(text: str) -> bool:
    try:
        return yaml.safe_load(text) == text and _number(text) == text
    except yaml.YAMLError:
        return False


def _number(value: Any) -> Any:
    """A number that YAML 1.1 reads as text, such as 1e-4."""
    if isinstance(value, str) and any(c.isdigit() for c in value):
        try:
            return float(value)
        except ValueError:
            return value
    return value
