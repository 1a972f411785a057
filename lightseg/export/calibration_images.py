"""The images that an export is compared and calibrated on: of a folder, otherwise synthetic streets."""

from pathlib import Path

import cv2
import numpy as np

from lightseg.data.io.bands import read_pixels
from lightseg.data.io.pixels import PixelFormat, resized
from lightseg.errors import LightsegError
from lightseg.streets import render

ENDINGS = (".bmp", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp")
Size = tuple[int, int]  # height, width


def read_folder(
    folder: str | Path, size: Size | None, pixels: PixelFormat | None = None, max_images: int = 64
) -> list[np.ndarray]:
    """Images below `folder`, at even intervals of their sorted names: [1, C, H, W] each.

    Args:
        size: (height, width) in pixels to which they are stretched. None: not resized.
        pixels: their channels and values. None: uint8 RGB.

    Raises:
        LightsegError: no such folder, or no image file in it.
        DataError: an image that cannot be read, or has other channels or values.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LightsegError(f"{folder}: no such folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not paths:
        raise LightsegError(f"{folder} has no images ({', '.join(ENDINGS)})")
    count = min(max_images, len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    return [as_input(read_pixels(path, pixels or PixelFormat()), size) for path in chosen]


def render_streets(size: Size, pixels: PixelFormat | None = None, count: int = 4) -> list[np.ndarray]:
    """Images of the procedural street world at `size` (height, width): [1, C, H, W] each, channels repeated or averaged
    where the model does not take three."""
    height = max(96, min(size[0], size[1] // 2))  # the renderer makes images twice as wide as high
    form = pixels or PixelFormat()
    return [as_input(form.from_rgb(render(seed, height, 2 * height).image), size) for seed in range(count)]


def as_input(image: np.ndarray, size: Size | None) -> np.ndarray:
    """[H, W, C] -> [1, C, *size]."""
    if size is not None and image.shape[:2] != tuple(size):
        interpolation = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
        image = resized(image, size[::-1], interpolation)
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]
