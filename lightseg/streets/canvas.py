"""The canvas of a scene: a uint8 array [H, W, 4] of R, G, B and an index, so that one call draws image and label.

Indices 0..39 are Cityscapes labelIds without instances ("stuff" and void), indices from 40 on are objects. Edges are
hard, at twice the size of the image. `image()` averages 2 x 2 pixels, `indices()` takes their majority.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

SUPERSAMPLING = 2
FIRST_OBJECT = 40  # Cityscapes labelIds end at 33
LABEL_IDS = {
    "ego vehicle": 1, "static": 4, "road": 7, "sidewalk": 8, "building": 11, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "bicycle": 33,
}  # fmt: skip
HAVE_INSTANCES = ("person", "rider", "car", "truck", "bus", "bicycle")

_SHIFT = 4  # sub-pixel bits of cv2's drawing calls


class Canvas:
    def __init__(self, height: int, width: int) -> None:
        """height, width: of the final image in pixels; the canvas is twice as large."""
        self.size = (height, width)
        self.pixels = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 4), np.uint8)
        self.names: list[str] = []  # of the objects, by index - FIRST_OBJECT

    def add_object(self, name: str) -> int:
        """The index of a new object. There are at most 216 in a scene; layouts have fewer than 80."""
        self.names.append(name)
        index = FIRST_OBJECT + len(self.names) - 1
        if index > 255:
            raise OverflowError("more than 216 objects in a scene: the 8-bit index is full")
        return index

    def polygon(self, points: np.ndarray, rgb: tuple[int, int, int], index: int, convex: bool = True) -> None:
        """Fill the polygon `points` [N, 2] in canvas pixels, within camera.FAR_OUT."""
        fixed = (points * (1 << _SHIFT)).astype(np.int32)
        if convex:
            cv2.fillConvexPoly(self.pixels, fixed, (*rgb, index), cv2.LINE_8, _SHIFT)
        else:
            cv2.fillPoly(self.pixels, [fixed], (*rgb, index), cv2.LINE_8, _SHIFT)

    def circle(self, x: float, y: float, radius: float, rgb: tuple[int, int, int], index: int) -> None:
        at, size = (int(x * 16 + 0.5), int(y * 16 + 0.5)), int(radius * 16 + 0.5)
        cv2.circle(self.pixels, at, size, (*rgb, index), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def circles(self, xyr: np.ndarray, rgb: np.ndarray, index: int) -> None:
        """Fill circles [N, 3] (x, y, radius in canvas pixels) in their order, in uint8 colors [N, 3]."""
        pixels = self.pixels
        for (x, y, radius), (r, g, b) in zip(np.rint(xyr * 16).astype(int).tolist(), rgb.tolist(), strict=True):
            cv2.circle(pixels, (x, y), radius, (r, g, b, index), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def labels(self) -> np.ndarray:
        """The table from index to labelId, uint8 [256]."""
        table = np.arange(256, dtype=np.uint8)
        table[FIRST_OBJECT:] = 0
        for i, name in enumerate(self.names):
            table[FIRST_OBJECT + i] = LABEL_IDS[name]
        return table

    def image(self) -> np.ndarray:
        """uint8 RGB [height, width, 3]."""
        height, width = self.size
        return cv2.resize(self.pixels[..., :3], (width, height), interpolation=cv2.INTER_AREA)

    def indices(self) -> np.ndarray:
        """uint8 [height, width]: the most frequent index of each 2 x 2 pixels, the upper left if all differ."""
        index = self.pixels[..., 3]
        a, b, c, d = index[::2, ::2], index[::2, 1::2], index[1::2, ::2], index[1::2, 1::2]
        vote = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
        return np.where((a == b) | (a == c) | (a == d), a, vote)


_HALF_TURN = np.linspace(-np.pi / 2, np.pi / 2, 7)
_TIP = np.stack([np.cos(_HALF_TURN), np.sin(_HALF_TURN)], axis=1)


def capsule(start: np.ndarray, end: np.ndarray, radius_start: float, radius_end: float) -> np.ndarray:
    """The outline [14, 2] of a line with round ends and a radius at each end, in px."""
    dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
    length = math.hypot(dx, dy) or 1.0
    cos, sin = dx / length, dy / length
    if dx == dy == 0:
        cos = 1.0
    tip = _TIP @ np.array([[cos, sin], [-sin, cos]])
    return np.concatenate([end + tip * radius_end, start - tip * radius_start])


def noise(rng: np.random.Generator, height: int, width: int, cell: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise, float32 [height, width], about N(0, 1), in blobs `cell` px high and `stretch` times as wide."""
    rows, columns = max(2, round(height / cell)), max(2, round(width / (cell * stretch)))
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
