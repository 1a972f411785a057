"""The layers of FBNet and FBNetV2, which are MobileNetV2's and V3's too: `lightseg.backbones.fbnet` joins them."""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from timm.layers import DropPath, make_divisible
from torch import Tensor, nn

from lightseg.catalog.arch import Act, Block, Conv, Skip


def activation(act: Act) -> nn.Module:
    if act == "relu6":
        return nn.ReLU6(inplace=True)
    return nn.Hardswish() if act == "hswish" else nn.ReLU(inplace=True)


def conv_bn(
    in_chans: int, out_chans: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool, act: Act | None = None
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(in_chans, out_chans, kernel, stride, kernel // 2, groups=groups, bias=bias),
        "bn": nn.BatchNorm2d(out_chans),
    }
    if act:
        layers["act"] = activation(act)
    return nn.Sequential(OrderedDict(layers))


class ChannelShuffle(nn.Module):
    """The channels of `groups` groups interleaved: [B, groups * n, H, W] in the order of [B, n * groups, H, W]."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class SqueezeExcite(nn.Module):
    """Channels weighted by their means, through a quarter of them; the gate is a hard sigmoid."""

    def __init__(self, channels: int, act: Act) -> None:
        super().__init__()
        squeezed = make_divisible(channels / 4, 8)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.act = activation(act)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(self.act(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


class InvertedResidual(nn.Sequential):
    """`expand`, `depthwise`, `se`, `project`, each with its batch norm; what a block has not is not there.

    The input is added where stride and channels allow it. `se_act`: of `se`; None: the block's.
    """

    def __init__(self, in_chans: int, block: Block, bias: bool, drop_path: float, se_act: Act | None = None) -> None:
        mid = block.mid
        layers: dict[str, nn.Module] = {}
        if mid != in_chans:
            layers["expand"] = conv_bn(in_chans, mid, 1, bias=bias, act=block.act)
        if block.groups > 1:
            layers["shuffle"] = ChannelShuffle(block.groups)
        layers["depthwise"] = conv_bn(mid, mid, block.kernel, stride=block.stride, groups=mid, bias=bias, act=block.act)
        if block.se:
            layers["se"] = SqueezeExcite(mid, se_act or block.act)
        layers["project"] = conv_bn(mid, block.out, 1, groups=block.groups, bias=bias)
        residual = block.stride == 1 and in_chans == block.out
        if residual and drop_path:
            layers["drop_path"] = DropPath(drop_path)
        super().__init__(OrderedDict(layers))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_chans, H, W]. Returns [B, out, ceil(H / stride), ceil(W / stride)]."""
        y: Tensor = super().forward(x)
        return x + y if self.residual else y


def make_block(
    in_chans: int, block: Block | Skip | Conv, bias: bool, drop_path: float, se_act: Act | None = None
) -> nn.Module:
    if isinstance(block, Block):
        return InvertedResidual(in_chans, block, bias, drop_path, se_act)
    if isinstance(block, Conv):
        return conv_bn(in_chans, block.out, 1, stride=block.stride, bias=bias, act=block.act)
    if block.stride == 1 and in_chans == block.out:
        return nn.Identity()
    return conv_bn(in_chans, block.out, 1, stride=block.stride, bias=bias, act="relu")


class Classifier(nn.Conv2d):
    """1x1 convolution over the pooled map, as released; a linear layer's weight [classes, in] loads too."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__(in_chans, num_classes, 1)
        nn.init.normal_(self.weight, 0, 0.01)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.ndim == 2:
            state_dict[f"{prefix}weight"] = weight[:, :, None, None]
        super()._load_from_state_dict(state_dict, prefix, *rest)
