"""Lists and tables as text."""

from collections.abc import Sequence
from typing import Any


def shorten(items: Sequence[Any], limit: int = 8) -> str:
    """The first items with commas between them, and how many more there are."""
    more = f", and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more
