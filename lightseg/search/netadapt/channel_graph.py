"""The widths of a net that may change, and which layers change with each: no torch.

A width is the channels of an expansion (one block's own; also of a last 1x1 convolution) or of a bottleneck. Blocks
that are joined by residuals share a bottleneck, and a block without expansion computes in the one that comes in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lightseg.catalog.arch import Arch, Block, Conv, Skip, Stem

LEAST = 8  # channels, and what all sizes are multiples of: MobileNetV2's rounding


class Labels(NamedTuple):
    """The widths of one block by name: what comes in, what it computes in (of a Block), what it gives."""

    into: str
    mid: str
    out: str


@dataclass(frozen=True)
class Wiring:
    """Two nets with the same wiring have the same layers, of other widths."""

    stem: str
    blocks: tuple[Labels, ...]
    sizes: Mapping[str, int]  # channels by label, in the order of the net
    fixed: frozenset[str]  # labels that may not change: of grouped convolutions, and the stem's own


def wiring(arch: Arch) -> Wiring:
    """Follow the channels through the net."""
    sizes = {"stem": arch.stem.out}
    fixed: set[str] = set()
    found = []
    into, used = "stem", False
    for s, stage in enumerate(arch.stages, 1):
        for b, block in enumerate(stage, 1):
            place, channels = f"stage {s}, block {b}", sizes[into]
            kept = block.stride == 1 and block.out == channels
            if isinstance(block, Block):
                expands = block.mid != channels
                mid = f"{place}: expansion" if expands else into
                if expands:
                    sizes[mid] = block.mid
                out = into if kept else f"{place}: bottleneck"
            else:
                mid = into
                out = into if kept and isinstance(block, Skip) else f"{place}: bottleneck"
                out = f"{place}: 1x1 convolution" if isinstance(block, Conv) else out
            sizes.setdefault(out, block.out)
            if isinstance(block, Block) and block.groups > 1:
                fixed |= {into, out}
            used = used or out == "stem"
            found.append(Labels(into, mid, out))
            into = out
    if not used:
        fixed.add("stem")
    return Wiring("stem", tuple(found), sizes, frozenset(fixed))


def resized(arch: Arch, sizes: Mapping[str, int]) -> Arch | None:
    """The net with other `sizes` of some labels; None where its layers would not be the same any more (a residual where
    there was none, an expansion that expands nothing)."""
    before = wiring(arch)
    wanted = {**before.sizes, **sizes}
    labels = iter(before.blocks)
    stages = []
    for stage in arch.stages:
        blocks: list[Block | Skip | Conv] = []
        for block in stage:
            label = next(labels)
            if isinstance(block, Block):
                blocks.append(replace(block, mid=wanted[label.mid], out=wanted[label.out]))
            else:
                blocks.append(replace(block, out=wanted[label.out]))
        stages.append(tuple(blocks))
    made = replace(arch, stem=Stem(wanted[before.stem], arch.stem.act), stages=tuple(stages))
    after = wiring(made)
    return made if (after.blocks, after.fixed) == (before.blocks, before.fixed) else None


def smaller(size: int) -> range:
    """The sizes below `size`, largest first."""
    return range((size - 1) // LEAST * LEAST, 0, -LEAST)


def adjustable(arch: Arch) -> dict[str, int]:
    """Label -> channels, of the widths that may change."""
    found = wiring(arch)
    return {label: size for label, size in found.sizes.items() if label not in found.fixed}


def smallest(arch: Arch) -> Arch:
    """All widths as small as they can be made one after the other."""
    for label, size in adjustable(arch).items():
        for less in reversed(smaller(size)):
            made = resized(arch, {label: less})
            if made is not None:
                arch = made
                break
    return arch
