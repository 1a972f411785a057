"""Files that are whole or not there: written under another name in the same folder, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def temporary(path: Path) -> Path:
    """The other name: hidden, this process's own, with the same ending, which OpenCV goes by."""
    return path.with_name(f".{os.getpid()}.{path.name}")


@contextmanager
def writing(
    path: Path, mode: str = "wb", *, sync: bool = False, newline: str | None = None, unfinished: Path | None = None
) -> Iterator[IO[Any]]:
    """An open file that becomes `path` when the block ends; after an error `path` is what it was before.

    Args:
        mode: "wb", or "w" for text in UTF-8, whose ends of lines are `newline` as for `open`.
        sync: flush it to the disk before it is renamed, so that it outlives a loss of power.
        unfinished: its name until then, in place of `temporary(path)`.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = unfinished or temporary(path)
    encoding = None if "b" in mode else "utf-8"
    try:
        with open(unfinished, mode, encoding=encoding, newline=newline) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):  # renamed; never opened; its parent is a file
            unfinished.unlink()


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> None:
    with writing(path, sync=sync) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    with writing(path, "w") as file:
        file.write(text)


def write_json(path: Path, content: Any) -> None:
    """Indented, flushed to the disk; ValueError for NaN and infinity, which are no JSON."""
    with writing(path, "w", sync=True) as file:
        json.dump(content, file, indent=2, allow_nan=False)
