"""Any net by its name: `create_backbone("mobilenetv3_large")`."""

from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

import timm
from torch import nn

from lightseg.backbones.catalog import CATALOG, known, unknown_message
from lightseg.backbones.dilation import dilate
from lightseg.backbones.pyramid import FeaturePyramid, first_blocks, real_stages
from lightseg.backbones.weights import load_weights, timm_options, weights_missing
from lightseg.errors import LightsegError

OUTPUT_STRIDES = (8, 16, 32)
TAPS = ("last", "first")


def create_backbone(
    name: str,
    *,
    pretrained: bool | str | PathLike[str] = False,
    output_stride: int = 32,
    in_chans: int = 3,
    taps: str = "last",
    dilate_strided: bool = False,
    bn_eps: float | None = None,
    drop_path_rate: float = 0.0,
) -> FeaturePyramid:
    """Build a net as a feature pyramid.

    Args:
        name: a catalog name (`list_backbones()`, docs/backbones.md) or any timm name, with or without a weights tag.
            Where a name is both, the catalog's is meant: `efficientnet_b0` is the published net with TensorFlow's
            padding, timm's `tf_efficientnet_b0`.
        pretrained: False; True, timm's weights; or the path of a weight file (`.pth`, `.pt`, `.ckpt`, `.safetensors`).
        output_stride: largest stride of a map, 8, 16 or 32; beyond it strides become dilation.
        in_chans: channels of the images; the first convolution of pretrained weights is adapted as timm does.
        taps: where a map is taken: "last", after the last block of its stride; "first", after the first block of its
            stride for all but the deepest map (as torchvision's LR-ASPP does), for nets made of blocks.
        dilate_strided: dilate the layers that lost their stride too, as torchvision's MobileNetV3 does.
        bn_eps: epsilon of every batch norm, instead of the net's own.
        drop_path_rate: stochastic depth, the rate of the deepest block.

    Raises:
        LightsegError: an unknown name, a stride, tap or option that the net cannot give, or weights that cannot be had.
    """
    if not known(name):
        raise LightsegError(unknown_message(name))
    if output_stride not in OUTPUT_STRIDES:
        raise LightsegError(f"no output stride {output_stride}: choose from {', '.join(map(str, OUTPUT_STRIDES))}")
    if taps not in TAPS:
        raise LightsegError(f"no taps {taps!r}: choose from {', '.join(TAPS)}")
    net = timm_net(name, pretrained is True, in_chans, drop_path_rate)
    if bn_eps is not None:
        set_bn_eps(net, name, bn_eps)
    if not isinstance(pretrained, bool):
        load_weights(net, name, Path(pretrained))
    size = probe_size(net, name)
    if output_stride < 32:
        dilate(net, name, output_stride, size, in_chans, dilate_strided)
    pyramid = FeaturePyramid(net, name, in_chans, first_blocks(net, name) if taps == "first" else None)
    if name not in CATALOG or output_stride < 32 or taps != "last":
        try:
            pyramid.stages = real_stages(pyramid, size, in_chans)
        except RuntimeError as error:  # maps that are to be added have come apart
            raise LightsegError(f"{name} has no output stride {output_stride} ({one_line(error)})") from error
    if pyramid.output_stride > output_stride:
        raise LightsegError(f"{name} has no output stride {output_stride}, only {pyramid.output_stride}")
    return pyramid


def timm_net(name: str, pretrained: bool, in_chans: int, drop_path_rate: float) -> nn.Module:
    """timm's `features_only` net for a name, with timm's weights or random ones.

    Raises:
        LightsegError: timm has no pyramid, no weights or no stochastic depth for it.
    """
    timm_name = CATALOG[name].timm_name if name in CATALOG else name
    options: dict[str, Any] = {"features_only": True, "in_chans": in_chans}
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    net = None
    failure = ""
    if pretrained:
        weights = timm_options(name, timm_name)
        try:
            net = timm.create_model(timm_name, **options, **weights)
        except Exception as error:  # of the hub, the network, the disk or the net itself: the last is looked for below
            failure = one_line(error)
    try:
        net = net or timm.create_model(timm_name, **options)
    except Exception as error:  # timm raises whatever the net's own code raises
        if "drop_path_rate" in str(error):
            raise LightsegError(f"{name} has no stochastic depth: leave drop_path_rate at 0") from error
        raise LightsegError(f"timm makes no feature pyramid of {name}: {one_line(error)}") from error
    if failure:
        raise LightsegError(weights_missing(name, failure))
    info: Any = net.feature_info
    strides = info.reduction()
    if any(deep <= shallow for shallow, deep in pairwise(strides)) or any(stride & (stride - 1) for stride in strides):
        raise LightsegError(f"{name} is not a feature pyramid: its maps have strides {', '.join(map(str, strides))}")
    return net


def set_bn_eps(net: nn.Module, name: str, eps: float) -> None:
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        raise LightsegError(f"{name} has no batch norm: leave bn_eps unset")
    for norm in norms:
        norm.eps = eps


def probe_size(net: nn.Module, name: str) -> tuple[int, int]:
    """Pixels of the blank image a net is measured with: small, but some of timm's need more, or know one size only."""
    config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
    if config.get("fixed_input_size"):
        _, height, width = config["input_size"]
        return height, width
    return (128, 128) if name in CATALOG else (256, 256)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
