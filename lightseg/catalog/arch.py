"""A net as data: the architecture that FBNet (arXiv:1812.03443) and FBNetV2 (arXiv:2004.05565) search for.

An `Arch` describes a published table (`lightseg.backbones.fbnet_tables`), the result of a search over channels,
expansion, kernel, squeeze-and-excitation, activation, skips and input size, or one of timm's nets of the same blocks
(MobileNetV2 and V3: `lightseg.backbones.block_table`). `lightseg.backbones.fbnet` builds it, `arch_yaml.py` reads and
writes it. Nothing here imports torch, so that a file can be checked before torch is loaded.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from lightseg.errors import LightsegError

Act = Literal["relu", "hswish", "relu6"]
Pixels = Literal["imagenet", "inception"]  # mean and std that the weights were trained with

CHANNELS = (1, 16384)
KERNELS = (1, 31)
INPUT_SIZES = (16, 4096)  # pixels


@dataclass(frozen=True)
class Block:
    """Inverted residual. `mid`: expanded channels; there is no expansion if they equal the input channels.

    `groups` > 1 (FBNet's e1g2, without expansion): a channel shuffle first, and a grouped projection.
    """

    kernel: int
    mid: int
    out: int
    stride: int = 1
    se: bool = False
    act: Act = "relu"
    groups: int = 1


@dataclass(frozen=True)
class Skip:
    """Identity; 1x1 convolution, batch norm and ReLU where channels or stride change."""

    out: int
    stride: int = 1


@dataclass(frozen=True)
class Conv:
    """1x1 convolution, batch norm, activation: the last layer of MobileNetV3's body."""

    out: int
    stride: int = 1
    act: Act = "relu"


@dataclass(frozen=True)
class Stem:
    """3x3 convolution with stride 2, batch norm, activation."""

    out: int
    act: Act = "relu"


@dataclass(frozen=True)
class ConvHead:
    """FBNet's: 1x1 convolution, batch norm, activation, global average pooling, classifier."""

    out: int
    act: Act = "relu"


@dataclass(frozen=True)
class IRPoolHead:
    """FBNetV2's: 1x1 convolution to `mid`, batch norm, h-swish, pooling, 1x1 to `out`, h-swish, classifier."""

    mid: int
    out: int


@dataclass(frozen=True)
class PoolHead:
    """MobileNetV3's: pooling, 1x1 convolution with a bias to `out`, activation, classifier."""

    out: int
    act: Act = "hswish"


@dataclass(frozen=True)
class Arch:
    """A net. Only the first block of a stage may have stride 2.

    Attributes:
        input_size: side of the images the net was designed for, in pixels.
        conv_bias: convolutions before a batch norm have a bias, as in FBNet's released nets.
        se_relu: the activation inside squeeze-and-excitation is ReLU, as in MobileNetV3, and not the block's.
        pixels: normalization of the images.
    """

    name: str
    stem: Stem
    stages: tuple[tuple[Block | Skip | Conv, ...], ...]
    head: ConvHead | IRPoolHead | PoolHead
    input_size: int = 224
    conv_bias: bool = False
    se_relu: bool = False
    pixels: Pixels = "imagenet"


class Level(NamedTuple):
    """A feature map of the pyramid: the output of the last stage of its stride. `stage` -1 is the stem."""

    stage: int
    channels: int
    stride: int


def levels(arch: Arch) -> tuple[Level, ...]:
    """The feature maps of the pyramid, from the smallest stride to the largest."""
    pyramid = [Level(-1, arch.stem.out, 2)]
    for index, stage in enumerate(arch.stages):
        stride = pyramid[-1].stride * stage[0].stride
        pyramid = [level for level in pyramid if level.stride < stride]
        pyramid.append(Level(index, stage[-1].out, stride))
    return tuple(pyramid)


def check_arch(arch: Arch) -> None:
    """Raise LightsegError, one line with the position, unless the values describe a net."""
    if not re.fullmatch(r"\w[\w.-]*", arch.name):
        raise LightsegError(f"name {short_repr(arch.name)} may have letters, digits, '_', '.' and '-' alone")
    _in_range("input_size", arch.input_size, *INPUT_SIZES)
    _in_range("stem: out", arch.stem.out, *CHANNELS)
    if not arch.stages:
        raise LightsegError("stages: there are none")
    channels, stride = arch.stem.out, 2
    for stage_number, stage in enumerate(arch.stages, 1):
        if not stage:
            raise LightsegError(f"stage {stage_number}: it has no blocks")
        for number, block in enumerate(stage, 1):
            where = f"stage {stage_number}, block {number}"
            _check_block(block, channels, where)
            if block.stride != 1 and number > 1:
                raise LightsegError(f"{where}: stride {block.stride} inside a stage: start a new stage here")
            channels, stride = block.out, stride * block.stride
        if stride > 32:
            raise LightsegError(f"stage {stage_number}: stride {stride} in all, and a pyramid ends at 32")
    for field in fields(arch.head):
        if field.type is int:
            _in_range(f"head: {field.name}", getattr(arch.head, field.name), *CHANNELS)


def _check_block(block: Block | Skip | Conv, channels: int, where: str) -> None:
    """channels: of the input."""
    _in_range(f"{where}: out", block.out, *CHANNELS)
    if block.stride not in (1, 2):
        raise LightsegError(f"{where}: stride must be 1 or 2, not {block.stride}")
    if not isinstance(block, Block):
        return
    _in_range(f"{where}: mid", block.mid, *CHANNELS)
    _in_range(f"{where}: kernel", block.kernel, *KERNELS)
    _in_range(f"{where}: groups", block.groups, *CHANNELS)
    if block.kernel % 2 == 0:
        raise LightsegError(f"{where}: kernel {block.kernel} is even: take an odd one, such as {block.kernel + 1}")
    if block.groups > 1 and block.mid != channels:
        raise LightsegError(
            f"{where}: with groups {block.groups} there is no expansion: "
            f"mid must be the {channels} channels that come in, not {block.mid}"
        )
    for key, value in (("mid", block.mid), ("out", block.out)):
        if value % block.groups:
            raise LightsegError(f"{where}: {key} {value} is not divisible by groups {block.groups}")


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LightsegError(f"{name} must be {low} to {high}, not {value}")


def short_repr(value: Any) -> str:
    """A value as error messages quote it, at most 40 characters."""
    if isinstance(value, list | dict):  # printed, nested YAML aliases of a small file fill the memory
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
