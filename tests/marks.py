"""Parameters of a test of which a few are fast and the others slow."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(fast: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """`values` in their order; those that are not among `fast` carry the mark `slow`."""
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]
