"""Output strides 8 and 16 for any convolutional pyramid, by one rule for every net.

A layer whose stride would go past the wanted output stride gets stride 1, and every later layer is dilated by what was
saved, so that it looks at the same input samples as before (the à trous algorithm: DeepLab, arXiv:1606.00915, section
3.1). The strided layer itself reads the map before the stride and keeps its old rate; torchvision's MobileNetV3 dilates
it as well (`dilate_strided`).

The rule needs, for each convolution and pooling, the nominal stride of its input. That is measured with one forward of
a small blank image, because the order in which modules are registered is not the order in which they run (Xception
registers each shortcut before the branch beside it).
"""

from collections.abc import Callable
from math import log2
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightseg.errors import LightsegError

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
        LightsegError: an average pooling that cannot be dilated: of even size, or with a mean that leaves padding out.
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
        # What is left of the layer's stride, and the rate at which it now has to read its input.
        left = _each(lambda s, b: s if b * s <= output_stride else max(1, output_stride // b), stride, before)
        reach = _each(lambda s, b: b * s if dilate_strided else b, stride, before)
        rate = _each(lambda r, k: max(1, r // output_stride) if k > 1 else 1, reach, _pair(layer.kernel_size))
        even = any(k % 2 == 0 for k in _pair(layer.kernel_size))
        if isinstance(layer, nn.AvgPool2d):
            mean_of_all = layer.count_include_pad and not layer.ceil_mode and not layer.divisor_override
            if (rate != (1, 1) and not mean_of_all) or ((rate != (1, 1) or left != stride) and even):
                raise LightsegError(
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
            continue  # "same" and "valid" are worked out from the dilation
        # 0 in nets with TensorFlow's SAME padding, whose layers pad by stride and dilation as they run.
        padding = _each(int.__mul__, _pair(layer.padding), rate)
        if isinstance(layer, nn.MaxPool2d) and max(padding) > min(_pair(layer.kernel_size)) // 2:
            layer.padding = 0  # torch limits it to half the kernel, dilated or not
            _replace(net, path, nn.Sequential(_pad_lowest(padding), layer))
        else:
            layer.padding = padding


class DilatedAvgPool2d(nn.Module):
    """nn.AvgPool2d with a dilation: the mean of kernel_size samples that are `dilation` apart, padding counted as 0."""

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
    """What the net returns for one blank image, in evaluation mode: it leaves no trace and draws no random numbers."""
    weight = next(module.parameters())
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        return module(torch.zeros(1, in_chans, *image_size, device=weight.device, dtype=weight.dtype))
    finally:
        for layer, training in modes.items():
            layer.training = training


def nominal_stride(pixels: int, cells: int) -> int:
    """The power of two nearest to pixels / cells: nets that pad nothing have maps a little under their nominal size."""
    return 2 ** max(0, round(log2(pixels / cells)))


def _note_stride(strides: dict[str, Pair], path: str, image_size: Pair) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
        strides.setdefault(path, _each(nominal_stride, image_size, tuple(inputs[0].shape[-2:])))

    return hook


def _replace(net: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, own = path.rpartition(".")
    setattr(net.get_submodule(parent), own, layer)


def _pad_lowest(padding: Pair) -> nn.ConstantPad2d:
    vertical, horizontal = padding
    return nn.ConstantPad2d((horizontal, horizontal, vertical, vertical), float("-inf"))


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _each(function: Callable[[int, int], int], a: tuple[int, ...], b: tuple[int, ...]) -> Pair:
    return function(a[0], b[0]), function(a[1], b[1])
