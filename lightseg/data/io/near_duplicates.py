"""Images that look alike: by a difference hash of 256 bits (dHash: N. Krawetz, "Kind of Like That", 2013), confirmed by
the correlation of the small images.

A hash is the sign of the differences of neighbors in a row of the image at 16x17 pixels of gray. It changes little with
scale, compression, brightness and contrast. Hashes of images with plain grounds agree in most bits, hence the second
condition.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lightseg.data.io.bands import read_pixels
from lightseg.data.io.images import check_complete, read_bytes, read_image, read_size
from lightseg.data.io.pixels import PixelFormat

ROWS, COLUMNS = 16, 17
MOST_BITS = 40  # of 256 that differ between near-duplicates
LEAST_CORRELATION = 0.92
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
_LEAST_SIDE = 32  # pixels of the reduced image
_CHUNK = 1024


class Match(NamedTuple):
    """An image, the one of the other set that it looks most like, and the bits of their hashes that differ."""

    image: int
    other: int
    bits: int


def read_small(path: str | Path, form: PixelFormat) -> tuple[np.ndarray, tuple[int, int]]:
    """An image as gray uint8 [ROWS, COLUMNS], and its (height, width). Large JPEGs are decoded at an eighth of it.

    form: of the set's images. Raises DataError for a file that is missing, truncated or no image of that form.
    """
    if not form.is_rgb:
        image = form.shown(read_pixels(path, form))
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
        return small, (image.shape[0], image.shape[1])
    data = read_bytes(path)
    check_complete(data, path)
    size = read_size(path)
    flag = next((flag for factor, flag in _REDUCED if min(size) >= factor * _LEAST_SIDE), cv2.IMREAD_GRAYSCALE)
    try:
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:  # its own limit of size
        gray = None
    if gray is None:
        gray = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA), size


def near_duplicates(images: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> list[Match]:
    """The images that look like one of the others, with the one that they look most like.

    images, others: of `read_small`.
    """
    if not len(images) or not len(others):
        return []
    mine, theirs = (np.stack(list(group)).astype(np.float32) for group in (images, others))
    hashes, other_hashes = _signs(mine), _signs(theirs)
    mine, theirs = _normalized(mine), _normalized(theirs)
    matches = []
    for start in range(0, len(mine), _CHUNK):
        part = slice(start, start + _CHUNK)
        bits = (hashes.shape[1] - hashes[part] @ other_hashes.T) / 2
        rows, columns = np.nonzero(bits <= MOST_BITS)
        alike = (mine[part][rows] * theirs[columns]).sum(1)
        best: dict[int, tuple[float, int, float]] = {}
        for row, column, likeness in zip(rows.tolist(), columns.tolist(), alike.tolist(), strict=True):
            if likeness >= LEAST_CORRELATION:
                candidate = (-likeness, column, float(bits[row, column]))
                best[row] = min(best.get(row, candidate), candidate)
        matches += [Match(start + row, column, round(count)) for row, (_, column, count) in sorted(best.items())]
    return matches


def _signs(images: np.ndarray) -> np.ndarray:
    """The hashes, float32 [N, 256] of 1 and -1: their products are 256 - 2 x the bits that differ."""
    return np.where(images[:, :, 1:] > images[:, :, :-1], 1, -1).reshape(len(images), -1).astype(np.float32)


def _normalized(images: np.ndarray) -> np.ndarray:
    """Float32 [N, ROWS * COLUMNS] of mean 0 and norm 1: their products are correlations. A plain image is all equal."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norms > 0, flat / np.maximum(norms, 1e-6), flat.shape[1] ** -0.5)
