"""Images and videos with the predictions drawn in.

An image's overlay is a JPEG file where the image is one, otherwise a PNG file.
"""

from pathlib import Path

import cv2
import numpy as np

from lightseg.atomic_io import temporary
from lightseg.data.io.frame import Frame
from lightseg.errors import LightsegError
from lightseg.inference.media import Video, overlay_name
from lightseg.result_files import write_image

# MPEG-4 part 2 is in every OpenCV; H.264 is in none that pip installs. Motion JPEG is what OpenCV writes by itself.
CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))


def write_overlay(folder: Path, frame: Frame, image: np.ndarray) -> None:
    write_image(folder / "overlays" / overlay_name(frame.name, frame.file_name), image)


class OverlayVideo:
    """A video of the same frame rate, without sound; its codec needs even sides, so an odd side loses a pixel."""

    def __init__(self, folder: Path, video: Video) -> None:
        self.folder, self.video = folder / "overlays", video
        self.writer: cv2.VideoWriter | None = None
        self.path = folder
        self.size = (0, 0)

    def _open(self, height: int, width: int) -> cv2.VideoWriter:
        self.size = (width, height)
        name = Path(self.video.name)
        for ending, codec in CODECS:
            path = self.folder / name.with_name(name.name.removesuffix(ending) + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(temporary(path)), fourcc, self.video.fps, self.size)
            if writer.isOpened():
                self.path = path
                return writer
        raise LightsegError(f"{self.folder}: OpenCV cannot write a video of {width}x{height}; leave overlays out")

    def add(self, image: np.ndarray) -> None:
        """uint8 RGB [H, W, 3]; a frame of another size than the first is stretched to it."""
        if self.writer is None:
            self.writer = self._open(*image.shape[:2])
        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size)
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def finish(self) -> None:
        if self.writer is None:
            return
        self.writer.release()
        unfinished = temporary(self.path)
        if not unfinished.is_file() or not unfinished.stat().st_size:
            raise LightsegError(f"{self.path}: the video could not be written")
        unfinished.replace(self.path)
