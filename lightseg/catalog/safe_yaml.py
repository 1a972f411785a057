"""YAML files of users: values alone, never code, with errors of one line."""

from pathlib import Path
from typing import Any

import yaml

from lightseg.errors import LightsegError

MAX_BYTES = 200_000  # a published net takes 2 kB; weights passed by mistake take megabytes


def read_yaml(path: Path) -> bytes:
    """The content of the file, at most MAX_BYTES + 1 bytes. LightsegError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LightsegError(f"{path}: cannot be read ({error.strerror})") from error


def parse_yaml(content: str | bytes, path: str, kind: str) -> Any:
    """The values of a YAML document.

    path, kind: for error messages, such as `architecture`.

    Raises:
        LightsegError: the content is too long or no YAML.
    """
    if len(content) > MAX_BYTES:
        raise LightsegError(f"{path} is no {kind}: it has over {MAX_BYTES // 1000} kB")
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an invalid date, a too long number
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:120]
        raise LightsegError(f"{path} is not YAML: {position}{reason}") from error
