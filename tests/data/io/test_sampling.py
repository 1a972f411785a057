"""Order and seeds: functions of (seed, epoch) alone, divided among ranks without loss."""

import numpy as np
import pytest

from lightseg.data.io.sampling import EpochSampler
from lightseg.errors import LightsegError


def epoch(number: int, size: int = 10, **options) -> list[tuple[int, int]]:
    sampler = EpochSampler(size, **{"seed": 0, "shuffle": True, **options})
    sampler.set_epoch(number)
    return list(sampler)


def test_order_and_seeds_depend_on_seed_and_epoch_alone() -> None:
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4) and epoch(3) != epoch(3, seed=1)
    indices, seeds = zip(*epoch(3), strict=True)
    assert sorted(indices) == list(range(10)) and list(indices) != list(range(10))
    assert len(set(seeds)) == 10 and all(0 <= seed < 2**63 for seed in seeds)
    assert not set(seeds) & set(dict(epoch(4)).values())


def test_a_sample_has_the_same_seed_in_any_order_and_rank() -> None:
    seeds = dict(epoch(2))
    assert dict(epoch(2, shuffle=False)) == seeds
    for rank in range(3):
        assert all(seeds[index] == seed for index, seed in epoch(2, rank=rank, world_size=3))


@pytest.mark.parametrize(("size", "world_size"), [(10, 3), (9, 3), (2, 3), (1, 4)])
def test_evaluation_sees_every_sample_once_over_all_ranks(size: int, world_size: int) -> None:
    shares = [epoch(0, size, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(index for share in shares for index, _ in share) == list(range(size))
    for rank, share in enumerate(shares):
        assert len(share) == len(EpochSampler(size, shuffle=False, rank=rank, world_size=world_size))


def test_training_gives_every_rank_equally_many() -> None:
    shares = [epoch(1, rank=rank, world_size=3) for rank in range(3)]
    assert [len(share) for share in shares] == [4] * 3 and len(EpochSampler(10, shuffle=True, world_size=3)) == 4
    assert {index for share in shares for index, _ in share} == set(range(10))


def test_fewer_samples_than_ranks() -> None:
    assert [len(epoch(0, 2, rank=rank, world_size=5)) for rank in range(5)] == [1] * 5


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 3, "rank": 2, "world_size": 2}, {"size": 3, "seed": -1}])
def test_values_out_of_range_are_refused(options) -> None:
    with pytest.raises(LightsegError):
        EpochSampler(shuffle=True, **options)


def test_weights_say_how_often_a_sample_is_drawn() -> None:
    weights = np.array([1 / 8] * 8 + [1 / 2] * 2)  # classes of 8 and 2 samples: 5 times each
    keys = epoch(0, weights=weights)
    assert sum(index >= 8 for index, _ in keys) == 5 and len({seed for _, seed in keys}) == 10
    drawn = [index for number in range(80) for index, _ in epoch(number, weights=weights)]
    assert all(abs(drawn.count(index) - 50) < 20 for index in range(8)) and min(map(drawn.count, (8, 9))) > 160
    assert epoch(3, weights=weights) == epoch(3, weights=weights) != epoch(4, weights=weights)
    shares = [epoch(1, weights=weights, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(epoch(1, weights=weights))
    assert epoch(1, shuffle=False) == epoch(1, shuffle=False, weights=None)
