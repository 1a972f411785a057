"""timm's inverted-residual nets as block tables for architecture search: MobileNetV2, V3, MnasNet-B1.

`block_table("mobilenetv3_small")` is the `Arch` of timm's net, and `table_names` maps the layers of
`lightseg.backbones.fbnet.FBNet` to timm's: with the weights copied, the two compute the same.

    python -m lightseg.backbones.block_table mobilenetv3_small > small_arch.yaml      # for backbone=small_arch.yaml
"""

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NoReturn

import torch
from timm.layers import Conv2dSame, make_divisible
from timm.models._efficientnet_blocks import ConvBnAct, DepthwiseSeparableConv, InvertedResidual
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

from lightseg.backbones.build import create
from lightseg.backbones.fbnet import PIXELS
from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch import Act, Arch, Block, Conv, ConvHead, PoolHead, Stem, check_arch
from lightseg.catalog.arch_yaml import format_arch
from lightseg.catalog.backbones import is_arch
from lightseg.errors import LightsegError, one_line

ACTS: dict[str, Act] = {"ReLU": "relu", "Hardswish": "hswish", "HardSwish": "hswish", "ReLU6": "relu6"}
GATES = ("Hardsigmoid", "HardSigmoid")
# timm's layer -> FBNet's layer, by the class of timm's block
INVERTED = {"conv_pw": "expand.conv", "bn1": "expand.bn", "conv_dw": "depthwise.conv", "bn2": "depthwise.bn"}
INVERTED |= {"conv_pwl": "project.conv", "bn3": "project.bn"}
SEPARABLE = {"conv_dw": "depthwise.conv", "bn1": "depthwise.bn", "conv_pw": "project.conv", "bn2": "project.bn"}
SQUEEZE = {"se.conv_reduce": "se.squeeze", "se.conv_expand": "se.excite"}
PLAIN = {"conv": "conv", "bn1": "bn"}


class _NoTable(Exception):
    """The reason why a net cannot be written as an `Arch`."""


@lru_cache
def block_table(name: str) -> Arch:
    """The architecture of a backbone.

    Raises:
        LightsegError: an unknown name, or a net that an `Arch` cannot describe.
    """
    for arch in ARCHS:
        if arch.name == name:
            return arch
    with torch.device("meta"):
        net: Any = create(name, None, False, {})
    try:
        arch = _table(name, net)
        check_arch(arch)
    except (_NoTable, LightsegError) as reason:
        raise LightsegError(
            f"backbone {name} is no inverted-residual net that can be written as a table of blocks ({reason}): "
            "mobilenetv2, mobilenetv3_*, mnasnet_b1, fbnet*, or an arch.yaml can"
        ) from reason
    return arch


def table_names(arch: Arch, with_classifier: bool) -> dict[str, str]:
    """FBNet's layer -> timm's layer, for an `Arch` of `block_table`. with_classifier: also those after the pyramid."""
    names = {"stem.conv": "conv_stem", "stem.bn": "bn1"}
    channels = arch.stem.out
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            layers = PLAIN
            if isinstance(block, Block):
                layers = (SEPARABLE if block.mid == channels else INVERTED) | (SQUEEZE if block.se else {})
            names |= {f"stages.{s}.{b}.{layer}": f"blocks.{s}.{b}.{timm_layer}" for timm_layer, layer in layers.items()}
            channels = block.out
    if with_classifier and isinstance(arch.head, PoolHead):
        names |= {"project.conv": "conv_head", "classifier": "classifier"}
    elif with_classifier:
        names |= {"head.conv": "conv_head", "head.bn": "bn2", "classifier": "classifier"}
    return names


def plain_name(key: str) -> str:
    """The name in FBNet of a tensor or layer of a pyramid, where timm writes `stages_0` and `stem_conv`."""
    return re.sub(r"^(stem|stages)_", r"\1.", key)


def is_table(name: str) -> bool:
    """Whether the backbone is built from an `Arch`."""
    return is_arch(name) or any(arch.name == name for arch in ARCHS)


def _table(name: str, net: Any) -> Arch:
    kind = type(net)
    if not issubclass(kind, EfficientNet | MobileNetV3) or not hasattr(net, "conv_stem"):
        _refuse("its body is not a stem and blocks")
    _check_convs(net)
    se_relus: set[bool] = set()  # for blocks with another activation than ReLU: whether squeeze-and-excitation has ReLU
    stages = []
    channels = net.conv_stem.out_channels
    for stage in net.blocks:
        blocks: list[Block | Conv] = []
        for layer in stage:
            blocks.append(_block(layer, channels, se_relus))
            channels = blocks[-1].out
        stages.append(tuple(blocks))
    if len(se_relus) > 1:
        _refuse("the activations inside its squeeze-and-excitation layers differ")
    config = net.pretrained_cfg
    pixels = next((key for key, (mean, std) in PIXELS.items() if (config["mean"], config["std"]) == (mean, std)), None)
    if pixels is None:
        _refuse(f"its images are normalized with mean {config['mean']} and std {config['std']}")
    head: PoolHead | ConvHead
    if issubclass(kind, MobileNetV3):
        if net.conv_head.bias is None or not isinstance(net.norm_head, nn.Identity):
            _refuse("its head has a norm")
        head = PoolHead(net.conv_head.out_channels, _act(net.act2))
    else:
        head = ConvHead(net.conv_head.out_channels, _act(net.bn2.act))
    return Arch(
        name=name,
        stem=Stem(net.conv_stem.out_channels, _act(net.bn1.act)),
        stages=tuple(stages),
        head=head,
        input_size=config["input_size"][-1],
        se_relu=True in se_relus,
        pixels=pixels,  # type: ignore[arg-type]
    )


def _block(layer: Any, channels: int, se_relus: set[bool]) -> Block | Conv:
    """channels: of the input."""
    if type(layer) is ConvBnAct:
        if layer.conv.kernel_size != (1, 1) or layer.has_skip:
            _refuse("it has a convolution among its blocks that is not 1x1")
        return Conv(layer.conv.out_channels, layer.conv.stride[0], _act(layer.bn1.act))
    if type(layer) not in (InvertedResidual, DepthwiseSeparableConv):
        _refuse(f"it has blocks of kind {type(layer).__name__}")
    separable = type(layer) is DepthwiseSeparableConv
    last, norm = (layer.conv_pw, layer.bn1) if separable else (layer.conv_pwl, layer.bn2)
    mid, out, stride = layer.conv_dw.out_channels, last.out_channels, layer.conv_dw.stride[0]
    if layer.conv_s2d is not None or not isinstance(layer.aa, nn.Identity):
        _refuse("its blocks rearrange or blur pixels")
    if separable and layer.has_pw_act:
        _refuse("its blocks have an activation after the last convolution")
    if not separable and mid == channels:
        _refuse("its blocks keep a 1x1 convolution without expansion")
    if last.kernel_size != (1, 1) or layer.conv_dw.groups != mid or last.groups != 1:
        _refuse("its convolutions are grouped, or not 1x1 and depthwise")
    if layer.has_skip != (stride == 1 and channels == out):
        _refuse("a block leaves out its residual")
    act, se = _act(norm.act), not isinstance(layer.se, nn.Identity)
    if se:
        squeezed, se_act = layer.se.conv_reduce.out_channels, _act(layer.se.act1)
        if squeezed != make_divisible(mid / 4, 8) or type(layer.se.gate).__name__ not in GATES:
            _refuse("its squeeze-and-excitation is not that of MobileNetV3")
        if se_act not in ("relu", act):
            _refuse(f"its squeeze-and-excitation has {se_act}")
        if act != "relu":
            se_relus.add(se_act == "relu")
    return Block(layer.conv_dw.kernel_size[0], mid, out, stride, se, act)


def _check_convs(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, Conv2dSame):
            _refuse("it has TensorFlow's padding")
        if isinstance(module, nn.BatchNorm2d) and module.eps != 1e-5:
            _refuse(f"its batch norms have eps {module.eps:g}")


def _act(module: nn.Module) -> Act:
    name = type(module).__name__
    if name not in ACTS:
        _refuse(f"it has {name}")
    return ACTS[name]


def _refuse(reason: str) -> NoReturn:
    raise _NoTable(reason)


def timm_keys(keys: Iterable[str], arch: Arch, with_classifier: bool) -> dict[str, str]:
    """FBNet's tensor -> timm's tensor. keys: names of the tensors in `FBNet` or in its pyramid."""
    names = table_names(arch, with_classifier)
    layers_and_tensors = {key: plain_name(key).rpartition(".") for key in keys}
    return {key: f"{names[layer]}.{tensor}" for key, (layer, _, tensor) in layers_and_tensors.items()}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m lightseg.backbones.block_table <backbone>", file=sys.stderr)
        return 2
    try:
        print(format_arch(block_table(arguments[0])), end="")
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
