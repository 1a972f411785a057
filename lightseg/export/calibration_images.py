"""The images that an export is compared and calibrated on: of a folder, otherwise synthetic streets."""

from pathlib import Path

import cv2
import numpy as np

from lightseg.data.io.images import read_image
from lightseg.errors import LightsegError
from lightseg.streets import render

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
Size = tuple[int, int]  # height, width


def read_folder(folder: str | Path, size: Size | None, in_chans: int = 3, max_images: int = 64) -> list[np.ndarray]:
    """Images below `folder`, at even intervals of their sorted names: uint8 [1, C, H, W] each.

    size: (height, width) in pixels to which they are stretched. None: not resized.

    Raises:
        LightsegError: no such folder, or no image file in it.
        DataError: an image that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LightsegError(f"{folder}: no such folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not paths:
        raise LightsegError(f"{folder} has no images ({', '.join(ENDINGS)})")
    count = min(max_images, len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    return [as_input(read_image(path), size, in_chans) for path in chosen]


def render_streets(size: Size, in_chans: int = 3, count: int = 4) -> list[np.ndarray]:
    """Images of the procedural street world at `size` (height, width): uint8 [1, C, H, W] each."""
    height = max(96, min(size[0], size[1] // 2))  # the renderer makes images twice as wide as high
    return [as_input(render(seed, height, 2 * height).image, size, in_chans) for seed in range(count)]


def as_input(image: np.ndarray, size: Size | None, in_chans: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [1, in_chans, *size], channels repeated or averaged where the model does not take three."""
    if size is not None and image.shape[:2] != tuple(size):
        interpolation = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
        image = cv2.resize(image, size[::-1], interpolation=interpolation)
    if in_chans == 1:
        image = image.mean(2, keepdims=True).astype(np.uint8)
    elif in_chans != 3:
        image = image[..., [channel % 3 for channel in range(in_chans)]]
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]
