"""Layers for dynamic shapes, in graphs with symbols for height and width: the poolings of LR-ASPP and MobileSeg, and
"same" padding.

The gate. The paper's pooling (49x49 with strides 16 and 20, never wider than the map) has a kernel that depends on the
size of the map, and its output may have one cell or many. Here it is written as products with matrices that are made
from the size. Row i of the first matrix averages the cells of window i. Row y of the second mixes the two windows next
to cell y, as bilinear resizing does.

TensorFlow's "same" padding (EfficientNet-Lite, the tf_ nets). Its amount depends on the size at every stride. As timm
writes it, the size of a map depends on all paddings before. Here a layer pads every image by the same number of rows,
and the size decides only how many of them lie before the first row. The side of the map is then ceil(side / stride).

The context of MobileSeg. Its poolings are products with matrices that average windows, likewise made from the size.

The functions are the same; rounding is in another order.
"""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from lightseg.heads.lraspp import LRASPP, _PaperPool, _resize
from lightseg.heads.mobileseg import Context

KERNEL, STRIDES = 49, (16, 20)


def make_any_size(model: nn.Module) -> nn.Module:
    """Replace, in place, the layers of a `lightseg.model.Model` that fix the size of images. Returns the model."""
    head = model.head
    if type(head) is LRASPP and isinstance(head.scale[0], _PaperPool):  # type: ignore[index]
        head.__class__ = AnySizeLRASPP
    for layer in model.modules():
        if type(layer) is Conv2dSame:
            layer.__class__ = AnySizeConv2dSame
        if type(layer) is Context:
            layer.__class__ = AnySizeContext
    return model


class AnySizeConv2dSame(Conv2dSame):
    """timm's convolution with TensorFlow's padding, with the same weights."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""
        padding = [*self._padding(x, 1), *self._padding(x, 0)]
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding(self, x: Tensor, axis: int) -> tuple[int, int]:
        """Rows before and after. Before: as in TensorFlow. After: such that the sum is the same for every side."""
        side, stride = x.shape[2 + axis], self.stride[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        before = (reach + 1 - stride + -side % stride) // 2 if reach + 1 >= stride else 0
        return before, reach - before


class AnySizeLRASPP(LRASPP):
    """LR-ASPP, variant `paper`, with the same layers."""

    def forward(self, features: list[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        low, deep = features[self.low_index], features[-1]
        _, conv, sigmoid = self.scale
        windows, back = zip(*[window_matrices(deep, axis) for axis in (0, 1)], strict=True)
        gate = sigmoid(conv(windows[0] @ deep @ windows[1].T))
        gate = back[0] @ gate @ back[1].T
        return self.low_classifier(low) + _resize(self.high_classifier(self.dropout(self.cbr(deep) * gate)), low)


def window_matrices(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The matrices for the height (axis 0) or width (axis 1) of maps [B, C, H, W].

    Returns [n, side], which averages windows, and [side, n], which resizes back bilinearly. `n` is the number of
    windows plus 1 or 2: it is never 1, which a graph would store as a constant. The additional rows have no weight.
    """
    side, stride = x.shape[2 + axis], STRIDES[axis]
    cell = torch.arange(side, device=x.device)
    index = torch.arange(side // stride + 2, device=x.device)
    first = (index * stride)[:, None]
    inside = ((cell >= first) & (cell < first + KERNEL)).to(x.dtype)
    means = inside / inside.sum(1, keepdim=True).clamp(min=1)
    count = ((first <= side - KERNEL) | (first == 0)).sum()
    source = ((cell + 0.5) * (count / side) - 0.5).clamp(min=0).minimum(count - 1)
    back = (1 - (source[:, None] - index).abs()).clamp(min=0).to(x.dtype)
    return means, back


class AnySizeContext(Context):
    """MobileSeg's context: the windows of its poolings are made from the size."""

    def pool(self, x: Tensor, bins: int) -> Tensor:
        if bins == 1:
            return x.mean((2, 3), keepdim=True)
        rows, columns = (adaptive_windows(x, axis, bins) for axis in (0, 1))
        return rows @ x @ columns.T


def adaptive_windows(x: Tensor, axis: int, bins: int) -> Tensor:
    """[bins, side], which averages the windows of adaptive average pooling along the height (axis 0) or width."""
    side = x.shape[2 + axis]
    cell, index = torch.arange(side, device=x.device), torch.arange(bins, device=x.device)[:, None]
    inside = ((cell >= index * side // bins) & (cell * bins < (index + 1) * side)).to(x.dtype)
    return inside / inside.sum(1, keepdim=True)
