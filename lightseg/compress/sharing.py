"""Weight sharing: the weights of a layer take the values of 2^bits centroids (arXiv:1510.00149, section 3).

Centroids are the k-means of the layer's weights by Lloyd's algorithm. Initially they are spread evenly over the range
of the weights, which section 3.2 of the paper found best. Different from the paper: the initial centroids leave out the
gap around zero that pruning makes, and centroids are not fine-tuned.
"""

import numpy as np
import torch
from torch import nn

from lightseg.compress.pruning import layer_weights
from lightseg.errors import LightsegError

MAX_BITS = 8  # a code is a byte
MAX_ITERATIONS = 1000  # of Lloyd's algorithm, rarely reached; an iteration costs 2^bits binary searches


@torch.no_grad()
def share_weights(model: nn.Module, bits: int) -> None:
    """Replace the weights of convolutions and linear layers, in place, by at most 2^bits values per layer.

    Zeros stay zero and do not count as a value; a layer with fewer values keeps them.

    Raises:
        LightsegError: `bits` is not 1 to 8.
    """
    if not 1 <= bits <= MAX_BITS:
        raise LightsegError(f"bits={bits}: must be 1 to {MAX_BITS} bits (8 and 6 were published)")
    for weight in layer_weights(model).values():
        values = weight.detach().cpu().contiguous().numpy()
        used = values != 0
        centroids = kmeans(values[used], 2**bits)
        shared = np.zeros_like(values)
        shared[used] = centroids[nearest_centroid(values[used], centroids)]
        weight.copy_(torch.from_numpy(shared))


def kmeans(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` centroids float32 [K], ascending, of float32 values [N], which may be empty.

    In one dimension a cluster is an interval of the sorted values: an iteration is a binary search for its ends and
    differences of cumulative sums.
    """
    distinct = np.unique(values)
    if len(distinct) <= count:
        return distinct
    ordered = np.sort(values).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centroids = _spread(ordered, count)
    ends = np.zeros(count + 1, np.int64)
    for _ in range(MAX_ITERATIONS):
        inner = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        before, ends = ends, np.concatenate([[0], inner, [len(ordered)]])
        if np.array_equal(ends, before):
            break
        sizes = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(sizes, 1)
        centroids = np.where(sizes > 0, means, centroids)  # those of empty clusters stay
    return np.unique(centroids[np.diff(ends) > 0].astype(np.float32))


def _spread(ordered: np.ndarray, count: int) -> np.ndarray:
    """`count` values, evenly over the range of ascending nonzero values without the gap around zero."""
    below, above = ordered[ordered < 0], ordered[ordered > 0]
    if not len(below) or not len(above):
        return np.linspace(ordered[0], ordered[-1], count)
    gap = above[0] - below[-1]
    spread = np.linspace(ordered[0], ordered[-1] - gap, count)
    return np.where(spread > below[-1], spread + gap, spread)


def nearest_centroid(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """int64 [N], for each value the index of the nearest of the ascending `centroids` [K]."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values, side="right")
