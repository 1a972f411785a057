"""Lenient decoding of images for prediction.

Intact files give the same pixels as in training (`lightseg.data.io.bands.read_pixels`). Of a truncated or damaged file,
the readable part is decoded (Pillow fills the rest). That, and several images in a file, gives a note.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from lightseg.data.io.bands import check_layout, read_layout, read_pixels
from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import DataError

ANIMATED = (b"GIF8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*")  # GIF, APNG, WebP, TIFF of several pages


def read_image_leniently(path: Path, pixels: PixelFormat | None = None) -> tuple[np.ndarray, str | None]:
    """[H, W, C] with the EXIF orientation applied, and a note on faults of the file, or None.

    pixels: its channels and values. None: uint8 RGB.

    Raises:
        DataError: the file is missing, empty, no image, or has no readable part.
    """
    form = pixels or PixelFormat()
    try:
        return read_pixels(path, form, first_page=True), _animation(path)
    except DataError as error:
        strict_error = error
    if not form.is_rgb:  # the readable part is uint8 RGB
        raise strict_error
    try:
        data = path.read_bytes()
    except OSError:
        raise strict_error from None
    _refuse_form(path, form)
    image = _decode_truncated(data)
    if image is not None:
        return image, "truncated or damaged: the readable part is used"
    raise strict_error


def _refuse_form(path: Path, form: PixelFormat) -> None:
    """Raise DataError for an image whose channels or values are the fault, not damage."""
    try:
        layout = read_layout(path)
    except DataError:
        return
    check_layout(layout._replace(pages=1), path, form)


def _decode_truncated(data: bytes) -> np.ndarray | None:
    """None if nothing can be decoded, or all of it has a single color: Pillow's filling."""
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(io.BytesIO(data)) as decoded:
            image = np.array(ImageOps.exif_transpose(decoded).convert("RGB"))
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    return None if (image == image[0, 0]).all() else image


def _animation(path: Path) -> str | None:
    with open(path, "rb") as file:
        if not file.read(4).startswith(ANIMATED):
            return None
    try:
        with Image.open(path) as decoded:
            frames = getattr(decoded, "n_frames", 1)
    except Exception:  # the image itself was decoded
        return None
    return f"animated or of several pages: the first of {frames} is used" if frames > 1 else None
