"""The latency of a super-network's blocks, measured on this machine and kept in a file.

A space has too many blocks to time all of them. For every block and kind (kernel, SE, activation), the narrowest at the
smallest input and the widest at the largest input are timed. Latency in between is linear in multiply-adds: the
constant is the overhead of calling layers, the slope that of the arithmetic. The file says for which space, image size
and output stride the table was measured.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightseg.backbones.conv_bn import conv_bn
from lightseg.backbones.fbnet_blocks import make_block
from lightseg.backbones.supernet.search_block import SearchBlock
from lightseg.backbones.supernet.supernet import SuperNet
from lightseg.catalog.arch import Block, Skip
from lightseg.catalog.cost_table import METRIC, read_table, write_table
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, measure_latency
from lightseg.profile.machine import machine

RUNS = 10  # timed forward passes of each block


class Line(NamedTuple):
    """Latency in ms: constant + slope * multiply-adds."""

    constant: float
    slope: float


class LatencyTable:
    """lines: by block (`stem`, `stages.0.1`) and kind (`5,se,relu`, `skip`)."""

    def __init__(self, lines: dict[str, dict[str, Line]]) -> None:
        self.lines = lines

    def milliseconds(self, name: str, kind: str, madds: Tensor) -> Tensor:
        """Latency in ms of a block of a kind, elementwise over its multiply-adds."""
        line = self.lines[name][kind]
        return line.constant + line.slope * madds


def read_or_measure(net: SuperNet, image_size: Sequence[int], path: Path) -> LatencyTable:
    """Read the table from `path`, or measure it and write it there.

    Raises:
        LightsegError: the file is no table, or a table for another metric, machine, number of threads, space, image
            size or output stride.
    """
    header = {
        "metric": METRIC,
        "of": fingerprint(net, image_size),
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }
    if not path.exists():
        print(f"measuring the blocks of {net.space.name}: {path} ...", flush=True)
        lines = measure(net, image_size)
        write_table(path, header, lines)
        return LatencyTable(lines)
    entries = read_table(path, header)
    try:
        lines = {
            name: {kind: Line(*map(float, line)) for kind, line in kinds.items()} for name, kinds in entries.items()
        }
        missing = [f"{name} {kind}" for name, kinds in _kinds(net) for kind in kinds if kind not in lines[name]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LightsegError(f"{path} is damaged ({type(error).__name__}): remove it to measure again") from error
    if missing:
        raise LightsegError(f"{path} is damaged (no {missing[0]}): remove it to measure again")
    return LatencyTable(lines)


def fingerprint(net: SuperNet, image_size: Sequence[int]) -> str:
    """The space, image size and output stride that a table is measured for."""
    digest = hashlib.sha256(net.space.content.encode()).hexdigest()[:8]
    height, width = image_size
    return f"{net.space.name} ({digest}) at {height}x{width}, stride {net.strides()[-1]}"


def measure(net: SuperNet, image_size: Sequence[int]) -> dict[str, dict[str, Line]]:
    """Time the blocks of all kinds: block -> kind -> line."""
    ratios = [size / net.input_size.choices[-1] for size in (net.input_size.choices[0], net.input_size.choices[-1])]
    sides = [tuple(max(1, round(side * ratio)) for side in image_size) for ratio in ratios]
    in_chans = net.stem.conv.in_channels
    lines: dict[str, dict[str, Line]] = {"stem": {}}
    for act in net.stem_act.choices:
        ends = [conv_bn(in_chans, end(net.stem_out.choices), 3, stride=2, bias=False, act=act) for end in (min, max)]
        lines["stem"][act] = _line(ends, [in_chans, in_chans], sides)
    sides = [tuple(-(-side // 2) for side in pair) for pair in sides]
    for name, block in net.blocks():
        lines[name] = {kind: _line(ends, into, sides) for kind, ends, into in _ends(block)}
        stride = int(block.depthwise.conv.stride[0])
        sides = [tuple(-(-side // stride) for side in pair) for pair in sides]
    return lines


def _kinds(net: SuperNet) -> Iterator[tuple[str, list[str]]]:
    yield "stem", list(net.stem_act.choices)
    for name, block in net.blocks():
        kinds = [f"{k},{'se' if s else 'no se'},{a}" for k, s, a in _product(block)]
        yield name, kinds + ["skip"] * (len(block.op) > 1)


def _product(block: SearchBlock) -> Iterator[tuple[int, bool, Any]]:
    return product(block.kernel.choices, block.use_se.choices, block.act.choices)


def _ends(block: SearchBlock) -> Iterator[tuple[str, list[nn.Module], list[int]]]:
    """(kind, [narrowest, widest module], their input channels) of each kind of a block."""
    into = [block.in_widths[0], block.in_widths[-1]]
    mids = [min(block.mids[0]), max(block.mids[-1])]
    outs = [block.out.choices[0], block.out.choices[-1]]
    convolution = block.depthwise.conv
    for kernel, se, act in _product(block):
        modules = []
        for in_channels, mid, out in zip(into, mids, outs, strict=True):
            module = make_block(in_channels, Block(kernel, mid, out, block.stride, se, act), False, 0.0)
            depthwise: Any = module.get_submodule("depthwise.conv")
            depthwise.stride, depthwise.dilation = convolution.stride, convolution.dilation
            depthwise.padding = tuple(rate * (kernel // 2) for rate in convolution.dilation)
            modules.append(module)
        yield f"{kernel},{'se' if se else 'no se'},{act}", modules, into
    if len(block.op) > 1:
        skips = [make_block(width, Skip(out, 2), False, 0.0) for width, out in zip(into, outs, strict=True)]
        for skip in skips:
            first: Any = skip.get_submodule("conv")
            first.stride = convolution.stride
        yield "skip", skips, into


def _line(ends: Sequence[nn.Module], into: Sequence[int], sides: Sequence[Sequence[int]]) -> Line:
    """The line through the narrowest and the widest module. into, sides: their input channels and (height, width)."""
    points = []
    for module, channels, side in zip(ends, into, sides, strict=True):
        shape = (1, channels, *side)
        module = module.to(memory_format=torch.channels_last)
        points.append((count_madds(module, shape), measure_latency(module, shape, runs=RUNS)["latency_ms"]))
    (few, short), (many, long) = points
    slope = max(0.0, (long - short) / (many - few)) if many > few else 0.0
    return Line(long - slope * many, slope)
