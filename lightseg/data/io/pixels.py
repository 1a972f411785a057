"""The form of the images that a network takes: channels, type and range of their values.

Images are uint8 RGB unless `data.channels` and `data.range` say otherwise. Values are not scaled before the model: its
first operation maps the range to 0..1 and normalizes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lightseg.input_contract import InputContract

MEAN_COLOR = (124, 116, 104)  # ImageNet's mean: padding of this color is about 0 after any backbone's normalization
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma


@dataclass(frozen=True)
class PixelFormat:
    """
    Attributes:
        channels: of an image.
        bands: the bands of a file that are its channels, from 0. None: all.
        dtype: uint8, uint16 or float32.
        value_range: (lowest, highest) value; the model clips what is beyond.
    """

    channels: int = 3
    bands: tuple[int, ...] | None = None
    dtype: str = "uint8"
    value_range: tuple[float, float] = (0, 255)

    @classmethod
    def of(cls, contract: InputContract) -> "PixelFormat":
        return cls(contract.channels, contract.bands, contract.dtype, contract.value_range)

    def contract(self) -> dict[str, Any]:
        """The fields of an `InputContract`."""
        bands = None if self.bands is None else list(self.bands)
        return {
            "channels": self.channels,
            "bands": bands,
            "dtype": self.dtype,
            "value_range": list(self.value_range),
        }

    @property
    def is_rgb(self) -> bool:
        """Whether images are read as uint8 RGB, whatever the file holds of gray, alpha and 16 bit."""
        return self.channels == 3 and self.bands is None and self.dtype == "uint8"

    @property
    def bytes(self) -> int:
        """Of a pixel."""
        return self.channels * np.dtype(self.dtype).itemsize

    @property
    def fill(self) -> tuple[float, ...]:
        """The value of padding in each channel: the mean color, or its mean for one channel, in the range."""
        colors = (sum(MEAN_COLOR) / 3,) if self.channels == 1 else MEAN_COLOR
        low, high = self.value_range
        values = (low + color / 255 * (high - low) for color in colors)
        whole = [float(v) if self.dtype == "float32" else round(v) for v in values]
        return tuple(whole[channel % len(whole)] for channel in range(self.channels))

    def blank(self, height: int, width: int) -> np.ndarray:
        """[height, width, channels] of zeros."""
        return np.zeros((height, width, self.channels), self.dtype)

    def from_rgb(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] as an image of this form, [H, W, channels]: averaged or repeated, scaled to the range."""
        if self.is_rgb:
            return image
        if self.channels == 1:
            image = gray(image)
        elif self.channels != 3:
            image = image[..., [channel % 3 for channel in range(self.channels)]]
        low, high = self.value_range
        if self.dtype == "uint8" and (low, high) == (0, 255):
            return np.ascontiguousarray(image)
        scaled = low + image.astype(np.float32) / 255 * (high - low)
        return (scaled if self.dtype == "float32" else scaled.round()).astype(self.dtype)

    def shown(self, image: np.ndarray) -> np.ndarray:
        """An image [H, W, channels] as uint8 RGB [H, W, 3], to be drawn on: the range as 0..255, of more than three
        channels the first three, of fewer the first as gray."""
        if image.shape[2] != 3:
            image = image[..., [0, 1, 2] if image.shape[2] > 3 else [0, 0, 0]]
        low, high = self.value_range
        if image.dtype == np.uint8 and (low, high) == (0, 255):
            return np.ascontiguousarray(image)
        scale = 255 / (high - low)
        parts = np.empty(image.shape, np.uint8)
        step = max(1, (1 << 22) // max(1, image[0].size))  # rows at a time: large images would need four times more
        for row in range(0, len(image), step):
            rows = (image[row : row + step].astype(np.float32) - low) * scale
            parts[row : row + step] = rows.round().clip(0, 255)
        return parts


def gray(image: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3] of any type -> gray [H, W, 1] of the same type."""
    if image.dtype == np.uint8:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    mixed = image[..., :3].astype(np.float32) @ GRAY
    return (mixed if image.dtype.kind == "f" else mixed.round()).astype(image.dtype)[..., None]


def resized(image: np.ndarray, size: Sequence[int], interpolation: int) -> np.ndarray:
    """An image [H, W, C] at (width, height) `size`. OpenCV's areas have at most four channels, and it drops a single
    one's axis."""
    return _by_channels(image, lambda part: cv2.resize(part, (size[0], size[1]), interpolation=interpolation))


def mirrored(image: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C], flipped horizontally."""
    return cv2.flip(image, 1).reshape(image.shape)


def warped_affine(image: np.ndarray, matrix: np.ndarray, size: Sequence[int], fill: Sequence[float]) -> np.ndarray:
    """An image [H, W, C] under `matrix` [2, 3], (width, height) `size`, bilinear, with `fill` beyond the image."""

    def warp(part: np.ndarray, colors: Sequence[float]) -> np.ndarray:
        return cv2.warpAffine(
            part,
            matrix,
            (size[0], size[1]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=tuple(colors),
        )

    count = image.shape[2]
    if 1 < count <= 4:
        return warp(image, fill)
    starts = range(0, count, 4)
    parts = [warp(np.ascontiguousarray(image[..., i : i + 4]), fill[i : i + 4]) for i in starts]
    return np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], 2)


def _by_channels(image: np.ndarray, change: Any) -> np.ndarray:
    count = image.shape[2]
    if 1 < count <= 4:
        return change(image)
    parts = [change(np.ascontiguousarray(image[..., i : i + 4])) for i in range(0, count, 4)]
    return np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], 2)
