"""An image of a file, video or camera, with its origin."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Frame:
    """
    Attributes:
        name: of its results: a relative path without suffix, unique in a run.
        file_name: of its image file or video, relative to the source.
        image: uint8 RGB [H, W, 3] as displayed. None: it cannot be read.
        note: a remark on the image, or why it cannot be read.
        index: frame number in a video, from 0. None: an image file.
    """

    name: str
    file_name: str
    image: np.ndarray | None
    note: str | None = None
    index: int | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """The keys of the origin in each entry of the results."""
        return {"file_name": self.file_name} | ({} if self.index is None else {"frame": self.index})
