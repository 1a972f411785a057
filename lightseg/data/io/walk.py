"""The files below a folder, for all formats."""

import os
from collections.abc import Iterator
from pathlib import Path

from lightseg.errors import DataError


def files_below(folder: str | Path) -> Iterator[str]:
    """Paths of the files below a folder, relative to it with `/`, sorted within a folder.

    Symlinks are followed, except to a folder that holds the link. Names that begin with a dot are left out. Raises
    DataError for a folder that cannot be read.
    """
    status = os.stat(folder)
    return _files(str(folder), "", ((status.st_dev, status.st_ino),))


def _files(folder: str, prefix: str, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check the folder's permissions") from error
    for entry in entries:
        if not entry.is_dir():
            yield prefix + entry.name
            continue
        status = entry.stat()
        identity = (status.st_dev, status.st_ino)
        if identity not in parents:
            yield from _files(entry.path, f"{prefix}{entry.name}/", (*parents, identity))
