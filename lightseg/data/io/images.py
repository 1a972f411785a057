"""Decoding of images and label images. DataError, with the path and the reason, for files that cannot be read.

Images are uint8 RGB with their orientation applied, label images the stored ids. The orientation is that of the EXIF
data or, without it, of XMP; values other than 1..8 mean 1. Header and pixels have it from the same function.

OpenCV decodes JPEG and PNG, where it is faster than PIL and bit for bit equal (a test compares them). PIL decodes the
rest, and two cases in which OpenCV differs: CMYK JPEG (another color conversion) and palette labels (colors, not
indices).

Some versions of OpenCV decode a truncated JPEG without an error and fill its lower part with gray. So the end of the
file is checked before decoding: a complete JPEG has an end marker after its last scan, a complete PNG an IEND chunk.
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from lightseg.data.io.npy import NPY, npy_header
from lightseg.data.io.tiff import first_tags
from lightseg.errors import DataError, LightsegError

PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum
_JPEG = b"\xff\xd8\xff"
_PNG_GRAY = 0  # color type in the header
_PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may have an orientation
_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 256, 257
UNTURNED = {6: 8, 8: 6}  # the orientation that undoes another; the others undo themselves

LIMIT = "LIGHTSEG_MAX_MEGAPIXELS"  # environment variable
DEFAULT_LIMIT = 1000  # megapixels: 3 GB decoded
Image.MAX_IMAGE_PIXELS = None  # `read_header` has the limit, in words


class Header(NamedTuple):
    """Height and width in pixels as stored, and the orientation 1..8: 1 is as stored, 5 to 8 swap height and width."""

    height: int
    width: int
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as displayed."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(path: str | Path) -> Header:
    """The size and the orientation of an image. Raises DataError for a file that is no image, or too large."""
    try:
        with open(path, "rb") as file:
            return _header(file, path)
    except OSError as error:
        raise unreadable(path, error) from error


def read_header_of(data: bytes, path: str | Path) -> Header:
    """`read_header` of the contents of a file. path: for error texts."""
    return _header(io.BytesIO(data), path)


def read_size(path: str | Path, *, oriented: bool = True) -> tuple[int, int]:
    """(height, width) from the file's header; with `oriented` as in `read_image`, otherwise as stored (labels)."""
    header = read_header(path)
    return header.size if oriented else (header.height, header.width)


def read_image(path: str | Path, *, oriented: bool = True) -> np.ndarray:
    """An image as uint8 [H, W, 3] RGB: gray is repeated, alpha dropped, 16 bit cut to 8, orientation applied.

    oriented: False leaves the pixels as they are stored. Raises DataError for a file that is missing, empty, truncated,
    no image, or too large.
    """
    return read_image_of(read_bytes(path), path, oriented=oriented)


def read_image_of(data: bytes, path: str | Path, *, oriented: bool = True) -> np.ndarray:
    """`read_image` of the contents of a file. path: for error texts."""
    check_complete(data, path)
    orientation = read_header_of(data, path).orientation
    # JPEGs with 4 color components are CMYK or YCCK.
    if data.startswith(PNG) or (data.startswith(_JPEG) and jpeg_components(data) in (1, 3)):
        image = _decode_fast(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is not None:
            return turned(image, orientation) if oriented else image
    decoded = decode(data, path)
    if decoded.format == "TIFF":  # PIL has turned it
        orientation = 1 if oriented else UNTURNED.get(orientation, orientation)
    elif not oriented:
        orientation = 1
    if decoded.mode.startswith("I"):  # 16-bit gray TIFF and the like; PIL's own conversion clips at 255
        gray = (np.asarray(decoded).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return turned(np.repeat(gray[..., None], 3, axis=2), orientation)
    return turned(np.array(decoded.convert("RGB")), orientation)


def read_mask(path: str | Path) -> np.ndarray:
    """A label image as uint8 [H, W], the stored ids: palette indices, not colors; 1, 2 and 4 bit not scaled.

    Raises DataError for an unreadable file, several channels, and ids above 255.
    """
    data = _read_bytes(path)
    png_depth, png_color = (data[24], data[25]) if data.startswith(PNG) and len(data) > 25 else (8, None)
    if png_color == _PNG_GRAY and png_depth >= 8:
        mask = _decode_fast(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if mask is not None and mask.ndim == 2:
            return mask if mask.dtype == np.uint8 else _to_uint8(mask, path)
    decoded = decode(data, path)
    if decoded.mode not in ("1", "L", "P") and not decoded.mode.startswith("I"):
        raise DataError(
            f"{path}: a label image holds one class id a pixel, but this one is {decoded.mode} "
            f"({len(decoded.getbands())} channels); give the colors of the classes (`colors`) or convert it to ids"
        )
    mask = np.array(decoded)
    if decoded.format == "TIFF":  # PIL has turned it
        orientation = read_header_of(data, path).orientation
        mask = turned(mask, UNTURNED.get(orientation, orientation))
    mask = _to_uint8(mask, path)
    if png_color == _PNG_GRAY and png_depth in (2, 4):
        mask = mask // (255 // (2**png_depth - 1))  # PIL scales such gray values to 0..255
    return mask


def check_image(path: str | Path) -> None:
    """Raise DataError for a file without the signature of an image format. The common formats need 12 bytes and a
    seventh of the time of `read_size`, which checks the others.
    """
    try:
        with open(path, "rb") as file:
            signature = file.read(12)
    except OSError as error:
        raise unreadable(path, error) from error
    if not signature:
        raise DataError(f"{path}: the file is empty")
    webp = signature.startswith(b"RIFF") and signature.endswith(b"WEBP")
    if not (webp or signature.startswith((_JPEG, PNG, b"GIF8"))):
        read_size(path)


def read_bytes(path: str | Path) -> bytes:
    """The contents of a file. Raises DataError if it cannot be opened."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error


def _read_bytes(path: str | Path) -> bytes:
    """The bytes of a file. Raises DataError if it is missing, empty or a truncated JPEG or PNG."""
    data = read_bytes(path)
    check_complete(data, path)
    return data


def check_complete(data: bytes, path: str | Path) -> None:
    """Raise DataError for the contents of a file that is empty or a truncated JPEG or PNG."""
    if not data:
        raise DataError(f"{path}: the file is empty")
    if data.startswith(_JPEG):
        # In scan data, FF is never followed by D9 or DA: an end marker before the last scan belongs to a thumbnail.
        complete = data.endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    else:
        complete = not data.startswith(PNG) or data.rfind(_PNG_END) >= 0
    if not complete:
        raise DataError(f"{path}: the image is truncated (its end is missing); copy or download the file again")


def _header(file: BinaryIO, path: str | Path) -> Header:
    if file.read(len(NPY)) == NPY:
        file.seek(0)
        (height, width, *_), _ = npy_header(file, path)
        return Header(*check_pixel_count(height, width, path), 1)
    file.seek(0)
    try:
        header = _header_by_pillow(file)
    except MemoryError:
        raise
    except Exception as error:
        if file.seek(0, os.SEEK_END) == 0:
            raise DataError(f"{path}: the file is empty") from error
        tags = first_tags(file)  # of a TIFF of five bands, which Pillow does not know
        if tags is None:
            raise unreadable(path, error) from error
        header = Header(tags[_TIFF_HEIGHT], tags[_TIFF_WIDTH], _known(tags.get(_EXIF_ORIENTATION, 1)))
    check_pixel_count(header.height, header.width, path)
    return header


def _header_by_pillow(file: BinaryIO) -> Header:
    plain = _is_plain_png(file)
    file.seek(0)
    with Image.open(file) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # PIL's size is as displayed for some orientations
            width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
        return Header(height, width, 1 if plain else _orientation(image))


def check_pixel_count(height: int, width: int, path: str | Path) -> tuple[int, int]:
    """Height and width. Raises DataError for more pixels than the limit."""
    limit = os.environ.get(LIMIT, str(DEFAULT_LIMIT))
    if not limit.isdecimal():
        raise LightsegError(f"{LIMIT}={limit}: must be a whole number of megapixels")
    if height * width > int(limit) * 10**6:
        raise DataError(
            f"{path}: {width}x{height} (width x height) are more than {limit} megapixels; set the environment "
            f"variable {LIMIT} to read it"
        )
    return height, width


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data, which decoders ignore
        return 1
    return _known(value)


def _known(orientation: Any) -> int:
    return orientation if orientation in range(1, 9) else 1


def _is_plain_png(file: BinaryIO) -> bool:
    """Whether it is a PNG without metadata. PIL would decode the image to look for it."""
    if file.read(len(PNG)) != PNG:
        return False
    while len(start := file.read(8)) == 8 and start[4:] != b"IEND":
        if start[4:] in _PNG_METADATA:
            return False
        file.seek(int.from_bytes(start[:4], "big") + 4, os.SEEK_CUR)  # the contents and their checksum
    return True


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [H, W, ...] as they are displayed, contiguous."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_fast(data: bytes, flags: int) -> np.ndarray | None:
    """`data` decoded by OpenCV; None if it cannot."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # its own limit of size
        return None


def jpeg_components(data: bytes) -> int:
    """The number of color components in a JPEG's frame header; 0 without a frame header."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # SOF0..15; C4, C8, CC are tables
            return data[position + 9]
        if marker == 0xFF:  # a fill byte
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0


def decode(data: bytes, path: str | Path) -> Image.Image:
    """`data` decoded by PIL. Raises DataError for any error of PIL."""
    try:
        decoded = Image.open(io.BytesIO(data))
        decoded.load()
    except MemoryError:
        raise
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise unreadable(path, error) from error
    return decoded


def _to_uint8(mask: np.ndarray, path: str | Path) -> np.ndarray:
    if mask.size and (mask.max() > 255 or mask.min() < 0):
        raise DataError(f"{path}: label ids must lie in 0..255, but this image has {mask.min()}..{mask.max()}")
    return mask.astype(np.uint8)


def unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    reason = "no image in a known format" if "cannot identify" in str(error) else str(error) or type(error).__name__
    return DataError(f"{path}: not readable as an image ({reason})")
