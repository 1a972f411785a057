"""`create_backbone("mobilenetv3_large")`: a feature pyramid by its name."""

import logging
from collections.abc import Sequence
from os import PathLike
from typing import Any

from torch import nn

from lightseg.backbones.build import build_net, fixed_size, try_size
from lightseg.backbones.dilation import NoOutputStride, dilate
from lightseg.backbones.pyramid import FeaturePyramid, expansions, first_blocks, real_stages
from lightseg.backbones.tail import drop_tail
from lightseg.catalog.arch import Arch
from lightseg.catalog.backbones import CATALOG
from lightseg.errors import LightsegError, one_line

OUTPUT_STRIDES = (8, 16, 32, 64)
log = logging.getLogger(__name__)
TAPS = {  # and the reason if a net has none
    "last": "",
    "projection": "",
    "first": "it is not a stem and a sequence of blocks",
    "expansion": "the first block of its deepest stride expands nothing",
}


def create_backbone(
    name: str | Arch,
    *,
    pretrained: bool | str | PathLike[str] = False,
    output_stride: int = 32,
    in_chans: int = 3,
    taps: str | Sequence[str] = "last",
    dilate_strided: bool = False,
    bn_eps: float | None = None,
    drop_path_rate: float = 0.0,
    input_format: str | None = None,
    image_size: tuple[int, int] | None = None,
    any_stride: bool = False,
) -> FeaturePyramid:
    """Build a net as a feature pyramid.

    Args:
        name: a catalog name (`list_backbones()`, docs/backbones.md), any timm name with or without a weights tag, an
            architecture or its path (`arch.yaml`), or an EfficientNet by its width and depth relative to B0
            (`efficientnet_w1.1_d1.2`). The catalog has precedence over timm: `efficientnet_b0` is the published net
            with TensorFlow's padding, timm's `tf_efficientnet_b0`.
        pretrained: False, True (official weights, docs/backbones.md) or the path of a weight file (`.pth`, `.pt`,
            `.ckpt`, `.safetensors`) in timm's or an official layout.
        output_stride: largest stride of a map, 8, 16 or 32, or 64 for nets that have it; strides beyond it become
            dilation.
        in_chans: channels of the images; the first convolution of pretrained weights is adapted as in timm.
        taps: where the map of a stride is taken. "last": after its last block. "first": after its first block, except
            for the deepest map (torchvision's LR-ASPP); for nets made of blocks. "expansion": as "last", but the last
            map but one is the expansion inside the first block of the deepest stride (SSDLite); for inverted residuals.
            "projection": as "last", without the 1x1 convolution that ends MobileNetV3's blocks (160 channels instead of
            960), which is not built; for other nets "last". From a sequence, the first that the net supports.
        dilate_strided: also dilate the layers that lost their stride, as in torchvision's MobileNetV3.
        bn_eps: epsilon of every batch norm; None: the net's default.
        drop_path_rate: stochastic depth, the rate of the deepest block.
        input_format: None: timm's normalization for the net. "bgr255": BGR in 0..255, on which megvii trained its
            released ShuffleNets. The pyramid declares it (`FeaturePyramid.input_format`) and does not apply it.
        image_size: (height, width) of the images. Nets that take a single size are built for it, and it is tried.
        any_stride: take the next larger stride that the net can have in place of `output_stride`, with a warning.

    Raises:
        LightsegError: an unknown name, a stride, tap or option that the net does not support, or weights that cannot be
            loaded.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise LightsegError(f"no output stride {output_stride}: choose from {', '.join(map(str, OUTPUT_STRIDES))}")
    choices = [taps] if isinstance(taps, str) else taps
    if not choices or any(choice not in TAPS for choice in choices):
        raise LightsegError(f"no taps {taps!r}: choose from {', '.join(TAPS)}")
    options = {
        "pretrained": pretrained,
        "bn_eps": bn_eps,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "image_size": image_size,
    }
    refusal = None
    for stride in (s for s in OUTPUT_STRIDES if s >= output_stride):
        try:
            pyramid = _pyramid(name, stride, choices, dilate_strided, input_format, options)
            break
        except NoOutputStride as error:
            if not any_stride or stride == OUTPUT_STRIDES[-1]:
                raise
            refusal = refusal or error
    if refusal is not None:
        log.warning(f"{refusal}: it is used at output stride {pyramid.output_stride}")
    if image_size is not None:
        try_size(pyramid, image_size, in_chans)
    return pyramid


def _pyramid(
    name: str | Arch,
    output_stride: int,
    choices: Sequence[str],
    dilate_strided: bool,
    input_format: str | None,
    options: dict[str, Any],
) -> FeaturePyramid:
    """The pyramid at an output stride. Raises NoOutputStride if the net cannot have it. options: of `build_net`."""
    # without the tail of a net before weights are loaded: a checkpoint of such a pyramid has none
    net, name = build_net(name, features_only=True, tail=choices[0] != "projection", **options)
    in_chans: int = options["in_chans"]
    size = probe_size(net, name)
    tapped = find_taps(net, name, choices, size, in_chans)
    if output_stride < 32:
        dilate(net, name, output_stride, size, in_chans, dilate_strided)
    pyramid = FeaturePyramid(net, name, in_chans, tapped, input_format)
    if name not in CATALOG or output_stride < 32 or tapped or "projection" in choices:
        try:
            pyramid.stages = real_stages(pyramid, size, in_chans)
        except Exception as error:  # maps that the net adds have different sizes
            raise NoOutputStride(f"{name} has no output stride {output_stride} ({one_line(error)[:200]})") from error
    if pyramid.output_stride > output_stride:
        raise NoOutputStride(f"{name} has no output stride {output_stride}, only {pyramid.output_stride}")
    if output_stride == OUTPUT_STRIDES[-1] and pyramid.output_stride < output_stride:
        raise LightsegError(f"{name} has no output stride {output_stride}: its largest is {pyramid.output_stride}")
    return pyramid


def find_taps(
    net: nn.Module, name: str, choices: Sequence[str], image_size: tuple[int, int], in_chans: int
) -> Sequence[str | None]:
    """The tapped module of each map, for the first of `choices` that the net supports; empty for "last" and for
    "projection", which removes the net's tail."""
    for choice in choices:
        if choice == "last":
            return ()
        if choice == "projection":
            drop_tail(net)
            return ()
        taps = first_blocks(net) if choice == "first" else expansions(net, image_size, in_chans)
        if taps is not None:
            return taps
    raise LightsegError(f"{name} has no taps '{choices[-1]}': {TAPS[choices[-1]]}; it has taps 'last'")


def probe_size(net: nn.Module, name: str) -> tuple[int, int]:
    """Size in pixels of the blank image for measuring a net. Some of timm's nets need a larger or a fixed size."""
    if (size := fixed_size(net)) is not None:
        return size
    return (128, 128) if name in CATALOG else (256, 256)
