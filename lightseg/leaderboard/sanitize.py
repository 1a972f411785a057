"""The fields of a record as plain values that are safe to print and to compute with."""

import json
from typing import Any

MAX_CHARS = 200  # of a name; other text is cut to it
MAX_NUMBER = 1e18  # more than any count of parameters or multiply-adds
MAX_KEYS = 200  # of settings, scalar metrics and a protocol


class InvalidRecord(ValueError):
    """Why a record is left out, as the end of the sentence "skipped 2 records: 2 ..."."""


def printable(text: str) -> str:
    """The text with "?" for control characters, which could steer a terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def one_line_text(value: Any) -> str:
    """A value as one printable line of at most MAX_CHARS characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text[: MAX_CHARS + 1])
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 3] + "..."


def text_field(record: dict[str, Any], key: str) -> str:
    """A short printable text. Raises InvalidRecord where it is missing or empty."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRecord(f"without {key}" if value in (None, "") else f"whose {key} is not a name")
    if len(value) > MAX_CHARS or not value.isprintable():
        raise InvalidRecord(f"whose {key} is too long or holds control characters")
    return value


def object_field(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    if not isinstance(value, dict):
        raise InvalidRecord(f"without {key}" if value is None else f"whose {key} is not an object")
    return value


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether it is a number from `low` to `high`: not a bool, NaN or infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def number_field(record: dict[str, Any], key: str, prefix: str = "") -> float | None:
    """A finite number of at least 0; None where it is missing or null. prefix: of the key in error texts ("cost.")."""
    value = record.get(key)
    if value is None:
        return None
    if not is_number(value, 0, MAX_NUMBER):
        raise InvalidRecord(f"whose {prefix}{key} is not a number from 0 to {MAX_NUMBER:.0e}")
    return float(value)


def count_field(record: dict[str, Any], key: str, prefix: str = "") -> int | None:
    value = number_field(record, key, prefix)
    return None if value is None else int(value)
