"""Files that are whole or not there: written under another name in the same folder, then renamed.

A list that grows with every frame of a video is written as it comes, so that nothing is kept in memory.
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.errors import LightsegError


def temporary(path: Path) -> Path:
    """Beside it, with the same ending, which OpenCV goes by."""
    return path.with_name(f".{os.getpid()}.{path.name}")


def write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = temporary(path)
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """uint8 RGB [H, W, 3], or ids uint8 or uint16 [H, W]; the format is the path's ending."""
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(path.suffix, pixels, quality)
    if not done:
        raise LightsegError(f"{path}: a picture of {picture.shape[1]}x{picture.shape[0]} cannot be encoded so")
    write_bytes(path, data.tobytes())


class GrowingFile:
    """Text that is written as it comes; `finish` puts it in its place, whatever was written by then."""

    def __init__(self, path: Path, head: str = "", foot: str = "") -> None:
        self.path, self.foot = path, foot
        self._file = open(temporary(path), "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._file.write(head)

    def write(self, text: str) -> None:
        self._file.write(text)

    def finish(self) -> None:
        try:
            with self._file as file:
                file.write(self.foot)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary(self.path), self.path)
        finally:
            temporary(self.path).unlink(missing_ok=True)


class GrowingList(GrowingFile):
    """A JSON list, one item a line."""

    def __init__(self, path: Path, head: str = "[", foot: str = "]\n") -> None:
        super().__init__(path, head, foot)
        self._between = "\n"

    def append(self, item: Any) -> None:
        self.write(self._between + json.dumps(item, ensure_ascii=False))
        self._between = ",\n"

    def finish(self) -> None:
        self.write("\n")
        super().finish()
