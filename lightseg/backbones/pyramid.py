"""Any net as a feature pyramid: `create_backbone("mobilenetv3_large")`."""

from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import timm
from timm.models import FeatureInfo
from torch import Tensor, nn

from lightseg.backbones.catalog import CATALOG, known, unknown_message
from lightseg.backbones.dilation import dilate, nominal_stride, probe
from lightseg.errors import LightsegError

OUTPUT_STRIDES = (8, 16, 32)
TAPS = ("last", "first")
PROBE_SIZE = (128, 128)  # pixels; leaves a map of 4 x 4 at stride 32


class Stage(NamedTuple):
    """One map of a pyramid: its channels and its nominal stride (a net that pads nothing gives slightly smaller maps)."""

    channels: int
    stride: int


class FeaturePyramid(nn.Module):
    """A net that gives a list of maps, shallow to deep.

    Attributes:
        net: timm's `features_only` net; its parameters keep timm's names.
        name: the name it was asked for by.
        stages: one `Stage` for each map of `forward`.
        output_stride: stride of the deepest map.
        mean, std: the normalisation that the net's weights were trained with, one value an input channel, for pixels in 0..1.
    """

    def __init__(self, net: nn.Module, name: str, in_chans: int, taps: list[str] | None = None) -> None:
        """
        Args:
            taps: modules of `net` whose outputs stand in for its own maps, one for each; None: its own maps.
        """
        super().__init__()
        info: FeatureInfo = net.feature_info  # type: ignore[assignment]
        config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
        self.net = net
        self.name = name
        self.stages = tuple(Stage(c, s) for c, s in zip(info.channels(), info.reduction(), strict=True))
        self.mean = per_channel(config["mean"], in_chans)
        self.std = per_channel(config["std"], in_chans)
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")) == "Format.NHWC"
        self._taps = taps
        self._tapped: dict[str, Tensor] = {}
        for tap in taps or []:
            net.get_submodule(tap).register_forward_hook(partial(self._keep, tap))

    @property
    def output_stride(self) -> int:
        return self.stages[-1].stride

    def _keep(self, tap: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._tapped[tap] = output

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: normalised images [B, in_chans, H, W]. Returns a map [B, channels, ~H/stride, ~W/stride] for each stage."""
        maps = list(self.net(x))
        if self._taps is not None:
            maps = [self._tapped.pop(tap) for tap in self._taps]
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps


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
        name: a catalog name (`list_backbones()`, docs/backbones.md) or any timm name, with or without a weights tag. Where
            a name is both, the catalog's is meant: `efficientnet_b0` is the published net with TensorFlow's padding,
            timm's `tf_efficientnet_b0`.
        pretrained: False; True, timm's weights; or the path of a weight file (`.pth`, `.pt`, `.safetensors`).
        output_stride: largest stride of a map, 8, 16 or 32; past it strides become dilation.
        in_chans: channels of the images; the first convolution of pretrained weights is adapted as timm does.
        taps: where a map is taken: "last", after the last block of its stride; "first", after the first block of its
            stride for all but the deepest map (as torchvision's LR-ASPP does), for nets made of `blocks`.
        dilate_strided: dilate the layers that lost their stride too, as torchvision's MobileNetV3 does.
        bn_eps: epsilon of every batch norm, instead of the net's own.
        drop_path_rate: stochastic depth.

    Raises:
        LightsegError: an unknown name, a stride or tap that the net cannot give, or weights that cannot be had.
    """
    if not known(name):
        raise LightsegError(unknown_message(name))
    if output_stride not in OUTPUT_STRIDES:
        raise LightsegError(f"no output stride {output_stride}: choose from {', '.join(map(str, OUTPUT_STRIDES))}")
    if taps not in TAPS:
        raise LightsegError(f"no taps {taps!r}: choose from {', '.join(TAPS)}")
    timm_name = CATALOG[name].timm_name if name in CATALOG else name
    options: dict[str, Any] = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
    net = timm.create_model(timm_name, features_only=True, in_chans=in_chans, **options)
    if bn_eps is not None:
        set_bn_eps(net, bn_eps)
    if output_stride < 32:
        dilate(net, name, output_stride, PROBE_SIZE, in_chans, dilate_strided)
    pyramid = FeaturePyramid(net, name, in_chans, first_blocks(net, name) if taps == "first" else None)
    if output_stride < 32 or taps != "last" or name not in CATALOG:
        pyramid.stages = real_stages(pyramid, in_chans)
        if pyramid.output_stride > output_stride:
            raise LightsegError(f"{name} has no output stride {output_stride}, only {pyramid.output_stride}")
    return pyramid


def real_stages(pyramid: FeaturePyramid, in_chans: int) -> tuple[Stage, ...]:
    """What the maps of a blank image measure."""
    maps = probe(pyramid, PROBE_SIZE, in_chans)
    return tuple(Stage(m.shape[1], nominal_stride(PROBE_SIZE[0], m.shape[2])) for m in maps)


def first_blocks(net: nn.Module, name: str) -> list[str]:
    """The modules whose outputs are the first of their stride, the deepest map staying the net's last.

    Raises:
        LightsegError: the net is not a stem and a sequence of `blocks`.
    """
    info: Any = net.feature_info
    if not all("stage" in entry for entry in info.get_dicts()) or not hasattr(net, "blocks"):
        raise LightsegError(
            f"{name} has no taps 'first', which is for nets made of a stem and blocks; it has taps 'last'"
        )
    *shallow, deepest = info.get("stage")  # 0 is the stem; n is the output of blocks[n - 1]
    stem = "act1" if hasattr(net, "act1") else "bn1"
    # The first block of a stride follows the last one of the stride before.
    firsts = [f"blocks.{before}.0" for before in (0, *shallow)]
    return [stem if end == 0 else first for end, first in zip(shallow, firsts, strict=False)] + [
        f"blocks.{deepest - 1}"
    ]


def set_bn_eps(net: nn.Module, eps: float) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps


def per_channel(values: tuple[float, ...], in_chans: int) -> tuple[float, ...]:
    """Statistics for `in_chans` channels: one channel takes the mean of RGB's, more than three repeat them in turn, the way
    timm adapts the first convolution."""
    if in_chans == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(in_chans))
