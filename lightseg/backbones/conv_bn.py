"""Convolution, batch norm and activation: the block that nets of several families are made of."""

from collections import OrderedDict

from torch import nn

from lightseg.catalog.arch import Act


def activation(act: Act) -> nn.Module:
    if act == "relu6":
        return nn.ReLU6(inplace=True)
    return nn.Hardswish() if act == "hswish" else nn.ReLU(inplace=True)


def conv_bn(
    in_chans: int,
    out_chans: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    bias: bool = False,
    act: Act | None = None,
) -> nn.Sequential:
    """Layers `conv`, `bn` and, with `act`, `act`. Where a released net numbers them: `nn.Sequential(*conv_bn(...))`."""
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(in_chans, out_chans, kernel, stride, kernel // 2, groups=groups, bias=bias),
        "bn": nn.BatchNorm2d(out_chans),
    }
    if act:
        layers["act"] = activation(act)
    return nn.Sequential(OrderedDict(layers))
