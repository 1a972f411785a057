"""The key `freeze`: parts of the model that are not trained, for some epochs or for the whole run."""

from typing import Any

from lightseg.errors import LightsegError

FORM = "give a part, a list of parts, or {part: epochs}, as in freeze={backbone: 5} or freeze=[backbone]"


def read_freeze(value: Any) -> dict[str, int | None]:
    """Part -> the number of its first epochs without training, None for all of them.

    >>> read_freeze({"backbone": 5, "head": True})
    {'backbone': 5, 'head': None}
    >>> read_freeze("backbone")
    {'backbone': None}

    Raises:
        LightsegError: another form of value.
    """
    parts = (
        dict.fromkeys(value if isinstance(value, list) else [value], True) if isinstance(value, str | list) else value
    )
    if parts is None:
        return {}
    if not isinstance(parts, dict) or not all(isinstance(part, str) and part for part in parts):
        raise LightsegError(f"freeze={value}: {FORM}")
    epochs = {part: None if count is True else count for part, count in parts.items() if count is not False}
    for part, count in epochs.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise LightsegError(
                f"freeze={{{part}: {count}}}: give a number of epochs from 1 on, or true for the whole run"
            )
    return epochs
