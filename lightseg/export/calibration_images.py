"""The pictures that an export is compared and calibrated on: a folder's, or drawn streets where there is none."""

from pathlib import Path

import cv2
import numpy as np

from lightseg.data.io.images import read_image
from lightseg.errors import LightsegError
from lightseg.streets import render

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
Size = tuple[int, int]  # height, width


def read_folder(folder: str | Path, size: Size | None, in_chans: int = 3, most: int = 64) -> list[np.ndarray]:
    """Pictures below `folder`, evenly spread over their names in order: uint8 [1, C, H, W].

    size: stretched to this height and width; None: their own.

    Raises:
        LightsegError: no such folder, or nothing in it that ends like a picture.
        DataError: a picture that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LightsegError(f"{folder}: no such folder of pictures")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not paths:
        raise LightsegError(f"{folder} holds no pictures ({', '.join(ENDINGS)})")
    chosen = [paths[i * len(paths) // min(most, len(paths))] for i in range(min(most, len(paths)))]
    return [as_input(read_image(path), size, in_chans) for path in chosen]


def draw_streets(size: Size, in_chans: int = 3, count: int = 4) -> list[np.ndarray]:
    """The procedural street world at `size`: uint8 [1, C, H, W]."""
    height = max(96, min(size[0], size[1] // 2))  # streets are twice as wide as high
    return [as_input(render(seed, height, 2 * height).image, size, in_chans) for seed in range(count)]


def as_input(image: np.ndarray, size: Size | None, in_chans: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [1, in_chans, *size], channels repeated or averaged where the model has not three."""
    if size is not None and image.shape[:2] != tuple(size):
        how = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
        image = cv2.resize(image, size[::-1], interpolation=how)
    if in_chans == 1:
        image = image.mean(2, keepdims=True).astype(np.uint8)
    elif in_chans != 3:
        image = image[..., [channel % 3 for channel in range(in_chans)]]
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]
