"""k-means in one dimension against all partitions, and against Lloyd's algorithm in plain loops."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from lightseg.compress.pruning import layer_weights, prune
from lightseg.compress.sharing import kmeans, nearest_centroid, share_weights
from lightseg.errors import LightsegError


def cost(values: np.ndarray, centroids: np.ndarray) -> float:
    return float(((values[:, None] - centroids) ** 2).min(1).sum())


def best_of_all(values: np.ndarray, count: int) -> float:
    """The lowest cost of any partition of the sorted values into `count` intervals, the optimum of k-means."""
    ordered = np.sort(values).astype(np.float64)
    partitions = (np.split(ordered, cuts) for cuts in combinations(range(1, len(ordered)), count - 1))
    return min(sum(float(((part - part.mean()) ** 2).sum()) for part in parts) for parts in partitions)


def lloyd(values: np.ndarray, centroids: list[float]) -> list[float]:
    while True:
        clusters: list[list[float]] = [[] for _ in centroids]
        for value in values.tolist():
            clusters[min(range(len(centroids)), key=lambda i: (abs(value - centroids[i]), -i))].append(value)
        means = [sum(c) / len(c) if c else old for c, old in zip(clusters, centroids, strict=True)]
        if means == centroids:
            return [mean for mean, cluster in zip(means, clusters, strict=True) if cluster]
        centroids = means


@pytest.mark.parametrize("seed", range(5))
def test_clearly_separated_clusters_are_the_best_partition(seed):
    random = np.random.default_rng(seed)
    centers = np.array([-3.0, -1.0, 1.5, 4.0])
    values = (centers[random.integers(0, 4, 14)] + random.normal(0, 0.1, 14)).astype(np.float32)
    values[:4] = centers
    assert cost(values, kmeans(values, 4)) == pytest.approx(best_of_all(values, 4), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_lloyds_algorithm_and_improves_on_its_start(seed):
    values = np.random.default_rng(seed).normal(size=16).astype(np.float32)
    values = values[np.abs(values) > 0.3]
    below, above = values[values < 0].max(), values[values > 0].min()
    start = np.linspace(values.min(), values.max() - (above - below), 4, dtype=np.float64)
    start = np.where(start > below, start + (above - below), start)
    centroids = kmeans(values, 4)
    assert centroids == pytest.approx(lloyd(values.astype(np.float64), start.tolist()), abs=1e-5)
    assert best_of_all(values, 4) <= cost(values, centroids) * (1 + 1e-5) <= cost(values, start) * (1 + 2e-5)


def test_many_values():
    values = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    values = values[np.abs(values) > 0.974]  # a third
    centroids = kmeans(values, 64)
    codes = nearest_centroid(values, centroids)
    assert 32 < len(centroids) <= 64 and (np.diff(centroids) > 0).all()
    assert (codes == np.abs(values[:, None] - centroids).argmin(1)).mean() > 0.999  # except for ties and rounding
    means = [values[codes == code].mean(dtype=np.float64) for code in range(len(centroids))]
    assert centroids == pytest.approx(means, abs=1e-4)
    assert np.sqrt(cost(values, centroids) / len(values)) < 0.03


def test_few_distinct_values_are_kept():
    values = np.array([3.0, -1.0, 3.0, 0.5], np.float32)
    assert kmeans(values, 4).tolist() == [-1.0, 0.5, 3.0] and not len(kmeans(values[:0], 4))


@pytest.mark.parametrize("bits", [1, 6, 8])
def test_layers_have_few_values_and_keep_their_zeros(bits):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 4, 1))
    masks = prune(net, 0.67)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    share_weights(net, bits)
    for name, weight in layer_weights(net).items():
        assert torch.equal(weight != 0, masks[name])
        assert len(weight[weight != 0].unique()) <= 2**bits
        error = (weight - before[name]).norm() / before[name].norm()
        assert error < {1: 0.5, 6: 0.05, 8: 0.01}[bits]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items() if k not in layer_weights(net))


@pytest.mark.parametrize("bits", [0, 9])
def test_a_number_of_bits_out_of_range_is_an_error(bits):
    with pytest.raises(LightsegError, match="1 to 8 bits"):
        share_weights(nn.Conv2d(1, 1, 1), bits)
