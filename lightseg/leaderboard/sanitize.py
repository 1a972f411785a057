"""What a record says as plain values that may be printed and counted with; `Refused` says why it cannot."""

import json
from typing import Any

MOST_LETTERS = 200  # of a name; other text is cut there
MOST_NUMBER = 1e18  # beyond any count of parameters or multiply-adds
MOST_KEYS = 200  # of settings, scalar metrics and a protocol


class Refused(ValueError):
    """Why a record is left out, as the end of the sentence "skipped 2 records: 2 ..."."""


def plain(value: Any) -> str:
    """A value as one printable line of at most MOST_LETTERS."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text[: MOST_LETTERS + 1]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + "..."


def name(record: dict[str, Any], key: str) -> str:
    """A text that is there, short and printable."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"without {key}" if value in (None, "") else f"whose {key} is no name")
    if len(value) > MOST_LETTERS or not value.isprintable():
        raise Refused(f"whose {key} is too long or holds control characters")
    return value


def mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    if not isinstance(value, dict):
        raise Refused(f"without {key}" if value is None else f"whose {key} is no object")
    return value


def is_number(value: Any, lowest: float, highest: float) -> bool:
    """Neither true nor false, NaN, infinite, or too large for a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest


def number(values: dict[str, Any], key: str, where: str = "") -> float | None:
    """At least 0 and finite; None where it is missing or null."""
    value = values.get(key)
    if value is None:
        return None
    if not is_number(value, 0, MOST_NUMBER):
        raise Refused(f"whose {where}{key} is not a number from 0 to {MOST_NUMBER:.0e}")
    return float(value)


def count(values: dict[str, Any], key: str, where: str = "") -> int | None:
    value = number(values, key, where)
    return None if value is None else int(value)
