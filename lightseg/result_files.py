"""Files of predictions, each whole or not there (`lightseg.atomic_io`).

A list that grows with every frame of a video is written as it comes, so that nothing is kept in memory.
"""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg import atomic_io
from lightseg.errors import LightsegError


def write_bytes(path: Path, data: bytes) -> None:
    """Its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_io.write_bytes(path, data)


def write_image(path: Path, image: np.ndarray) -> None:
    """uint8 RGB [H, W, 3], or ids uint8 or uint16 [H, W]; the format is the path's ending."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(path.suffix, pixels, quality)
    if not done:
        raise LightsegError(f"{path}: an image of {image.shape[1]}x{image.shape[0]} cannot be encoded as {path.suffix}")
    write_bytes(path, data.tobytes())


class GrowingFile:
    """Text that is written as it comes; `finish` puts it in its place, whatever was written by then."""

    def __init__(self, path: Path, head: str = "", foot: str = "") -> None:
        self.path, self.foot = path, foot
        self._writing = ExitStack()
        self._file = self._writing.enter_context(atomic_io.writing(path, "w", sync=True, newline=""))
        self._file.write(head)

    def write(self, text: str) -> None:
        self._file.write(text)

    def finish(self) -> None:
        with self._writing:
            self._file.write(self.foot)


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
