"""YAML files that users write: values alone, never code, and what is wrong in one said in one line."""

from pathlib import Path
from typing import Any

import yaml

from lightseg.errors import LightsegError

MAX_BYTES = 200_000  # of a file: a published net takes 2 kB, weights passed by mistake take megabytes


def read_yaml(path: Path) -> bytes:
    """The file's content, as far as MAX_BYTES and one more. LightsegError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LightsegError(f"{path}: cannot be read ({error.strerror})") from error


def parse_yaml(content: str | bytes, path: str, what: str) -> Any:
    """path and what (`architecture`) are for errors: LightsegError for too many bytes, and for what is not YAML."""
    if len(content) > MAX_BYTES:
        raise LightsegError(f"{path} is no {what}: it has over {MAX_BYTES // 1000} kB")
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, an endless number
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:120]
        raise LightsegError(f"{path} is not YAML: {place}{reason}") from error
