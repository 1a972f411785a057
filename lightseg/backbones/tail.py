"""The 1x1 convolutions at the end of a net's blocks, which widen the deepest map for its classifier (MobileNetV3,
arXiv:1905.02244, figure 5)."""

from typing import Any

from timm.models._efficientnet_blocks import ConvBnAct
from torch import nn


def drop_tail(net: nn.Module) -> None:
    """Remove them, in place: the deepest map is then the projection of the last inverted residual, with 160 instead of
    960 channels in MobileNetV3-Large. Nets without such convolutions stay as they are."""
    blocks: Any = getattr(net, "blocks", None)
    stage = blocks[-1] if isinstance(blocks, nn.Sequential) and len(blocks) > 1 else None
    while isinstance(stage, nn.Sequential) and len(stage) and _is_pointwise(stage[-1]):
        del stage[-1]  # an empty stage returns its input


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, ConvBnAct) and layer.conv.kernel_size == layer.conv.stride == (1, 1)
