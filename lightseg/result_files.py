"""Files of predictions, written atomically (`lightseg.atomic_io`).

Lists are written item by item, so that the predictions of a long video do not stay in memory.
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
    """Write a file; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_io.write_bytes(path, data)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 RGB [H, W, 3], or ids uint8 or uint16 [H, W], in the format of the path's suffix.

    Raises LightsegError if the format cannot hold the image.
    """
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(path.suffix, pixels, quality)
    if not done:
        raise LightsegError(f"{path}: an image of {image.shape[1]}x{image.shape[0]} cannot be encoded as {path.suffix}")
    write_bytes(path, data.tobytes())


class GrowingFile:
    """A text file written piece by piece. It appears under its path with `finish`."""

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
    """A JSON list, written with one item per line."""

    def __init__(self, path: Path, head: str = "[", foot: str = "]\n") -> None:
        super().__init__(path, head, foot)
        self._separator = "\n"

    def append(self, item: Any) -> None:
        self.write(self._separator + json.dumps(item, ensure_ascii=False))
        self._separator = ",\n"

    def finish(self) -> None:
        self.write("\n")
        super().finish()
