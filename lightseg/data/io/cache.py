"""Decoded images kept in memory, once for all worker processes.

The memory is an anonymous shared mapping: forked workers see and fill the same pages (no limit of /dev/shm applies,
and a page takes memory only once it is written). Where workers are spawned instead, each builds its own.
"""

import mmap
from collections.abc import Sequence
from functools import partial

import numpy as np
import psutil

from lightseg.errors import LightsegError


class DecodedCache:
    """Room for uint8 image [H, W, 3] and, with `masks`, mask [H, W] per sample; sizes: (H, W) of each.

    Raises LightsegError where it would not fit into 80 % of the memory that is free now.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], *, masks: bool = True) -> None:
        self.masks = masks
        self.sizes = [(int(height), int(width)) for height, width in sizes]
        # one byte a sample says what it holds, then the samples one after another
        ends = len(self.sizes) + np.cumsum([(3 + masks) * height * width for height, width in self.sizes])
        self.starts = [len(self.sizes), *ends[:-1].tolist()]
        free = psutil.virtual_memory().available
        if ends[-1] > 0.8 * free:
            gigabytes = f"{ends[-1] / 2**30:.1f} GB, but {free / 2**30:.1f} GB of memory are free"
            raise LightsegError(f"keeping {len(self.sizes)} decoded images takes {gigabytes}: set data.cache=false")
        self.memory = np.frombuffer(mmap.mmap(-1, int(ends[-1])), np.uint8)

    def __reduce__(self) -> tuple:
        return partial(DecodedCache, masks=self.masks), (self.sizes,)

    def get(self, index: int) -> dict[str, np.ndarray] | None:
        """The sample's arrays (copies, so that nobody can change what the others see), or None if it is not there
        yet.
        """
        holds = self.memory[index]
        if not holds:
            return None
        views = self._views(index)
        return {key: views[key].copy() for key in list(views)[:holds]}

    def put(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Two workers that store the same sample at once write the same bytes, so no lock is needed."""
        for key, view in list(self._views(index).items())[: len(arrays)]:
            view[:] = arrays[key]
        self.memory[index] = len(arrays)

    def _views(self, index: int) -> dict[str, np.ndarray]:
        height, width = self.sizes[index]
        start = self.starts[index]
        middle, end = start + 3 * height * width, start + 4 * height * width
        views: dict[str, np.ndarray] = {"image": self.memory[start:middle].reshape(height, width, 3)}
        if self.masks:
            views["mask"] = self.memory[middle:end].reshape(height, width)
        return views
