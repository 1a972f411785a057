"""A cache of decoded images in memory, shared by all worker processes.

The memory is an anonymous shared mapping: forked workers read and write the same pages (without the limit of /dev/shm;
a page takes memory only after it is written). Spawned workers have a cache each.
"""

import mmap
from collections.abc import Sequence
from functools import partial

import numpy as np
import psutil

from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import LightsegError


class DecodedCache:
    """Memory for an image [H, W, C] and, with `masks`, a mask [H, W] per sample; sizes: (H, W) of each.

    Raises LightsegError if it does not fit in 80 % of the free memory.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], *, masks: bool = True, pixels: PixelFormat | None = None
    ) -> None:
        self.masks, self.pixels = masks, pixels or PixelFormat()
        self.sizes = [(int(height), int(width)) for height, width in sizes]
        # a byte per sample for its number of arrays, then the arrays of the samples
        ends = len(self.sizes) + np.cumsum(
            [(self.pixels.bytes + masks) * height * width for height, width in self.sizes]
        )
        self.starts = [len(self.sizes), *ends[:-1].tolist()]
        free = psutil.virtual_memory().available
        if ends[-1] > 0.8 * free:
            gigabytes = f"{ends[-1] / 2**30:.1f} GB, but {free / 2**30:.1f} GB of memory are free"
            raise LightsegError(f"keeping {len(self.sizes)} decoded images takes {gigabytes}: set data.cache=false")
        self.memory = np.frombuffer(mmap.mmap(-1, int(ends[-1])), np.uint8)

    def __reduce__(self) -> tuple:
        return partial(DecodedCache, masks=self.masks, pixels=self.pixels), (self.sizes,)

    def get(self, index: int) -> dict[str, np.ndarray] | None:
        """Copies of the sample's arrays, or None before the first `put`."""
        num_arrays = self.memory[index]
        if not num_arrays:
            return None
        views = self._views(index)
        return {key: views[key].copy() for key in list(views)[:num_arrays]}

    def put(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Store the sample's arrays. No lock is needed: workers that store the same sample write the same bytes."""
        for key, view in list(self._views(index).items())[: len(arrays)]:
            view[:] = arrays[key]
        self.memory[index] = len(arrays)

    def _views(self, index: int) -> dict[str, np.ndarray]:
        height, width = self.sizes[index]
        start = self.starts[index]
        middle = start + self.pixels.bytes * height * width
        image = self.memory[start:middle].view(self.pixels.dtype).reshape(height, width, self.pixels.channels)
        views: dict[str, np.ndarray] = {"image": image}
        if self.masks:
            views["mask"] = self.memory[middle : middle + height * width].reshape(height, width)
        return views
