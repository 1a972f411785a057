"""Looks at a few files of a folder, without reading them whole."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_MOST = 2000  # entries of a folder
_TRIED = 20  # files of which the beginning is read
_BYTES = 1 << 16


def entries(folder: Path) -> list[Path]:
    """Files of a folder, sorted: of the first 2000 entries, without those that begin with a dot."""
    return sorted(path for path in _listed(folder) if path.is_file())


def folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, likewise."""
    return sorted(path for path in _listed(folder) if path.is_dir())


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as scan:
            return [folder / entry.name for entry in islice(scan, _MOST) if not entry.name.startswith(".")]
    except OSError:
        return []


def head(path: Path, size: int = _BYTES) -> str:
    """The beginning of a file as text."""
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def first_with(folder: Path, endings: tuple[str, ...], test: Callable[[str], Any]) -> Path | None:
    """The first file with an ending whose beginning passes a test."""
    files = (path for path in entries(folder) if path.suffix.lower() in endings)
    return next((path for path in islice(files, _TRIED) if test(head(path))), None)
