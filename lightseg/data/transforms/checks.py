"""Checks of the options of transforms. Each raises LightsegError, one line, for a wrong value."""

import math
from collections.abc import Sequence
from typing import Any

from lightseg.errors import LightsegError

Size = tuple[int, int]  # height, width


def check_probabilities(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise LightsegError(f"{name} is {value}: a probability lies in 0..1")


def check_strength(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise LightsegError(f"{name} is {value}: the strength lies in 0..1, 1 excluded")


def checked_size(size: Sequence[int], name: str = "size") -> Size:
    if len(size) != 2 or any(not isinstance(side, int | float) or int(side) != side or side < 1 for side in size):
        raise LightsegError(f"{name} is {list(size)}: give two whole numbers, height and width in pixels")
    return int(size[0]), int(size[1])


def checked_range(name: str, value: Sequence[float], maximum: float = math.inf) -> tuple[float, float]:
    """(lowest, highest), both greater than 0 and at most `maximum`."""
    if len(value) != 2 or not 0 < value[0] <= value[1] <= maximum:
        limit = "" if maximum == math.inf else f" and at most {maximum:g}"
        raise LightsegError(f"{name} is {list(value)}: give two numbers, lowest and highest, greater than 0{limit}")
    return float(value[0]), float(value[1])


def optional_range(name: str, value: Any, minimum: float) -> tuple[float, float] | None:
    """(lowest, highest), both at least `minimum`; None for an empty value."""
    if not value:
        return None
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if not is_pair or not minimum <= value[0] <= value[1]:
        shown = list(value) if isinstance(value, tuple) else value
        raise LightsegError(f"{name} is {shown}: give two numbers, lowest and highest, from {minimum} on, or null")
    return float(value[0]), float(value[1])
