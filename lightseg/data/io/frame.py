"""One image of a file, video or camera, with where it comes from."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Frame:
    """
    Attributes:
        name: of its results, relative, without ending, unique in a run.
        file_name: of its image file or video, relative to the source.
        image: uint8 RGB [H, W, 3] as displayed; None where it cannot be read.
        note: what is odd about it, or why there is no image.
        index: frame number in a video, from 0; None for image files.
    """

    name: str
    file_name: str
    image: np.ndarray | None
    note: str | None = None
    index: int | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """What every entry of the results says of where it comes from."""
        return {"file_name": self.file_name} | ({} if self.index is None else {"frame": self.index})
