"""An image of a file, video or camera, with its origin."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightseg.data.io.pixels import PixelFormat


@dataclass
class Frame:
    """
    Attributes:
        name: of its results: a relative path without suffix, unique in a run.
        file_name: of its image file or video, relative to the source.
        image: uint8 RGB [H, W, 3] as displayed. None: it cannot be read.
        note: a remark on the image, or why it cannot be read.
        index: frame number in a video, from 0. None: an image file.
        pixels: [H, W, C], what the network takes where that is not uint8 RGB. None: `image`.
    """

    name: str
    file_name: str
    image: np.ndarray | None
    note: str | None = None
    index: int | None = None
    pixels: np.ndarray | None = None

    @property
    def input(self) -> np.ndarray | None:
        """The image as the network takes it."""
        return self.image if self.pixels is None else self.pixels

    @property
    def origin(self) -> dict[str, Any]:
        """The keys of the origin in each entry of the results."""
        return {"file_name": self.file_name} | ({} if self.index is None else {"frame": self.index})


def shown_frame(frame: Frame, pixels: np.ndarray, form: PixelFormat) -> Frame:
    """The frame with an image of the network, [H, W, C], and what is shown of it."""
    if form.is_rgb:
        frame.image = pixels
    else:
        frame.image, frame.pixels = form.shown(pixels), pixels
    return frame


def video_frame(frame: Frame, image: np.ndarray, form: PixelFormat) -> Frame:
    """The frame with an image uint8 RGB [H, W, 3] of a video, as a network of this form takes it."""
    if form.is_rgb:
        frame.image = image
    elif form == PixelFormat(channels=1):
        return shown_frame(frame, form.from_rgb(image), form)
    else:
        frame.note = f"a video has 3 channels of 8 bit, and the model takes {form.channels} of {form.dtype}"
    return frame
