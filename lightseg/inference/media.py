"""The sources of predictions (images, folders, glob patterns, lists, video files, a camera) as streams of frames.

A folder or glob pattern may contain images and videos. Each video is a stream, and all images together are a stream.
Frames are read one at a time and not kept, so memory does not grow with the length of a video.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lightseg.data.io.frame import Frame, shown_frame, video_frame
from lightseg.data.io.images import check_image
from lightseg.data.io.lenient import read_image_leniently
from lightseg.data.io.npy import NPY_ENDING
from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import DataError, LightsegError, one_line
from lightseg.text import shorten

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: lightseg reports in a line what cannot be decoded
VIDEO_ENDINGS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".3gp", ".ogv"}
)
LIST_ENDING = ".txt"  # of a file that lists images


def overlay_name(name: str, file_name: str) -> str:
    """name: of the results (`Frame.name`), which has the file's suffix where two files differ in it alone."""
    ending = Path(file_name).suffix.lower()
    ending = ending if ending in (".jpg", ".jpeg") else ".png"
    return name if name == file_name and name.endswith(ending) else f"{name}{ending}"


class ImageFiles:
    """Image files, in order.

    file_names: names in the results, relative to the source. paths: of the files. pixels: what the network takes.
    """

    pixels = PixelFormat()

    def __init__(self, file_names: list[str], paths: list[Path]) -> None:
        self.file_names, self.paths = file_names, paths
        stems = [str(Path(name).with_suffix("")) for name in file_names]
        counts = Counter(map(str.lower, stems))
        names = [stem if counts[stem.lower()] == 1 else name for stem, name in zip(stems, file_names, strict=True)]
        names = names if len(set(names)) == len(names) else file_names
        overlays = {overlay_name(name, file_name).lower() for name, file_name in zip(names, file_names, strict=True)}
        if len(overlays) < len(names):  # of a.bmp, a.png and a.bmp.png
            names = [f"{stem}_{number:06d}" for number, stem in enumerate(stems)]
        self.names = names

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for name, file_name, path in zip(self.names, self.file_names, self.paths, strict=True):
            try:
                image, note = read_image_leniently(path, self.pixels)
            except DataError as error:
                reason = without_path(error, path).partition(": set data.")[0]  # which is for training
                yield Frame(name, file_name, None, reason)
            except MemoryError:
                yield Frame(name, file_name, None, "too large for this machine's memory")
            else:
                yield shown_frame(Frame(name, file_name, None, note), image, self.pixels)


class Video:
    """A video file or a camera (an int), rotated as its metadata say.

    max_frames: frames to read. None: all. pixels: what the network takes.
    """

    pixels = PixelFormat()

    def __init__(self, source: Path | int, file_name: str, name: str, max_frames: int | None = None) -> None:
        self.source, self.file_name, self.name, self.max_frames = source, file_name, name, max_frames
        self.is_camera = isinstance(source, int)
        self.fps, self.header_frames = 25.0, 0
        self._capture: cv2.VideoCapture | None = None
        self._first: np.ndarray | None = None

    def open(self) -> None:
        """Read the header and the first frame. A second call does nothing.

        Raises:
            LightsegError: the video cannot be decoded, or there is no such camera.
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
                raise LightsegError(f"camera {self.source} gives no images: check that it is connected and not in use")
            raise LightsegError(
                f"{self.source}: the video cannot be decoded (empty, damaged, or of a codec that OpenCV does not know)"
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else self.fps
        self.header_frames = 0 if self.is_camera else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not 0 <= self.header_frames < 1e8:  # containers without a count give arbitrary numbers
            self.header_frames = 0
        self._capture = capture

    def __len__(self) -> int:
        """The number of frames in the header, which may be wrong, up to `max_frames`. 0 where it is unknown."""
        counts = [number for number in (self.header_frames, self.max_frames) if number]
        return min(counts, default=0)

    def __iter__(self) -> Iterator[Frame]:
        self.open()
        assert self._capture is not None
        image, self._first = self._first, None
        try:
            for index in count():
                if image is None or (self.max_frames is not None and index >= self.max_frames):
                    break
                frame = Frame(f"{self.name}/{index:06d}", self.file_name, None, index=index)
                yield video_frame(frame, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.pixels)
                try:
                    image = self._capture.read()[1]
                except cv2.error:
                    image = None
            if image is None and index < 0.99 * self.header_frames:  # headers are often wrong by a frame or two
                note = f"ends after {index} of the {self.header_frames} frames that its header declares"
                yield Frame(self.name, self.file_name, None, note, index)
        finally:
            self._capture.release()


Stream = ImageFiles | Video


@dataclass
class Source:
    """What `open_source` opened. note: on files that are neither images nor videos, or None."""

    streams: list[Stream]
    note: str | None = None

    def use(self, pixels: PixelFormat) -> None:
        """Read images as the network takes them."""
        for stream in self.streams:
            stream.pixels = pixels

    @property
    def paths(self) -> list[Path]:
        """Of all files."""
        images = [path for stream in self.streams if isinstance(stream, ImageFiles) for path in stream.paths]
        return images + [
            stream.source for stream in self.streams if isinstance(stream, Video) and isinstance(stream.source, Path)
        ]

    @property
    def file_names(self) -> dict[str, bool]:
        """Names of images, videos and cameras -> whether it has frames."""
        videos = {stream.file_name: True for stream in self.streams if isinstance(stream, Video)}
        images = [name for stream in self.streams if isinstance(stream, ImageFiles) for name in stream.file_names]
        return dict.fromkeys(images, False) | videos


def open_source(
    source: str | Path | int | Sequence[str | Path], *, leave_out: Path | None = None, max_frames: int | None = None
) -> Source:
    """The streams of an image, folder (with all below it), glob, video file, camera index or `.txt` list of images, or
    of several of them.

    leave_out: a folder whose files are ignored, because the results may lie within the source.

    Raises:
        LightsegError: no file or camera, or a single video that cannot be decoded.
    """
    sources = [source] if isinstance(source, str | Path | int) else list(source)
    if not sources:
        raise LightsegError("the list of sources is empty: give an image, folder, glob or video")
    (text, *more) = map(str, sources)
    if not more and text.isdecimal() and (isinstance(sources[0], int) or not Path(text).exists()):
        camera = Video(int(text), f"camera {text}", f"camera_{text}", max_frames)
        camera.open()
        return Source([camera])
    parts = [_files(Path(item)) for item in sources if not isinstance(item, int)]
    files, base = parts[0] if len(parts) == 1 else _joined(parts)
    ignored = None if leave_out is None else leave_out.resolve()
    images: list[Path] = []
    videos: list[Path] = []
    others: list[Path] = []
    for file, by_name in files.items():
        if by_name or ignored not in file.resolve().parents:
            is_video = file.suffix.lower() in VIDEO_ENDINGS
            (videos if is_video else images if by_name or _is_image(file) else others).append(file)
    if not images and not videos:
        reason = f"{len(files)} files, but no image or video among them" if files else "no image or video there"
        raise LightsegError(f"{shorten([text, *more])}: {reason}")
    relative = {file: file.relative_to(base).as_posix() for file in (*images, *videos)}
    image_streams = [ImageFiles([relative[file] for file in images], images)] if images else []
    video_streams = [Video(file, relative[file], relative[file], max_frames) for file in videos]
    if not more and list(files) == [Path(text)] and video_streams:
        video_streams[0].open()
    endings = ", ".join(sorted({file.suffix or file.name for file in others})[:5])
    note = f"{len(others)} other files left out ({endings})" if others else None
    return Source([*image_streams, *video_streams], note)


def is_single_image(path: str | Path) -> bool:
    """Whether it is a file, and neither a video nor a list of images."""
    return Path(path).is_file() and Path(path).suffix.lower() not in VIDEO_ENDINGS | {LIST_ENDING}


Files = dict[Path, bool]  # file -> whether the user names it: then it is read whatever it looks like


def _files(path: Path) -> tuple[Files, Path]:
    """The files of a source, in order, and the folder that their names are relative to."""
    text = str(path)
    if path.is_dir():
        return dict.fromkeys(_files_below(path), False), path
    if path.suffix.lower() == LIST_ENDING and path.is_file():
        paths = _listed(path)
    elif path.exists():
        return {path: True}, path.parent
    elif not glob.has_magic(text):
        raise LightsegError(f"{path}: no such file, folder or camera")
    else:
        paths = [file for file in sorted(map(Path, glob.glob(text, recursive=True))) if not file.is_dir()]
    base = Path(os.path.commonpath([file.parent for file in paths])) if paths else Path()
    return dict.fromkeys(paths, True), base


def _listed(path: Path) -> list[Path]:
    """The files of a list, a path a line, relative to the list's folder or to the working directory.

    Raises:
        LightsegError: it is no text, or lists nothing.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise LightsegError(f"{path} is no list of images: write the path of an image a line, in UTF-8") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise LightsegError(f"{path} lists no images: write the path of an image a line")
    beside = [path.parent / name for name in names]
    files = [file if file.exists() else Path(name) for file, name in zip(beside, names, strict=True)]
    return [Path(os.path.abspath(file)) for file in files]


def _joined(parts: Sequence[tuple[Files, Path]]) -> tuple[Files, Path]:
    """The files of several sources, each once, and their common folder."""
    files: Files = {}
    for part, _ in parts:
        for file, by_name in part.items():
            path = Path(os.path.abspath(file))
            files[path] = by_name or files.get(path, False)
    return files, Path(os.path.commonpath([file.parent for file in files])) if files else Path()


def _is_image(path: Path) -> bool:
    """By its suffix (an unreadable file is then reported), otherwise by its first bytes."""
    ending = path.suffix.lower()
    if ending == NPY_ENDING or Image.registered_extensions().get(ending) in Image.OPEN:
        return True
    try:
        check_image(path)
    except DataError:
        return False
    return True


def _files_below(folder: Path) -> list[Path]:
    """Files in a folder and its subfolders, without hidden ones, sorted."""
    result = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
        result += [path for path in paths if path.is_file() or not path.exists()]  # a pipe would never end
    return result


def without_path(error: Exception, path: Path) -> str:
    return one_line(error).removeprefix(f"{path}: ")
