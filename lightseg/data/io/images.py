"""Reading images and label images from files, exactly and fast, or saying why a file cannot be read.

Images come back as uint8 RGB as a person would see them (EXIF orientation applied), label images as the stored ids.
OpenCV decodes JPEG and PNG, where it is faster than PIL and equal to it to the bit (a test holds them against each
other). PIL does the rest, and two things that OpenCV does otherwise: CMYK JPEG (another color conversion) and palette
labels (colors, not indices).

A cut JPEG is not an error to every OpenCV version: it may come back with its lower part grey. The end of the file is
therefore looked for before decoding, which costs nothing: a whole JPEG has an end marker after its last scan, a whole
PNG an IEND chunk.
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
_PNG_GREY = 0  # color type in the header
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | Path) -> np.ndarray:
    """An image as uint8 [H, W, 3] RGB. Grey is repeated, alpha dropped, 16 bit cut to 8, EXIF orientation applied.

    Raises DataError, naming the path, for a file that is missing, empty, cut short or no image.
    """
    data = _read_whole(path)
    # A JPEG that begins with FFD8FF has its number of color components in its frame header; 4 are CMYK or YCCK.
    if data.startswith(_PNG) or (data.startswith(_JPEG) and _jpeg_components(data) in (1, 3)):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is not None:
            return image
    decoded = ImageOps.exif_transpose(_decode(data, path))
    if decoded.mode.startswith("I"):  # 16-bit grey TIFF and the like; PIL's own conversion clips at 255
        grey = (np.asarray(decoded).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(decoded.convert("RGB"))


def read_mask(path: str | Path) -> np.ndarray:
    """A label image as uint8 [H, W] ids, as stored: palette indices, not colors; 1, 2 and 4 bit unscaled.

    Raises DataError, naming the path, for an unreadable file, one with several channels, and ids above 255.
    """
    data = _read_whole(path)
    png_depth, png_color = (data[24], data[25]) if data.startswith(_PNG) and len(data) > 25 else (8, None)
    if png_color == _PNG_GREY and png_depth >= 8:
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
    if png_color == _PNG_GREY and png_depth in (2, 4):
        mask = mask // (255 // (2**png_depth - 1))  # PIL stretches such grey values over 0..255
    return mask


def read_size(path: str | Path, *, oriented: bool = True) -> tuple[int, int]:
    """(height, width) from the file's header alone; `oriented` as `read_image` gives it, else as stored (labels)."""
    try:
        with Image.open(path) as decoded:
            width, height = decoded.size
            turned = oriented and decoded.getexif().get(_EXIF_ORIENTATION, 1) >= 5  # 5..8: by a quarter
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def check_picture(path: str | Path) -> None:
    """DataError for a file that does not begin like an image. Of the usual formats 12 bytes tell it, in a seventh of
    the time that `read_size` takes; of the others PIL does.
    """
    try:
        with open(path, "rb") as file:
            begin = file.read(12)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not begin:
        raise DataError(f"{path}: the file is empty")
    webp = begin.startswith(b"RIFF") and begin.endswith(b"WEBP")
    if not (webp or begin.startswith((_JPEG, _PNG, b"GIF8"))):
        read_size(path)


def _read_whole(path: str | Path) -> bytes:
    """The bytes of a file; an error where it is missing or empty, or is a JPEG or PNG without its end."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
    if not data:
        raise DataError(f"{path}: the file is empty")
    if data.startswith(_JPEG):
        # Inside scan data FF is never followed by D9 or DA, so an end marker before the last scan is a thumbnail's.
        whole = data.endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    else:
        whole = not data.startswith(_PNG) or data.rfind(_PNG_END) >= 0
    if not whole:
        raise DataError(f"{path}: the image is truncated (its end is missing); copy or download the file again")
    return data


def _jpeg_components(data: bytes) -> int:
    """The number of color components that a JPEG's frame header declares; 0 where none is found."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # SOF0..15; C4, C8, CC are tables
            return data[at + 9]
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _decode(data: bytes, path: str | Path) -> Image.Image:
    """PIL's image of `data`, decoded; whatever PIL raises for a damaged file becomes a DataError."""
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
        raise DataError(f"{path}: label ids must lie in 0..255, but this one holds {mask.min()}..{mask.max()}")
    return mask.astype(np.uint8)


def _unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    reason = "no image in a known format" if "cannot identify" in str(error) else str(error) or type(error).__name__
    return DataError(f"{path}: not readable as an image ({reason})")
