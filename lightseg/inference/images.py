"""Images in memory (arrays, PIL images, encoded bytes) and paths as frames."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from lightseg.data.io.bands import decode_pixels
from lightseg.data.io.frame import Frame, shown_frame
from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import LightsegError, one_line
from lightseg.inference.media import ImageFiles

IN_MEMORY = (np.ndarray, np.generic, Image.Image, bytes, bytearray, memoryview)
PATHS = (str, Path)


def to_frame(item: Any, index: int, pixels: PixelFormat | None = None) -> Frame:
    """The frame of an image of any kind; one that cannot be used has no image and says why in its note.

    index: position in the source. pixels: what the network takes; None: uint8 RGB.
    """
    form = pixels or PixelFormat()
    if isinstance(item, PATHS):
        files = ImageFiles([str(item)], [Path(item)])
        files.pixels = form
        (frame,) = files
        return frame
    file_name = f"image {index}"
    try:
        return shown_frame(Frame(f"image_{index:06d}", file_name, None), to_pixels(item, form), form)
    except LightsegError as error:
        return Frame(f"image_{index:06d}", file_name, None, one_line(error))


def to_pixels(item: Any, form: PixelFormat | None = None) -> np.ndarray:
    """uint8 RGB [H, W, 3], or [H, W, C] of a form, of an image in memory. An array is not copied.

    Raises:
        LightsegError: an array of another dtype or shape, bytes that are no image, or an object of another kind.
    """
    if form is not None and not form.is_rgb:
        return _of_form(item, form)
    if isinstance(item, np.ndarray):
        return _checked(item)
    if isinstance(item, Image.Image):
        return _of_pil(item)
    if isinstance(item, bytes | bytearray | memoryview):
        return _decoded(bytes(item))
    raise LightsegError(
        f"an image of type {type(item).__name__}: give a path, a PIL image, bytes of an image file, or a NumPy array "
        "uint8 [height, width, 3]"
    )


def _of_form(item: Any, form: PixelFormat) -> np.ndarray:
    expected = f"[height, width, {form.channels}] of {form.dtype}"
    if isinstance(item, bytes | bytearray | memoryview):
        return decode_pixels(bytes(item), f"{len(item)} bytes", form, first_page=True)
    if form == PixelFormat(channels=1) and (
        isinstance(item, Image.Image) or (np.ndim(item) == 3 and np.shape(item)[2] == 3)
    ):
        return form.from_rgb(to_pixels(item))
    array = np.asarray(item)
    if array.ndim == 2 and form.channels == 1:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] != form.channels or array.dtype != form.dtype or not array.size:
        raise LightsegError(f"an array of shape {list(array.shape)} of {array.dtype}: give {expected}")
    return np.ascontiguousarray(array)


def _checked(array: np.ndarray) -> np.ndarray:
    advice = {2: "repeat a gray image, as in np.repeat(image[..., None], 3, 2)", 4: "give a batch as list(images)"}
    if array.ndim != 3 or array.shape[2] != 3:
        if array.ndim == 3 and array.shape[0] == 3:
            hint = "move the channels to the end, as in image.transpose(1, 2, 0)"
        elif array.ndim == 3 and array.shape[2] == 4:
            hint = "leave alpha out, as in image[..., :3]"
        else:
            hint = advice.get(array.ndim, "give RGB")
        raise LightsegError(f"an array of shape {list(array.shape)} in place of [height, width, 3]: {hint}")
    if array.dtype != np.uint8:
        raise LightsegError(f"an array of {array.dtype} in place of uint8: give values from 0 to 255 as uint8")
    if not array.size:
        raise LightsegError(f"an array of shape {list(array.shape)} has no pixels: give an image")
    return np.ascontiguousarray(array)


def _of_pil(image: Image.Image) -> np.ndarray:
    """As `lightseg.data.io.images.read_image` decodes a file."""
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            gray = (np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(gray[..., None], 3, axis=2)
        pixels = np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # lazily decoded, truncated
        raise LightsegError(f"a PIL image that cannot be decoded ({one_line(error)})") from error
    return _checked(pixels)


def _decoded(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _of_pil(image)
    except LightsegError:
        raise
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise LightsegError(
            f"{len(data)} bytes that are no image in a known format: give the content of an image file"
        ) from error
