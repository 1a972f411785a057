"""Lists and tables as text."""

from collections.abc import Collection, Sequence
from typing import Any


def shorten(items: Sequence[Any], limit: int = 8) -> str:
    """The first items with commas between them, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def align(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """A line a row, in columns two spaces apart: those numbered in `left` are flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
