"""Images of any number of bands, and of values that are not 8 bit: `data.channels` and `data.range`.

PNG, JPEG, TIFF, NumPy's `.npy` ([height, width] or [height, width, bands]) and what else Pillow reads. A file of
several pages is refused: which of them is the image is not known.
"""

import io
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from lightseg.data.io.images import (
    PNG,
    UNTURNED,
    check_complete,
    check_pixel_count,
    decode,
    jpeg_components,
    read_bytes,
    read_header_of,
    read_image_of,
    turned,
    unreadable,
)
from lightseg.data.io.npy import NPY, npy_header
from lightseg.data.io.pixels import PixelFormat, gray
from lightseg.data.io.tiff import TIFF, tiff_pages
from lightseg.errors import DataError
from lightseg.optional_imports import need

_JPEG = b"\xff\xd8\xff"
_SAMPLE_KINDS = {1: "uint", 2: "int", 3: "float"}
_PALETTE, _GRAYS = 3, (0, 1)  # TIFF's photometric interpretations
_ALPHA, _NOT_AN_IMAGE = (1, 2), 1 | 4  # extra samples; subfiles: a smaller copy, a mask
_MODES = {"1": 1, "L": 1, "LA": 2, "La": 2, "RGBA": 4, "RGBa": 4, "PA": 4}  # Pillow's modes -> bands; others: 3
_BY_PILLOW = ("uint8", "uint16", "int32", "float32")  # types of gray
_KINDS = {"I": "int32", "F": "float32"}


class Layout(NamedTuple):
    """What a file holds, by its header.

    Attributes:
        bands: its number of channels; a palette's are those of its colors.
        kind: NumPy's name of the type of its values.
        color: whether the first three bands are RGB.
        alpha: whether the last band is opacity.
        pages: the number of its images, without smaller copies and masks.
        palette: whether Pillow alone makes colors of its values: indices, or inks.
        plain: whether Pillow reads all of it.
    """

    bands: int
    kind: str
    color: bool
    alpha: bool = False
    pages: int = 1
    palette: bool = False
    plain: bool = True


def read_pixels(path: str | Path, form: PixelFormat, *, oriented: bool = True, first_page: bool = False) -> np.ndarray:
    """The image of a file as [H, W, channels] of the form's type, with its orientation applied if `oriented`.

    first_page: read the first page of a file of several, which are otherwise refused.

    Raises:
        DataError: a file that is missing, truncated, no image, too large, of several pages, lacks channels, or whose
            values are of another type.
    """
    return decode_pixels(read_bytes(path), path, form, oriented=oriented, first_page=first_page)


def decode_pixels(
    data: bytes, path: str | Path, form: PixelFormat, *, oriented: bool = True, first_page: bool = False
) -> np.ndarray:
    """Like `read_pixels`, of the contents of a file. path: for error texts."""
    if form.is_rgb and data.startswith((_JPEG, PNG)):
        return read_image_of(data, path, oriented=oriented)
    check_complete(data, path)
    layout = _layout(io.BytesIO(data), path)
    check_layout(layout._replace(pages=1) if first_page else layout, path, form)
    if form.is_rgb and layout.plain:
        return read_image_of(data, path, oriented=oriented)
    return _converted(_stored(data, path, layout, oriented), layout, form)


def check_pixels(path: str | Path, form: PixelFormat) -> None:
    """Raise DataError for a file that `read_pixels` refuses by its header. JPEG and PNG that are read as RGB fit."""
    try:
        with open(path, "rb") as file:
            if form.is_rgb and file.read(8).startswith((_JPEG, PNG)):
                return
            file.seek(0)
            layout = _layout(file, path)
    except OSError as error:
        raise unreadable(path, error) from error
    check_layout(layout, path, form)


def read_layout(path: str | Path) -> Layout:
    """Raises DataError for a file that is no image."""
    try:
        with open(path, "rb") as file:
            return _layout(file, path)
    except OSError as error:
        raise unreadable(path, error) from error


def check_layout(layout: Layout, path: str | Path, form: PixelFormat) -> None:
    """Raise DataError where a file does not give the channels and values of a form."""
    if layout.pages > 1:
        raise DataError(
            f"{path} has {layout.pages} pages: save each as a file of its own, or all as the bands of one page"
        )
    count = layout.bands
    if form.bands is not None:
        if max(form.bands) >= count:
            raise DataError(
                f"{path} has {count} channels, and data.channels={list(form.bands)} asks for number "
                f"{max(form.bands)}, counted from 0: choose others"
            )
    elif count != form.channels and not _is_convertible(layout, form.channels):
        listed = list(range(form.channels))
        which = f", or some of them, as in data.channels={listed}" if count > form.channels else ""
        raise DataError(f"{path} has {count} channels, not {form.channels}: set data.channels={count}{which}")
    if form.dtype == "uint8" and layout.kind not in ("uint8", "uint16"):
        raise DataError(
            f"{path} holds {layout.kind} values: set data.range=[lowest, highest], or data.range=auto for that of a "
            "sample of the images"
        )
    if form.dtype != "uint8" and dtype_of(layout.kind) != form.dtype:
        low, high = form.value_range
        raise DataError(
            f"{path} holds {layout.kind} values, where {form.dtype} from {low:g} to {high:g} is read: give such files"
        )


def dtype_of(kind: str) -> str:
    """The type of a `PixelFormat` that holds values of a file's type."""
    return kind if kind in ("uint8", "uint16") else "float32"


def _converted(pixels: np.ndarray, layout: Layout, form: PixelFormat) -> np.ndarray:
    """Stored pixels [H, W, bands], checked by `check_layout`, in a form, [H, W, channels]."""
    count, channels = pixels.shape[2], form.channels
    if form.bands is not None:
        pixels = pixels[..., list(form.bands)]
    elif count != channels and channels == 1:
        pixels = gray(pixels) if layout.color else pixels[..., :1]
    elif count != channels:  # gray, or with alpha
        pixels = pixels[..., :3] if layout.color else np.repeat(pixels[..., :1], 3, 2)
    if form.dtype == "uint8" and pixels.dtype == np.uint16:
        pixels = pixels >> 8
    pixels = np.ascontiguousarray(pixels, form.dtype)
    if form.dtype == "float32" and not np.isfinite(pixels).all():  # areas without data
        pixels = np.nan_to_num(pixels, copy=False, nan=form.value_range[0])
    return pixels


def _is_convertible(layout: Layout, channels: int) -> bool:
    """Whether a file's bands give `channels` without a loss that is not asked for: gray repeated or mixed, alpha
    dropped."""
    solid = layout.bands - layout.alpha
    return (channels == 3 and solid in (1, 3) and (solid == 1 or layout.color)) or (
        channels == 1 and (solid == 1 or (solid == 3 and layout.color))
    )


def _layout(file: BinaryIO, path: str | Path) -> Layout:
    start = file.read(26)
    file.seek(0)
    if start.startswith(NPY):
        shape, dtype = npy_header(file, path)
        return Layout(
            shape[2] if len(shape) == 3 else 1, dtype.name, len(shape) == 3 and shape[2] in (3, 4), plain=False
        )
    if start.startswith(TIFF):
        return _tiff_layout(file, path)
    if start.startswith(PNG) and len(start) == 26:
        kind = "uint16" if start[24] == 16 else "uint8"
        bands, color = {0: (1, False), 2: (3, True), 3: (3, True), 4: (2, False), 6: (4, True)}.get(
            start[25], (3, True)
        )
        return Layout(bands, kind, color, alpha=start[25] in (4, 6), palette=start[25] == 3)
    if start.startswith(_JPEG):
        count = jpeg_components(file.read())
        return Layout(1, "uint8", False) if count == 1 else Layout(3, "uint8", True)
    try:
        with Image.open(file) as image:
            mode = image.mode
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise unreadable(path, error) from error
    if mode.startswith("I;16"):
        return Layout(1, "uint16", False)
    if mode in _KINDS:
        return Layout(1, _KINDS[mode], False)
    bands = _MODES.get(mode, 3)
    return Layout(bands, "uint8", bands > 2, alpha=bands in (2, 4), palette=mode == "P")


def _tiff_layout(file: BinaryIO, path: str | Path) -> Layout:
    try:
        pages = [page for page in tiff_pages(file) if not page.get(254, 0) & _NOT_AN_IMAGE]
        first = pages[0]
        bits = first.get(258, (1,))
        kind = _SAMPLE_KINDS.get((first.get(339) or (1,))[0], "uint")
        size = next((size for size in (8, 16, 32, 64) if max(bits) <= size), 64)
        contiguous = first.get(284, 1) == 1
        bands, photometric, extra = first.get(277, 1), first.get(262, 1), first.get(338, ())
    except MemoryError:
        raise
    except Exception as error:  # a damaged directory
        raise unreadable(path, error) from error
    alpha = len(extra) == 1 and extra[0] in _ALPHA
    if photometric == _PALETTE:
        return Layout(3, "uint8", True, pages=len(pages), palette=True)
    if photometric == 5:  # CMYK
        return Layout(3, "uint8", True, pages=len(pages), palette=True)
    color = photometric not in _GRAYS and bands >= 3
    plain = (bands == 1 and f"{kind}{size}" in _BY_PILLOW) or (
        (color and contiguous and f"{kind}{size}" == "uint8") and (bands == 3 or (bands == 4 and alpha))
    )
    return Layout(bands, f"{kind}{size}", color, alpha, len(pages), plain=plain)


def _stored(data: bytes, path: str | Path, layout: Layout, oriented: bool) -> np.ndarray:
    """The pixels [H, W, bands] in the file's own type, colors as RGB."""
    if data.startswith(NPY):
        pixels = np.load(io.BytesIO(data), allow_pickle=False)
        height, width = pixels.shape[:2]
        check_pixel_count(height, width, path)
        return pixels if pixels.ndim == 3 else pixels[..., None]
    orientation = read_header_of(data, path).orientation if oriented else 1
    if data.startswith(TIFF) and not (layout.palette or layout.plain):
        return turned(_tiff(data, path, layout), orientation)
    if layout.kind == "uint16" and data.startswith(PNG):
        flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        return turned(_rgb_first(_opencv(data, path, flags), layout.bands), orientation)
    decoded = decode(data, path)
    if decoded.format == "TIFF":  # Pillow has turned it
        full = read_header_of(data, path).orientation
        orientation = 1 if oriented else UNTURNED.get(full, full)
    if layout.palette or decoded.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBa", "La"):
        decoded = decoded.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[layout.bands])
    pixels = np.array(decoded)
    return turned(pixels if pixels.ndim == 3 else pixels[..., None], orientation)


def _tiff(data: bytes, path: str | Path, layout: Layout) -> np.ndarray:
    """As stored. OpenCV knows more compressions, but does not keep the order of bands that are no colors."""
    if layout.color and layout.bands in (3, 4) and layout.kind != "uint8":
        pixels = _opencv(data, path, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION, required=False)
        if pixels is not None and pixels.dtype.name == layout.kind and pixels.ndim == 3:
            return _rgb_first(pixels, layout.bands)
    tifffile = need("tifffile")
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            pixels, axes = page.asarray(), page.axes
    except MemoryError:
        raise
    except Exception as error:  # a compression that it lacks, damaged data
        raise unreadable(path, error) from error
    if axes.startswith("S") and pixels.ndim == 3:  # a plane a band
        pixels = np.moveaxis(pixels, 0, 2)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _opencv(data: bytes, path: str | Path, flags: int, *, required: bool = True) -> Any:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None and required:
        raise DataError(f"{path}: not readable as an image (OpenCV cannot decode it)")
    return pixels


def _rgb_first(pixels: np.ndarray, bands: int) -> np.ndarray:
    """OpenCV's BGR, BGRA or gray as [H, W, bands] in the file's order; gray with alpha is BGRA."""
    if pixels.ndim == 2:
        return pixels[..., None]
    order = {2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[bands]
    return np.ascontiguousarray(pixels[..., order])
