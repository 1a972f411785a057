"""Label images that show classes as colors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.datasets.segmentation import IGNORE
from lightseg.errors import DataError, LightsegError

BLACK_AND_WHITE = ((0, 0, 0), (255, 255, 255))


class ColorTable:
    """The colors of classes and of ignored pixels.

    colors: an RGB color per class, or a list of colors. void_colors: None: black and white, unless a class has them.
    tolerance: largest difference of a channel at which a pixel has the nearest color of the table.

    Attributes:
        palette: the first color of every class.
    """

    def __init__(self, colors: Sequence[Any], void_colors: Sequence[Any] | None, tolerance: int = 0) -> None:
        if isinstance(tolerance, bool) or not isinstance(tolerance, int) or not 0 <= tolerance <= 255:
            raise LightsegError(f"data.color_tolerance is {tolerance!r}: must be a whole number from 0 to 255")
        self.tolerance = tolerance
        of_classes = [_colors(entry, "colors") for entry in colors]
        self.palette = [list(entry[0]) for entry in of_classes]
        label_of: dict[tuple[int, int, int], int] = {}
        for label, entry in enumerate(of_classes):
            for color in entry:
                if label_of.setdefault(color, label) != label:
                    raise LightsegError(f"data.colors: {list(color)} is of two classes: give one of them another color")
        void = BLACK_AND_WHITE if void_colors is None else [_colors(color, "void_colors")[0] for color in void_colors]
        for color in void:
            if void_colors is not None and color in label_of:
                raise LightsegError(f"data.void_colors: {list(color)} is also the color of a class: leave one out")
            label_of.setdefault(color, IGNORE)
        self._rgb = np.array(list(label_of), np.int64)
        self._labels = np.array(list(label_of.values()), np.uint8)
        self._order = np.argsort(_pack(self._rgb))
        self._packed = _pack(self._rgb)[self._order]

    def labels(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        """RGB pixels uint8 [H, W, 3] as class ids, uint8 [H, W]. Raises DataError for a color that is not in the table.

        path: of the label, for the error.
        """
        packed = _pack(pixels)
        nearest = self._order[np.searchsorted(self._packed, packed).clip(max=len(self._packed) - 1)]
        labels, unmatched = self._labels[nearest], packed != _pack(self._rgb)[nearest]
        if unmatched.any():
            colors, inverse = np.unique(packed[unmatched], return_inverse=True)
            rgb = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], 1)
            distances = np.abs(rgb[:, None] - self._rgb).max(2)  # [colors, table]
            unknown = [f"#{color:06x}" for color in colors[distances.min(1) > self.tolerance].tolist()]
            if unknown:
                more = "; data.color_tolerance allows for JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else ""
                raise DataError(f"{path}: no class has the color {', '.join(unknown[:6])}{more}")
            labels[unmatched] = self._labels[distances.argmin(1)][inverse]
        return labels

    def renumber(self, new: np.ndarray) -> None:
        """The class c becomes `new[c]`."""
        table = np.arange(256, dtype=np.uint8)
        table[: len(new)] = new
        self._labels = table[self._labels]


def _colors(entry: Any, key: str) -> list[tuple[int, int, int]]:
    """A color or a list of colors."""
    colors = entry if isinstance(entry, list | tuple) and entry and isinstance(entry[0], list | tuple) else [entry]
    for color in colors:
        if not isinstance(color, list | tuple) or len(color) != 3 or not all(_is_channel(value) for value in color):
            raise LightsegError(f"data.{key}: {str(color)[:60]} is no color: give [r, g, b] with values from 0 to 255")
    return [(color[0], color[1], color[2]) for color in colors]


def _is_channel(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _pack(rgb: np.ndarray) -> np.ndarray:
    """Colors [..., 3] -> int32 0xRRGGBB."""
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue
