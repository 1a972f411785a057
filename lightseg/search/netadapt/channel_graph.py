"""The widths of a net that may change, and the layers that change with each. Imports no torch.

A width is the number of channels of an expansion, of a bottleneck, or of a last 1x1 convolution. Blocks joined by
residuals have the same bottleneck. A block without expansion has the width of its input.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lightseg.catalog.arch import Arch, Block, Conv, Skip, Stem

STEP = 8  # channels; widths are multiples of it, as in MobileNetV2's rounding


class BlockWidths(NamedTuple):
    """The labels of the widths of a block: input, expansion (of a Block) and output."""

    into: str
    mid: str
    out: str


@dataclass(frozen=True)
class ChannelGraph:
    """The widths of a net and the blocks that use them. Nets with equal blocks have the same layers in other widths."""

    stem: str
    blocks: tuple[BlockWidths, ...]
    sizes: Mapping[str, int]  # label -> channels, in the order of the net
    fixed: frozenset[str]  # labels that may not change: of grouped convolutions, and the stem without a residual


def trace_channels(arch: Arch) -> ChannelGraph:
    """Trace the channels through the net."""
    sizes = {"stem": arch.stem.out}
    fixed: set[str] = set()
    blocks = []
    into, used = "stem", False
    for s, stage in enumerate(arch.stages, 1):
        for b, block in enumerate(stage, 1):
            name, channels = f"stage {s}, block {b}", sizes[into]
            kept = block.stride == 1 and block.out == channels
            if isinstance(block, Block):
                expands = block.mid != channels
                mid = f"{name}: expansion" if expands else into
                if expands:
                    sizes[mid] = block.mid
                out = into if kept else f"{name}: bottleneck"
            else:
                mid = into
                out = into if kept and isinstance(block, Skip) else f"{name}: bottleneck"
                out = f"{name}: 1x1 convolution" if isinstance(block, Conv) else out
            sizes.setdefault(out, block.out)
            if isinstance(block, Block) and block.groups > 1:
                fixed |= {into, out}
            used = used or out == "stem"
            blocks.append(BlockWidths(into, mid, out))
            into = out
    if not used:
        fixed.add("stem")
    return ChannelGraph("stem", tuple(blocks), sizes, frozenset(fixed))


def with_widths(arch: Arch, sizes: Mapping[str, int]) -> Arch | None:
    """The net with other `sizes` (label -> channels).

    None if its layers would differ: a residual where there was none, or an expansion that expands nothing.
    """
    before = trace_channels(arch)
    new_sizes = {**before.sizes, **sizes}
    labels = iter(before.blocks)
    stages = []
    for stage in arch.stages:
        blocks: list[Block | Skip | Conv] = []
        for block in stage:
            label = next(labels)
            if isinstance(block, Block):
                blocks.append(replace(block, mid=new_sizes[label.mid], out=new_sizes[label.out]))
            else:
                blocks.append(replace(block, out=new_sizes[label.out]))
        stages.append(tuple(blocks))
    new = replace(arch, stem=Stem(new_sizes[before.stem], arch.stem.act), stages=tuple(stages))
    after = trace_channels(new)
    return new if (after.blocks, after.fixed) == (before.blocks, before.fixed) else None


def smaller_widths(size: int) -> range:
    """The widths below `size` channels, largest first."""
    return range((size - 1) // STEP * STEP, 0, -STEP)


def adjustable_widths(arch: Arch) -> dict[str, int]:
    """Label -> channels of the widths that may change."""
    graph = trace_channels(arch)
    return {label: size for label, size in graph.sizes.items() if label not in graph.fixed}


def narrowest(arch: Arch) -> Arch:
    """The net with all widths reduced as far as possible, in the order of the net."""
    for label, size in adjustable_widths(arch).items():
        for width in reversed(smaller_widths(size)):
            narrower = with_widths(arch, {label: width})
            if narrower is not None:
                arch = narrower
                break
    return arch
