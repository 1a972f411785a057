"""What a command may write: never what it reads, and nothing that exists unless the user says so."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lightseg.errors import LightsegError


def check_outputs(
    outputs: Sequence[Path], inputs: Iterable[Path] = (), *, overwrite: bool, option: str = "--output"
) -> None:
    """Check all files that a command is going to write, before it begins.

    Args:
        inputs: files that it reads. They are never written, not even with `overwrite`.
        overwrite: allow files that exist.
        option: that names the outputs, for error texts.

    Raises:
        LightsegError: an output that is an input, that exists, or that is the same file as another output.
    """
    sources = list(inputs)
    for number, path in enumerate(outputs):
        if any(is_same_file(path, source) for source in sources):
            raise LightsegError(f"{path} is read by this command and would be overwritten: give another {option}")
        if any(is_same_file(path, other) for other in outputs[:number]):
            raise LightsegError(f"two results would both be {path}: give another {option}")
        if path.is_file() and not overwrite:
            raise LightsegError(f"{path} exists: give another {option}, or --overwrite")


def is_same_file(a: Path, b: Path) -> bool:
    """Whether two paths are one file, through links too; one that does not exist is compared by its path."""
    try:
        return os.path.samefile(a, b)
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)
