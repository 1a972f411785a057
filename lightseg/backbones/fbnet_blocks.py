"""The layers of FBNet and FBNetV2, also of MobileNetV2 and V3: `lightseg.backbones.fbnet` builds nets of them."""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from timm.layers import DropPath, make_divisible
from torch import Tensor, nn

from lightseg.backbones.conv_bn import activation, conv_bn
from lightseg.catalog.arch import Act, Block, Conv, Skip


class ChannelShuffle(nn.Module):
    """Interleaves the channels of groups: [B, groups * n, H, W] in the order of [B, n * groups, H, W]."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: squeezes to a quarter of the channels; the gate is a hard sigmoid."""

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
    """`expand`, `depthwise`, `se`, `project`, the convolutions with batch norm; a block has only the layers it needs.

    The input is added where stride is 1 and channels are equal. `se_act`: activation of `se`; None: the block's.
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
    """1x1 convolution on the pooled map, as in the released nets; it also loads a linear weight [classes, in]."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__(in_chans, num_classes, 1)
        nn.init.normal_(self.weight, 0, 0.01)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.ndim == 2:
            state_dict[f"{prefix}weight"] = weight[:, :, None, None]
        super()._load_from_state_dict(state_dict, prefix, *rest)
