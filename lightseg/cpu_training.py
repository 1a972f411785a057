"""Training of convolutional networks on CPUs: same layers, parameters and results, faster and correct gradients.

`optimize_for_cpu` replaces the classes of a few kinds of layers in place. Parameters, buffers and state-dict keys stay,
evaluation and export run the plain operations, and gradients are equal up to rounding. The layers and reasons (oneDNN
3.12 and torch 2.14 on AVX-512, float32, channels_last):

- Depthwise convolutions of 5x5 or with dilation. oneDNN's depthwise kernels give weight gradients of at most three
  undilated columns; all others fall back to a grouped kernel that pads each channel to a block of 16. Here the weight
  gradient is assembled from kernels three columns wide, dilated ones are split into their d x d independent grids
  ("Smoothed Dilated Convolutions", Wang and Ji, KDD 2018, arXiv 1808.08931, section 3), and the input gradient at
  stride 1 is a forward convolution with the mirrored kernel. Backward is three to five times faster (8x960x16x32, 5x5,
  dilation 2, one core: 87 -> 18 ms).
- Squeeze-and-excitation and global average pooling. Autograd's gradient of a mean is a full-size tensor in NCHW order,
  then added to a channels_last one; here it stays a broadcast.
- 1x1 convolutions with a stride on few input channels. oneDNN's weight gradient writes past its buffer where the input
  is channels_last and has fewer channels than a block (8 with AVX2, 16 with AVX-512; uxlfoundation/oneDNN issue 6035):
  the process crashes, or the gradient is wrong. Here the pixels that the stride skips are sliced away first.
- Hardswish and SiLU in place. Both need their input for the gradient, so autograd clones it. Out of place is faster.
"""

from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Net = TypeVar("Net", bound=nn.Module)
BLOCK = 16  # input channels in a block of oneDNN's largest kernels
TILE = 3  # columns of the widest kernel that oneDNN's depthwise weight gradient takes


def optimize_for_cpu(model: Net) -> Net:
    """Replace the classes of layers of `model` that need another gradient on CPUs, in place. Returns `model`.

    Only exact types are replaced (no subclass of a convolution), so layers with a custom forward keep it.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_slow_depthwise(module):
            module.__class__ = DepthwiseConv2d
        elif type(module) is nn.Conv2d and _is_strided_pointwise(module):
            module.__class__ = StridedPointwiseConv2d
        elif type(module) is SqueezeExcite:
            module.__class__ = FastSqueezeExcite
        elif type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1)):
            module.__class__ = GlobalAveragePool
        elif type(module) in (nn.Hardswish, nn.SiLU):
            cast(nn.Hardswish, module).inplace = False
    return model


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise `nn.Conv2d` whose gradients use the fast kernels; see the module's docstring."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        fast = (
            _trains_on_cpu(input, weight)
            and input.dim() == 4
            and input.is_contiguous(memory_format=torch.channels_last)
            # every grid of a dilated kernel has a row, and enough columns for each tile
            and input.shape[2] >= self.dilation[0]
            and input.shape[3] >= self.dilation[1] * self.kernel_size[1]
        )
        if not fast:
            return super()._conv_forward(input, weight, bias)
        return _DepthwiseConvolution.apply(input, weight, self.stride, self.padding, self.dilation)


class StridedPointwiseConv2d(nn.Conv2d):
    """A 1x1 `nn.Conv2d` that drops the pixels between its strides first: the same sums, without oneDNN's stride."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        rows, columns = self.stride
        return F.conv2d(input[..., ::rows, ::columns], weight, bias, groups=self.groups)


class FastSqueezeExcite(SqueezeExcite):
    """timm's squeeze-and-excitation with a pooling whose gradient is a broadcast."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(_mean(x)))))


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """`nn.AdaptiveAvgPool2d(1)` whose gradient is a broadcast."""

    def forward(self, input: Tensor) -> Tensor:
        return _mean(input)


def _is_slow_depthwise(conv: nn.Conv2d) -> bool:
    if not 1 < conv.groups == conv.in_channels == conv.out_channels or conv.bias is not None:
        return False
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    sides = list(zip(conv.kernel_size, conv.padding, conv.dilation, strict=True))
    if any(padding > dilation * (kernel - 1) for kernel, padding, dilation in sides):
        return False
    if conv.dilation == (1, 1):
        return conv.kernel_size[1] > TILE
    keeps_size = all(2 * padding == dilation * (kernel - 1) for kernel, padding, dilation in sides)
    odd = all(kernel % 2 for kernel in conv.kernel_size)
    return conv.stride == (1, 1) and keeps_size and odd


def _is_strided_pointwise(conv: nn.Conv2d) -> bool:
    unpadded = conv.padding in ((0, 0), "valid", "same")
    return conv.kernel_size == (1, 1) and max(conv.stride) > 1 and unpadded and conv.in_channels // conv.groups < BLOCK


def _trains_on_cpu(x: Tensor, weight: Tensor | None = None) -> bool:
    """Whether this is float32 training on a CPU: no evaluation, export, autocast or torch.compile."""
    dtypes = {x.dtype} if weight is None else {x.dtype, weight.dtype}
    return (
        x.device.type == "cpu"
        and dtypes == {torch.float32}
        and torch.is_grad_enabled()
        and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or torch.jit.is_tracing())
    )


def _mean(x: Tensor) -> Tensor:
    return cast(Tensor, _GlobalMean.apply(x)) if _trains_on_cpu(x) else x.mean((2, 3), keepdim=True)


class _GlobalMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return (grad / (ctx.shape[2] * ctx.shape[3])).expand(ctx.shape)


class _DepthwiseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride, padding, dilation) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation
        return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        grad = grad.contiguous(memory_format=torch.channels_last)
        input_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = _input_gradient(grad, x, weight, stride, padding, dilation)
        if ctx.needs_input_grad[1]:
            kernel_size = weight.shape[-2:]
            rows, columns = dilation
            # at equal size, output pixel (i, j) depends only on inputs with the same residues i mod d and j mod d
            grids = [(..., slice(i, None, rows), slice(j, None, columns)) for i in range(rows) for j in range(columns)]
            margins = padding[0] // rows, padding[1] // columns
            weight_gradient = sum(_weight_gradient(grad[g], x[g], kernel_size, stride, margins) for g in grids)
        return input_gradient, weight_gradient, None, None, None


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride, padding, dilation) -> Tensor:
    channels = x.shape[1]
    if stride != (1, 1):
        backward = torch.ops.aten.convolution_backward
        output_mask = [True, False, False]
        return backward(grad, x, weight, None, stride, padding, dilation, False, [0, 0], channels, output_mask)[0]
    rows, columns = (d * (k - 1) - p for k, p, d in zip(weight.shape[-2:], padding, dilation, strict=True))
    return F.conv2d(grad, weight.flip(2, 3), None, 1, (rows, columns), dilation, groups=channels)


def _weight_gradient(grad: Tensor, x: Tensor, kernel_size, stride, padding) -> Tensor:
    """Gradient [C, 1, kh, kw] of the weight of an undilated depthwise convolution, at most three columns at a time."""
    channels, (height, width) = x.shape[1], kernel_size
    grad = grad.contiguous(memory_format=torch.channels_last)
    tiles = []
    for first in range(0, width, TILE):
        columns = min(TILE, width - first)
        # the input columns that these kernel columns multiply; zeros beyond the edge, and a negative padding crops
        left = padding[1] - first
        right = stride[1] * (grad.shape[3] - 1) + columns - left - x.shape[3]
        part = F.pad(x, (left, right)).contiguous(memory_format=torch.channels_last)
        weight = x.new_empty(channels, 1, height, columns)
        tiles.append(
            torch.ops.aten.convolution_backward(
                grad,
                part,
                weight,
                None,
                stride,
                (padding[0], 0),
                (1, 1),
                False,
                [0, 0],
                channels,
                [False, True, False],
            )[1]
        )
    return torch.cat(tiles, 3)
