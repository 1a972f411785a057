"""Lenient decoding of images for prediction.

Intact files give the same pixels as in training (`lightseg.data.io.images.read_image`). Of a truncated or damaged file,
the readable part is decoded (Pillow fills the rest). That, and several images in a file, gives a note.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from lightseg.data.io.images import read_image
from lightseg.errors import DataError

ANIMATED = (b"GIF8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*")  # GIF, APNG, WebP, TIFF of several pages


def read_image_leniently(path: Path) -> tuple[np.ndarray, str | None]:
    """uint8 RGB [H, W, 3] with the EXIF orientation applied, and a note on faults of the file, or None.

    Raises:
        DataError: the file is missing, empty, no image, or has no readable part.
    """
    try:
        return read_image(path), _animation(path)
    except DataError as error:
        strict_error = error
    try:
        data = path.read_bytes()
    except OSError:
        raise strict_error from None
    image = _decode_truncated(data)
    if image is not None:
        return image, "truncated or damaged: the readable part is used"
    raise strict_error


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
