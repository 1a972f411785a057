"""LR-ASPP's gate for images of any size: pooling and its way back as products with matrices made from the size.

The paper's pooling (49x49 with stride 16 and 20, never wider than the map) has a kernel that depends on the map, and a
gate whose side may be one place or many: neither is something a graph with symbols for height and width can hold. As
matrices both are: row i of one averages the places of window i, row y of the other mixes the two windows next to place
y as bilinear resizing does. Same function, other order of rounding.
"""

import torch
from torch import Tensor, nn

from lightseg.heads.lraspp import LRASPP, _PaperPool, _resize

KERNEL, STRIDES = 49, (16, 20)


def make_any_size(model: nn.Module) -> nn.Module:
    """Exchange in place what fixes the size of images in a `lightseg.model.Model`; returns it."""
    head = model.head
    if type(head) is LRASPP and isinstance(head.scale[0], _PaperPool):  # type: ignore[index]
        head.__class__ = AnySizeLRASPP
    return model


class AnySizeLRASPP(LRASPP):
    """LR-ASPP, variant `paper`, of the same layers."""

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        low, deep = features[self.low_index], features[-1]
        _, conv, sigmoid = self.scale
        windows, back = zip(*[window_matrices(deep, axis) for axis in (0, 1)], strict=True)
        gate = sigmoid(conv(windows[0] @ deep @ windows[1].T))
        gate = back[0] @ gate @ back[1].T
        return self.low_classifier(low) + _resize(self.high_classifier(self.dropout(self.cbr(deep) * gate)), low)


def window_matrices(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """For the height (axis 0) or width (1) of maps [B,C,H,W]: [n, side], means of windows, and [side, n], the bilinear
    way back. `n` is one or two more than there are windows, so that it is never one, which graphs would take for a
    constant; the rows that are too many have no weight.
    """
    side, stride = x.shape[2 + axis], STRIDES[axis]
    place = torch.arange(side, device=x.device)
    index = torch.arange(side // stride + 2, device=x.device)
    first = (index * stride)[:, None]
    inside = ((place >= first) & (place < first + KERNEL)).to(x.dtype)
    means = inside / inside.sum(1, keepdim=True).clamp(min=1)
    count = ((first <= side - KERNEL) | (first == 0)).sum()
    source = ((place + 0.5) * (count / side) - 0.5).clamp(min=0).minimum(count - 1)
    back = (1 - (source[:, None] - index).abs()).clamp(min=0).to(x.dtype)
    return means, back
