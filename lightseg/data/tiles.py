"""Large images as overlapping tiles: where they lie, and the class scores of tiles as one map of classes.

The rows and columns of tiles are spread evenly, the first and the last at the image's borders, so that neighbors share
at least `overlap` pixels. In the shared pixels scores are averaged, with weights that fall linearly towards the edge of
a tile: there the network sees the least around a pixel.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightseg.data.transforms.phase_transform import Transform

STREAM = 0x9E3779B97F4A7C15  # arbitrary: makes the random numbers differ from those of the transform
MIN_SHARE = 0.25  # of a box in a tile; less is dropped in training

MAX_TILES, BATCH_PIXELS = 8, 1 << 20  # tiles of a batch


def tiles_at_once(size: Sequence[int]) -> int:
    """The number of tiles of (height, width) in a batch."""
    return min(MAX_TILES, max(1, BATCH_PIXELS // (size[0] * size[1])))


class Tile(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, array: Any) -> Any:
        """[H, W, ...] -> [height, width, ...], a view."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tiling:
    """
    Attributes:
        size: (height, width) of a tile; smaller images are a single tile of their own size.
        overlap: pixels that neighboring tiles share at least, less than each side.
    """

    size: tuple[int, int]
    overlap: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any] | str | None) -> "Tiling | None":
        """Of `data.tile`, or of the contract's. None: images are not tiled."""
        if not values or isinstance(values, str):  # whole
            return None
        size = values["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls((int(height), int(width)), int(values.get("overlap", 0)))

    def plain(self) -> dict[str, Any]:
        return {"size": list(self.size), "overlap": self.overlap}

    def rows(self, image_size: Sequence[int]) -> list[list[Tile]]:
        """The tiles of an image of (height, width) pixels, row by row."""
        height, width = (min(side, tile) for side, tile in zip(image_size, self.size, strict=True))
        tops, lefts = (self._starts(side, tile) for side, tile in zip(image_size, self.size, strict=True))
        return [[Tile(top, left, height, width) for left in lefts] for top in tops]

    def count(self, image_size: Sequence[int]) -> int:
        return sum(map(len, self.rows(image_size)))

    def _starts(self, length: int, size: int) -> list[int]:
        if length <= size:
            return [0]
        steps = -(-(length - size) // (size - self.overlap))
        return [step * (length - size) // steps for step in range(steps + 1)]


def merged_classes(
    image_size: tuple[int, int], tiling: Tiling, scores: Callable[[list[Tile]], Tensor], batch: int = 1
) -> Tensor:
    """Class ids [H, W], uint8 or int16, of the averaged scores of all tiles.

    Memory for scores is that of a batch of tiles and of the shared rows, whatever the image's height.

    Args:
        scores: tiles -> probabilities [n, classes, height, width] of each.
        batch: number of tiles in a call, all of a row.
    """
    rows, width = tiling.rows(image_size), image_size[1]
    result = torch.empty(0)
    above: Tensor | None = None  # weighted scores [classes, shared rows, W] of the rows before
    for number, row in enumerate(rows):
        tall = rows[number + 1][0].top - row[0].top if number + 1 < len(rows) else row[0].height  # rows that end here
        shared_above = 0 if not number else rows[number - 1][0].top + row[0].height - row[0].top
        shared_below = row[0].height - tall
        below: Tensor | None = None
        beside: Tensor | None = None  # weighted scores [classes, height, shared columns] of the tiles before
        for column, (tile, values) in enumerate(_scored(row, scores, batch)):
            wide = row[column + 1].left - tile.left if column + 1 < len(row) else tile.width
            shared_left = 0 if beside is None else beside.shape[2]
            if len(rows) * len(row) > 1:
                edges = (shared_above, shared_below), (shared_left, tile.width - wide)
                values = values * _weights(tile, edges, values)
            if above is not None:  # the columns of `beside` have it
                start = tile.left + shared_left
                values[:, :shared_above, shared_left:] += above[:, :, start : tile.left + tile.width]
            if beside is not None:
                values[:, :, :shared_left] += beside
            if not result.numel():
                dtype = torch.uint8 if len(values) <= 256 else torch.int16
                result = torch.empty(image_size, dtype=dtype, device=values.device)
            done = values[:, :tall, :wide].argmax(0)
            result[tile.top : tile.top + tall, tile.left : tile.left + wide] = done
            if shared_below:
                if below is None:
                    below = values.new_empty(len(values), shared_below, width)
                below[:, :, tile.left : tile.left + wide] = values[:, tall:, :wide]
            beside = values[:, :, wide:].clone() if wide < tile.width else None
        above = below
    return result


def _scored(row: Sequence[Tile], scores: Callable[[list[Tile]], Tensor], batch: int) -> Iterator[tuple[Tile, Tensor]]:
    for start in range(0, len(row), batch):
        tiles = list(row[start : start + batch])
        yield from zip(tiles, scores(tiles), strict=True)


def _weights(tile: Tile, edges: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """[height, width], which falls towards the edges that are shared: (above, below), (left, right) in pixels."""
    ramps = []
    for side, (before, after) in zip((tile.height, tile.width), edges, strict=True):
        position = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
        ramp = torch.ones_like(position)
        if before:
            ramp = torch.minimum(ramp, position / before)
        if after:
            ramp = torch.minimum(ramp, (side - position) / after)
        ramps.append(ramp)
    return ramps[0][:, None] * ramps[1]


class RandomTile:
    """A random tile of each training sample, then `transform` on it.

    Masks are cut with the image. Boxes are cut at the tile's edges, and dropped where less than a quarter is left.
    """

    def __init__(self, transform: Transform, tiling: Tiling) -> None:
        self.transform, self.tiling = transform, tiling

    def __call__(self, seed: int, **arrays: Any) -> dict[str, Any]:
        rng = random.Random(seed ^ STREAM)
        if (read := arrays.get("read")) is not None:  # of transforms that mix images
            arrays["read"] = lambda index: self._cut(rng, read(index))
        return self.transform(seed, **self._cut(rng, arrays))

    def _cut(self, rng: random.Random, arrays: dict[str, Any]) -> dict[str, Any]:
        shape = arrays["image"].shape
        height, width = (min(side, tile) for side, tile in zip(shape[:2], self.tiling.size, strict=True))
        tile = Tile(rng.randint(0, shape[0] - height), rng.randint(0, shape[1] - width), height, width)
        cut: dict[str, Any] = {key: tile.cut(arrays[key]) for key in ("image", "mask") if key in arrays}
        if "boxes" in arrays:
            moved = arrays["boxes"] - np.array([tile.left, tile.top] * 2, np.float32)
            boxes = moved.clip(0, np.array([width, height] * 2, np.float32))
            areas = (moved[:, 2:] - moved[:, :2]).prod(1)
            kept = (boxes[:, 2:] - boxes[:, :2]).prod(1) >= MIN_SHARE * np.maximum(areas, 1e-6)
            cut |= {"boxes": boxes[kept], "labels": arrays["labels"][kept]}
        return {**arrays, **cut}
