"""Layers whose arithmetic a graph with symbols for height and width can hold: LR-ASPP's gate, and "same" padding.

The gate: the paper's pooling (49x49 with stride 16 and 20, never wider than the map) has a kernel that depends on the
map, and its side may be one place or many. As products with matrices made from the size, it is neither: row i of one
averages the places of window i, row y of the other mixes the two windows next to place y as bilinear resizing does.

TensorFlow's padding (EfficientNet-Lite, the tf_ nets): how much depends on the size, at every stride anew, and the
size of the map after it, as timm writes it, on all paddings before. Here all of a layer's images get the same number of
rows, and the size decides only how many of them lie before the first: the map's side is ceil(side / stride), no more.

Same functions, the gate's in another order of rounding.
"""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from lightseg.heads.lraspp import LRASPP, _PaperPool, _resize

KERNEL, STRIDES = 49, (16, 20)


def make_any_size(model: nn.Module) -> nn.Module:
    """Exchange in place what fixes the size of images in a `lightseg.model.Model`; returns it."""
    head = model.head
    if type(head) is LRASPP and isinstance(head.scale[0], _PaperPool):  # type: ignore[index]
        head.__class__ = AnySizeLRASPP
    for layer in model.modules():
        if type(layer) is Conv2dSame:
            layer.__class__ = AnySizeConv2dSame
    return model


class AnySizeConv2dSame(Conv2dSame):
    """timm's convolution with TensorFlow's padding, of the same weights."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""
        padding = [*self._padding(x, 1), *self._padding(x, 0)]
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding(self, x: Tensor, axis: int) -> tuple[int, int]:
        """Before and after: TensorFlow's, and after it up to a sum that is the same for every side."""
        side, stride = x.shape[2 + axis], self.stride[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        before = (reach + 1 - stride + -side % stride) // 2 if reach + 1 >= stride else 0
        return before, reach - before


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
