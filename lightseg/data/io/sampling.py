"""The order and the seeds of the samples, a function of (seed, epoch) alone.

The sampler yields `(index, sample_seed)`, or `(index, sample_seed, phase)` for training in phases, and augmentation
depends on that seed alone. So a sample does not depend on the number of workers, and a resumed run has the same samples
as an uninterrupted one.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from lightseg.errors import LightsegError


class EpochSampler(Sampler[tuple[int, ...]]):
    """Yields the keys of an epoch, `(index, sample_seed)`; `set_epoch` (which Lightning calls) sets the epoch.

    size: number of samples in the data set.
    shuffle: a new order each epoch, for training; otherwise 0..size-1, for evaluation.
    rank, world_size: of this process. With `shuffle`, all ranks get the same number of samples, as in torch's
        DistributedSampler: the order is continued from its start. Otherwise, each sample belongs to exactly one rank,
        so that metrics count none twice.
    phase_of: epoch -> phase, which becomes the third entry of each key.
    part: indices of the samples to use, `size` of them. None: all.
    minimum: of samples of a rank with `shuffle`; fewer are repeated.
    weights: float [size], how often each sample is to be in an epoch with `shuffle`, in proportion; `size` samples are
        drawn, some of them several times, each time with another seed. None: every sample once.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int = 0,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        phase_of: Callable[[int], int] | None = None,
        part: Sequence[int] | None = None,
        minimum: int = 1,
        weights: np.ndarray | None = None,
    ) -> None:
        if seed < 0:
            raise LightsegError(f"seed is {seed}: seeds are 0 or greater")
        if size < 1:
            raise LightsegError("the data set is empty: training and evaluation need samples")
        if not 0 <= rank < world_size:
            raise LightsegError(f"rank {rank} is not in 0..{world_size - 1}, for a world size of {world_size}")
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.phase_of, self.part, self.minimum, self.weights = phase_of, part, minimum, weights
        self.epoch = 0

    @property
    def phase(self) -> int:
        return self.phase_of(self.epoch) if self.phase_of else 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if not self.shuffle:
            return len(range(self.rank, self.size, self.world_size))
        return max(self.minimum, -(-self.size // self.world_size))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        # A seed per index, not per position in the order: samples do not depend on the number of ranks.
        rng = np.random.default_rng([self.seed, self.epoch])
        seeds = rng.integers(0, 2**63, self.size)
        order = np.arange(self.size)
        drawn = order.copy() if self.weights is None else _drawn(self.weights, rng)  # the sample of each of `seeds`
        if self.shuffle:
            rng.shuffle(order)
            order = np.resize(order, len(self) * self.world_size)  # repeated from its start
        phase = (self.phase,) if self.phase_of else ()
        for number in order[self.rank :: self.world_size].tolist():
            index = int(drawn[number])
            yield (index if self.part is None else self.part[index], int(seeds[number]), *phase)


def _drawn(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """N indices of N weights, each in proportion to its weight, up or down to the next whole number: systematic
    resampling (Kitagawa, 1996), in a random order of the samples."""
    order = rng.permutation(len(weights))
    ends = np.cumsum(weights[order] / weights.sum()) * len(weights)
    positions = rng.random() + np.arange(len(weights))
    return order[np.searchsorted(ends, positions, side="right").clip(max=len(weights) - 1)]


class PhaseBatches(Sampler[list[tuple[int, ...]]]):
    """Batches of an EpochSampler's keys, `size_of(phase)` of them each. The last batch is dropped if it is smaller,
    because batch norm needs more than one or two images. The length is that of the sampler's epoch.

    Attributes:
        done: batches that the next iteration leaves out, of a run that is resumed within an epoch.
    """

    def __init__(self, sampler: EpochSampler, size_of: Callable[[int], int]) -> None:
        self.sampler, self.size_of, self.done = sampler, size_of, 0

    def __len__(self) -> int:
        return len(self.sampler) // self.size_of(self.sampler.phase)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        size, keys = self.size_of(self.sampler.phase), iter(self.sampler)
        done, self.done = self.done, 0
        for number in range(len(self.sampler) // size):
            batch = [next(keys) for _ in range(size)]
            if number >= done:
                yield batch
