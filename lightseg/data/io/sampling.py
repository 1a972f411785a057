"""Which sample comes when, and with which randomness: a function of (seed, epoch) and nothing else.

The sampler hands out `(index, sample_seed)`, or `(index, sample_seed, stage)` where training goes in stages; the data
set draws its augmentation from that seed alone. So an image looks the same whichever worker makes it and however many
there are, and a resumed run sees what the uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from lightseg.errors import LightsegError


class EpochSampler(Sampler[tuple[int, ...]]):
    """Yields `(index, sample_seed)` for one epoch; `set_epoch` (which Lightning calls) chooses the epoch.

    size: number of samples in the data set.
    shuffle: a new order each epoch, as for training; otherwise 0..size-1, as for evaluation.
    rank, world_size: this process's share. Shuffled, every rank gets equally many (a rank that ran out would leave the
        others waiting): the last round is filled from the start of the order. In order, every sample comes exactly once
        over all ranks, so that a metric counts nothing twice.
    stage_of: the stage of an epoch, which is then the third entry of each key.
    part: the indexes of the samples that are handed out, `size` of them; None: all.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int = 0,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        stage_of: Callable[[int], int] | None = None,
        part: Sequence[int] | None = None,
    ) -> None:
        if seed < 0:
            raise LightsegError(f"seed is {seed}: seeds are 0 or greater")
        if size < 1:
            raise LightsegError("the data set is empty: there is nothing to sample")
        if not 0 <= rank < world_size:
            raise LightsegError(f"rank {rank} of a world of {world_size}")
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.stage_of, self.part = stage_of, part
        self.epoch = 0

    @property
    def stage(self) -> int:
        return self.stage_of(self.epoch) if self.stage_of else 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if not self.shuffle:
            return len(range(self.rank, self.size, self.world_size))
        return -(-self.size // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        # A seed per index, not per place in the order: the sample is the same however the order is shared out.
        random = np.random.default_rng([self.seed, self.epoch])
        seeds = random.integers(0, 2**63, self.size)
        order = np.arange(self.size)
        if self.shuffle:
            random.shuffle(order)
            order = np.resize(order, len(self) * self.world_size)  # repeated from its start
        stage = (self.stage,) if self.stage_of else ()
        for index in order[self.rank :: self.world_size].tolist():
            yield (index if self.part is None else self.part[index], int(seeds[index]), *stage)


class StageBatches(Sampler[list[tuple[int, ...]]]):
    """Batches of an EpochSampler's keys, of as many as the stage's `size_of(stage)`; a last, smaller one is left out,
    because batch norm on one or two images hurts. Its length is that of the sampler's epoch."""

    def __init__(self, sampler: EpochSampler, size_of: Callable[[int], int]) -> None:
        self.sampler, self.size_of = sampler, size_of

    def __len__(self) -> int:
        return len(self.sampler) // self.size_of(self.sampler.stage)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        size, keys = self.size_of(self.sampler.stage), iter(self.sampler)
        for _ in range(len(self.sampler) // size):
            yield [next(keys) for _ in range(size)]
