"""Output strides 8 and 16 for any convolutional pyramid.

A layer whose stride would exceed the output stride gets stride 1, and every later layer is dilated by the factor that
was removed, so that it reads the same input samples as before (the à trous algorithm: DeepLab, arXiv:1606.00915,
section 3.1). The strided layer itself keeps its dilation; torchvision's MobileNetV3 dilates it as well
(`dilate_strided`).

The nominal stride of the input of each convolution and pooling is measured with one forward pass of a small blank
image: the order in which modules are registered is not always the order in which they run (Xception registers each
shortcut before the branch beside it).
"""

from collections.abc import Callable
from math import log2
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightseg.errors import LightsegError


class NoOutputStride(LightsegError):
    """A net cannot have the output stride."""


Pair = tuple[int, int]  # vertical, horizontal


def dilate(
    net: nn.Module, name: str, output_stride: int, image_size: Pair, in_chans: int, dilate_strided: bool
) -> None:
    """Limit the stride of every map of `net` to `output_stride`, in place; parameters keep their names and values.

    Args:
        name: the net's name, for the error.
        image_size: pixels of the blank image, multiples of 32.
        dilate_strided: dilate the layers that lost their stride too.

    Raises:
        NoOutputStride: an average pooling that cannot be dilated: of even size, or with a mean that leaves padding out.
    """
    inputs: dict[str, Pair] = {}
    handles = [
        layer.register_forward_pre_hook(_note_stride(inputs, path, image_size))
        for path, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
    ]
    probe(net, image_size, in_chans)
    for handle in handles:
        handle.remove()
    for path, before in inputs.items():
        layer: Any = net.get_submodule(path)
        stride = _pair(layer.stride)
        # the remaining stride of the layer, and its new dilation relative to the old one
        left = _each(lambda s, b: s if b * s <= output_stride else max(1, output_stride // b), stride, before)
        nominal = _each(lambda s, b: b * s if dilate_strided else b, stride, before)
        rate = _each(lambda n, k: max(1, n // output_stride) if k > 1 else 1, nominal, _pair(layer.kernel_size))
        even = any(k % 2 == 0 for k in _pair(layer.kernel_size))
        if isinstance(layer, nn.AvgPool2d):
            mean_of_all = layer.count_include_pad and not layer.ceil_mode and not layer.divisor_override
            if (rate != (1, 1) and not mean_of_all) or ((rate != (1, 1) or left != stride) and even):
                raise NoOutputStride(
                    f"{name} has no output stride {output_stride}: its average pooling {path} has no dilation"
                )
            if rate != (1, 1):
                _replace(net, path, DilatedAvgPool2d(_pair(layer.kernel_size), left, _pair(layer.padding), rate))
                continue
        layer.stride = left
        if rate == (1, 1):
            continue
        layer.dilation = _each(int.__mul__, _pair(layer.dilation), rate)
        if isinstance(layer.padding, str):
            continue  # torch derives "same" and "valid" from the dilation
        # 0 in nets with TensorFlow's SAME padding, which depends on the input size and is computed in forward
        padding = _each(int.__mul__, _pair(layer.padding), rate)
        if isinstance(layer, nn.MaxPool2d) and max(padding) > min(_pair(layer.kernel_size)) // 2:
            layer.padding = 0  # torch limits padding to half the undilated kernel
            _replace(net, path, nn.Sequential(_pad_lowest(padding), layer))
        else:
            layer.padding = padding


class DilatedAvgPool2d(nn.Module):
    """nn.AvgPool2d with a dilation: the mean of kernel_size samples that are `dilation` apart. Padding counts as 0."""

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding = _each(int.__mul__, padding, dilation)

    def forward(self, x: Tensor) -> Tensor:
        channels, size = x.shape[1], self.kernel_size[0] * self.kernel_size[1]
        weight = x.new_full((1, 1, *self.kernel_size), 1 / size).expand(channels, 1, *self.kernel_size)
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, channels)


@torch.no_grad()
def probe(module: nn.Module, image_size: Pair, in_chans: int) -> Any:
    """The net's output for a blank image, in evaluation mode. Leaves the net and the random state unchanged."""
    weight = next(module.parameters())
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        return module(torch.zeros(1, in_chans, *image_size, device=weight.device, dtype=weight.dtype))
    finally:
        for layer, training in modes.items():
            layer.training = training


def nominal_stride(pixels: int, cells: int) -> int:
    """The power of two nearest to pixels / cells: maps of nets without padding are slightly below the nominal size."""
    return 2 ** max(0, round(log2(pixels / cells)))


def _note_stride(strides: dict[str, Pair], path: str, image_size: Pair) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
        strides.setdefault(path, _each(nominal_stride, image_size, tuple(inputs[0].shape[-2:])))

    return hook


def _replace(net: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)


def _pad_lowest(padding: Pair) -> nn.ConstantPad2d:
    vertical, horizontal = padding
    return nn.ConstantPad2d((horizontal, horizontal, vertical, vertical), float("-inf"))


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _each(function: Callable[[int, int], int], a: tuple[int, ...], b: tuple[int, ...]) -> Pair:
    return function(a[0], b[0]), function(a[1], b[1])
