"""The sources of predictions: an image, a folder, a glob, a video file, a camera; as a list of streams of frames.

A folder or glob may hold images and videos; every video is a stream of its own, all images together are one. Frames
come one at a time and nothing is kept, so a video of any length takes the same memory.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lightseg.data.io.frame import Frame
from lightseg.data.io.images import check_picture
from lightseg.data.io.lenient import read_image_leniently
from lightseg.errors import DataError, LightsegError, one_line

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what cannot be decoded is said in one line of ours
VIDEO_ENDINGS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".3gp", ".ogv"}
)


class ImageFiles:
    """Files in order. file_names: as results name them; paths: where they are."""

    def __init__(self, file_names: list[str], paths: list[Path]) -> None:
        self.file_names, self.paths = file_names, paths
        stems = [str(Path(name).with_suffix("")) for name in file_names]
        times = Counter(map(str.lower, stems))
        names = [stem if times[stem.lower()] == 1 else name for stem, name in zip(stems, file_names, strict=True)]
        self.names = names if len(set(names)) == len(names) else file_names

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for name, file_name, path in zip(self.names, self.file_names, self.paths, strict=True):
            try:
                image, note = read_image_leniently(path)
            except DataError as error:
                yield Frame(name, file_name, None, without_path(error, path))
            except MemoryError:
                yield Frame(name, file_name, None, "too large for this machine's memory")
            else:
                yield Frame(name, file_name, image, note)


class Video:
    """A video file or a camera (an int), turned as its metadata say."""

    def __init__(self, source: Path | int, file_name: str, name: str, most_frames: int | None = None) -> None:
        self.source, self.file_name, self.name, self.most_frames = source, file_name, name, most_frames
        self.is_camera = isinstance(source, int)
        self.fps, self.frames_said = 25.0, 0
        self._capture: cv2.VideoCapture | None = None
        self._first: np.ndarray | None = None

    def open(self) -> None:
        """Read the header and the first frame; once.

        Raises:
            LightsegError: it cannot be decoded; there is no such camera.
        """
        if self._capture is not None:
            return
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            capture = cv2.VideoCapture(self.source if isinstance(self.source, int) else str(self.source))
            opened, self._first = capture.read() if capture.isOpened() else (False, None)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not opened:
            capture.release()
            if self.is_camera:
                raise LightsegError(f"there is no camera {self.source} that gives pictures: is it connected and free?")
            raise LightsegError(
                f"{self.source}: the video cannot be decoded (empty, damaged, or of a codec that OpenCV does not know)"
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else self.fps
        self.frames_said = 0 if self.is_camera else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not 0 <= self.frames_said < 1e8:  # containers without a count give nonsense
            self.frames_said = 0
        self._capture = capture

    def __len__(self) -> int:
        """As its header says, which may err; 0 where that is not known."""
        known = [number for number in (self.frames_said, self.most_frames) if number]
        return min(known, default=0)

    def __iter__(self) -> Iterator[Frame]:
        self.open()
        assert self._capture is not None
        image, self._first = self._first, None
        try:
            for index in count():
                if image is None or (self.most_frames is not None and index >= self.most_frames):
                    break
                yield Frame(
                    f"{self.name}/{index:06d}", self.file_name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), index=index
                )
                try:
                    image = self._capture.read()[1]
                except cv2.error:
                    image = None
            if image is None and index < 0.99 * self.frames_said:  # headers err by a frame or two
                note = f"ends after {index} of the {self.frames_said} frames that its header promises"
                yield Frame(self.name, self.file_name, None, note, index)
        finally:
            self._capture.release()


Stream = ImageFiles | Video


@dataclass
class Source:
    streams: list[Stream]
    note: str | None = None  # on files that are no pictures

    @property
    def file_names(self) -> dict[str, bool]:
        """Of pictures, videos and cameras, and whether they have frames with numbers."""
        videos = {one.file_name: True for one in self.streams if isinstance(one, Video)}
        return {name: False for one in self.streams if isinstance(one, ImageFiles) for name in one.file_names} | videos


def open_source(source: str | Path | int, *, leave_out: Path, most_frames: int | None = None) -> Source:
    """The streams of an image, folder (with all below it), glob, video file or camera index.

    leave_out: a folder whose files do not count: the results may lie within the source.

    Raises:
        LightsegError: nothing there, or no camera, or of a single video that it cannot be decoded.
    """
    text = str(source)
    if isinstance(source, int) or (text.isdecimal() and not Path(text).exists()):
        camera = Video(int(text), f"camera {text}", f"camera_{text}", most_frames)
        camera.open()
        return Source([camera])
    path = Path(source)
    if path.is_dir():
        found, base = _below(path), path
    elif path.exists() or not glob.has_magic(text):
        if not path.exists():
            raise LightsegError(f"{path}: no such file, folder or camera")
        found, base = [path], path.parent
    else:
        found = sorted(Path(one) for one in glob.glob(text, recursive=True))
        found = [one for one in found if not one.is_dir()]
        base = Path(os.path.commonpath([one.parent for one in found])) if found else Path()
    named = not path.is_dir()
    inside = leave_out.resolve()
    pictures: list[Path] = []
    videos: list[Path] = []
    others: list[Path] = []
    for one in found:
        if named or inside not in one.resolve().parents:
            (videos if one.suffix.lower() in VIDEO_ENDINGS else pictures if named or _picture(one) else others).append(
                one
            )
    if not pictures and not videos:
        what = f"{len(found)} files, but no picture or video among them" if found else "no picture or video there"
        raise LightsegError(f"{text}: {what}")
    relative = {one: one.relative_to(base).as_posix() for one in (*pictures, *videos)}
    stills = [ImageFiles([relative[one] for one in pictures], pictures)] if pictures else []
    films = [Video(one, relative[one], relative[one], most_frames) for one in videos]
    if found == [path] and films:
        films[0].open()
    endings = ", ".join(sorted({one.suffix or one.name for one in others})[:5])
    return Source([*stills, *films], f"{len(others)} other files left out ({endings})" if others else None)


def _picture(path: Path) -> bool:
    """By its ending (then it is named if it cannot be read), or else by its first bytes."""
    if Image.registered_extensions().get(path.suffix.lower()) in Image.OPEN:
        return True
    try:
        check_picture(path)
    except DataError:
        return False
    return True


def _below(folder: Path) -> list[Path]:
    """Files in a folder and below it, hidden ones left out, sorted."""
    found = []
    for here, below, files in os.walk(folder, followlinks=False):
        below[:] = sorted(name for name in below if not name.startswith("."))
        paths = [Path(here, name) for name in sorted(files) if not name.startswith(".")]
        found += [path for path in paths if path.is_file() or not path.exists()]  # a pipe would never end
    return found


def without_path(error: Exception, path: Path) -> str:
    return one_line(error).removeprefix(f"{path}: ")
