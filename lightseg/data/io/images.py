"""Decoding of images and label images. DataError, with the path and the reason, for files that cannot be read.

Images are uint8 RGB with the EXIF orientation applied, label images the stored ids. OpenCV decodes JPEG and PNG, where
it is faster than PIL and bit for bit equal (a test compares them). PIL decodes the rest, and two cases in which OpenCV
differs: CMYK JPEG (another color conversion) and palette labels (colors, not indices).

Some versions of OpenCV decode a truncated JPEG without an error and fill its lower part with gray. So the end of the
file is checked before decoding: a complete JPEG has an end marker after its last scan, a complete PNG an IEND chunk.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from lightseg.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum
_JPEG = b"\xff\xd8\xff"
_PNG_GRAY = 0  # color type in the header
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | Path) -> np.ndarray:
    """An image as uint8 [H, W, 3] RGB: gray is repeated, alpha dropped, 16 bit cut to 8, EXIF orientation applied.

    Raises DataError for a file that is missing, empty, truncated or no image.
    """
    data = _read_bytes(path)
    # JPEGs with 4 color components are CMYK or YCCK.
    if data.startswith(_PNG) or (data.startswith(_JPEG) and _jpeg_components(data) in (1, 3)):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is not None:
            return image
    decoded = ImageOps.exif_transpose(_decode(data, path))
    if decoded.mode.startswith("I"):  # 16-bit gray TIFF and the like; PIL's own conversion clips at 255
        gray = (np.asarray(decoded).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    return np.array(decoded.convert("RGB"))


def read_mask(path: str | Path) -> np.ndarray:
    """A label image as uint8 [H, W], the stored ids: palette indices, not colors; 1, 2 and 4 bit not scaled.

    Raises DataError for an unreadable file, several channels, and ids above 255.
    """
    data = _read_bytes(path)
    png_depth, png_color = (data[24], data[25]) if data.startswith(_PNG) and len(data) > 25 else (8, None)
    if png_color == _PNG_GRAY and png_depth >= 8:
        mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if mask is not None and mask.ndim == 2:
            return mask if mask.dtype == np.uint8 else _to_uint8(mask, path)
    decoded = _decode(data, path)
    if decoded.mode not in ("1", "L", "P") and not decoded.mode.startswith("I"):
        raise DataError(
            f"{path}: a label image holds one class id a pixel, but this one is {decoded.mode} "
            f"({len(decoded.getbands())} channels); give the colors of the classes (`colors`) or convert it to ids"
        )
    mask = _to_uint8(np.array(decoded), path)
    if png_color == _PNG_GRAY and png_depth in (2, 4):
        mask = mask // (255 // (2**png_depth - 1))  # PIL scales such gray values to 0..255
    return mask


def read_size(path: str | Path, *, oriented: bool = True) -> tuple[int, int]:
    """(height, width) from the file's header; with `oriented` as in `read_image`, otherwise as stored (labels)."""
    try:
        with Image.open(path) as decoded:
            width, height = decoded.size
            transposed = oriented and decoded.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return (width, height) if transposed else (height, width)


def check_image(path: str | Path) -> None:
    """Raise DataError for a file without the signature of an image format. The common formats need 12 bytes and a
    seventh of the time of `read_size`, which checks the others.
    """
    try:
        with open(path, "rb") as file:
            signature = file.read(12)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not signature:
        raise DataError(f"{path}: the file is empty")
    webp = signature.startswith(b"RIFF") and signature.endswith(b"WEBP")
    if not (webp or signature.startswith((_JPEG, _PNG, b"GIF8"))):
        read_size(path)


def _read_bytes(path: str | Path) -> bytes:
    """The bytes of a file. Raises DataError if it is missing, empty or a truncated JPEG or PNG."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
    if not data:
        raise DataError(f"{path}: the file is empty")
    if data.startswith(_JPEG):
        # In scan data, FF is never followed by D9 or DA: an end marker before the last scan belongs to a thumbnail.
        complete = data.endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    else:
        complete = not data.startswith(_PNG) or data.rfind(_PNG_END) >= 0
    if not complete:
        raise DataError(f"{path}: the image is truncated (its end is missing); copy or download the file again")
    return data


def _jpeg_components(data: bytes) -> int:
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


def _decode(data: bytes, path: str | Path) -> Image.Image:
    """`data` decoded by PIL. Raises DataError for any error of PIL."""
    try:
        decoded = Image.open(io.BytesIO(data))
        decoded.load()
    except MemoryError:
        raise
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise _unreadable(path, error) from error
    return decoded


def _to_uint8(mask: np.ndarray, path: str | Path) -> np.ndarray:
    if mask.size and (mask.max() > 255 or mask.min() < 0):
        raise DataError(f"{path}: label ids must lie in 0..255, but this image has {mask.min()}..{mask.max()}")
    return mask.astype(np.uint8)


def _unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    reason = "no image in a known format" if "cannot identify" in str(error) else str(error) or type(error).__name__
    return DataError(f"{path}: not readable as an image ({reason})")
