"""Reading a stranger's image: as in training where it is whole, as far as it goes where it is not.

`lightseg.data.io.images.read_image` reads for training and refuses whatever is cut or damaged. Here it comes first, so
that a sound file gives the same pixels. What it refuses is decoded as far as it goes (Pillow fills the rest), with a
note. A file of several images also gets a note: the first one counts.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from lightseg.data.io.images import read_image
from lightseg.errors import DataError

ANIMATED = (b"GIF8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*")  # GIF, APNG, WebP, TIFF of several pages


def read_image_leniently(path: Path) -> tuple[np.ndarray, str | None]:
    """uint8 RGB [H, W, 3], upright as its EXIF data say, and a note on what is not as it should be, or None.

    Raises:
        DataError: missing, empty, no image, or so damaged that nothing can be seen.
    """
    try:
        return read_image(path), _animation(path)
    except DataError as error:
        refused = error
    try:
        data = path.read_bytes()
    except OSError:
        raise refused from None
    image = _as_far_as_it_goes(data)
    if image is not None:
        return image, "cut short or damaged: read as far as it goes"
    raise refused


def _as_far_as_it_goes(data: bytes) -> np.ndarray | None:
    """None where nothing can be decoded, or what could be is one single color: the filling."""
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(io.BytesIO(data)) as picture:
            image = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
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
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
    except Exception:  # it was decoded: a header that Pillow stumbles over is no loss
        return None
    return f"animated or of several pages: the first of {frames} is taken" if frames > 1 else None
