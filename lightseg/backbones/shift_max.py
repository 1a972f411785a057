"""Dynamic Shift-Max and channel shuffle of MicroNet (arXiv:2108.05894, section 4).

Shift-Max mixes a channel with a channel of the next group, with weights that depend on the image, and takes the larger
of two such mixtures:

    out_c = max over k = 1..K of  a_kc * x_c + b_kc * x_s(c)      K = 2 inside blocks, K = 1 on their outputs

The paper shifts by one group (equation 8, with J = 2). The released nets, and this file, shift by one group and within
it by one channel.

Consecutive shuffles are one permutation, and a permutation is one `index_select`, which costs as much as multiplying
the map by a number. Indices follow from the shape and are not in the state dict. In channels_last a permutation takes
three to six times as long, and a forward pass of MicroNet a tenth to a quarter longer.
"""

import torch
from torch import Tensor, nn


def shuffle_order(channels: int, *groups: int) -> Tensor:
    """int64 [channels], the source of each channel after a shuffle by each number of groups in turn.

    A shuffle by g reads the channels as g rows and writes them column by column.
    """
    order = torch.arange(channels)
    for g in groups:
        order = order.view(g, -1).T.flatten()
    return order


def shift_order(channels: int, groups: int) -> Tensor:
    """int64 [channels], the source of each channel after groups, and channels within each, move up by one."""
    return torch.arange(channels).view(groups, -1).roll((-1, -1), (0, 1)).flatten()


class ChannelShuffle(nn.Module):
    """Shuffles by each of `groups` in turn, as one permutation of [B, channels, H, W]."""

    def __init__(self, channels: int, *groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.order: Tensor
        self.register_buffer("order", shuffle_order(channels, *groups), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)


class ShiftMax(nn.Module):
    """Dynamic Shift-Max of [B, channels, H, W].

    Args:
        groups: of the shift.
        squeeze: channels between the two linear layers that predict the weights.
        init_a, init_b: K numbers each, the middle of the ranges of a_k and b_k.
    """

    RANGE = 2.0  # weights differ from their initial values by at most this

    def __init__(
        self, channels: int, groups: int, squeeze: int, init_a: tuple[float, ...], init_b: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.init = [value for pair in zip(init_a, init_b, strict=True) for value in pair]  # a1, b1, a2, b2
        self.fc = nn.Sequential(
            nn.Linear(channels, squeeze),
            nn.ReLU(inplace=True),
            nn.Linear(squeeze, channels * len(self.init)),
            nn.Hardsigmoid(),
        )
        self.order: Tensor
        self.register_buffer("order", shift_order(channels, groups), persistent=False)

    @property
    def madds(self) -> int:
        """Multiply-adds per element of the map, besides those of the linear layers."""
        return len(self.init)

    def forward(self, x: Tensor) -> Tensor:
        ranges = self.fc(x.mean((2, 3))).unflatten(1, (len(self.init), -1, 1, 1)).unbind(1)  # each [B, channels, 1, 1]
        weights = [(r - 0.5) * (2 * self.RANGE) + start for r, start in zip(ranges, self.init, strict=True)]
        shifted = x.index_select(1, self.order)
        mixtures = [torch.addcmul(x * a, shifted, b) for a, b in zip(weights[::2], weights[1::2], strict=True)]
        return mixtures[0] if len(mixtures) == 1 else torch.maximum(*mixtures)
