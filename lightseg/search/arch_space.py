"""The search space over a base `arch.yaml`: factors of width, depth and expansion, and the kernel. Imports no torch.

MnasNet (arXiv:1807.11626, section 4) searches kernel, expansion, width and number of layers block by block. Here each
is a single value for all blocks, so that a search of some tens of trials covers the space.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightseg.catalog.arch import Arch, Block, Conv, Skip, check_arch
from lightseg.errors import LightsegError, nearest

KEYS = ("arch.width", "arch.depth", "arch.kernel", "arch.expansion")
MAX_FACTOR = 8.0


def scale_arch(arch: Arch, values: Mapping[str, Any]) -> Arch:
    """The net with values of KEYS applied; its name contains them.

    Args:
        values: `arch.width`: factor of all channels except the head's. `arch.depth`: factor of the number of blocks of
            each stage, rounded up; the last block of a stage is repeated, or its last blocks are left out.
            `arch.kernel`: of all depthwise convolutions. `arch.expansion`: factor of the expanded channels. Channels
            are rounded as MobileNetV2's.

    Raises:
        LightsegError: an unknown key, or values that make no net.
    """
    for key, value in values.items():
        if key not in KEYS:
            raise LightsegError(f"search.space: no key '{key}': {nearest(key, KEYS)}")
        fault = not isinstance(value, int | float) or isinstance(value, bool)
        if fault or value <= 0 or (key == "arch.kernel" and not isinstance(value, int)):
            expected = "odd whole numbers" if key == "arch.kernel" else "numbers above 0"
            raise LightsegError(f"search.space: {key}={value}: takes {expected}")
        if key != "arch.kernel" and value > MAX_FACTOR:
            raise LightsegError(f"search.space: {key}={value}: a factor of at most {MAX_FACTOR:g}")
    width, depth, expansion = (float(values.get(f"arch.{key}", 1.0)) for key in ("width", "depth", "expansion"))
    stages = []
    before, in_channels = arch.stem.out, round_channels(arch.stem.out, width)  # input channels, in the base and here
    for stage in arch.stages:
        parts = []
        for block in stage:
            parts.append((block, isinstance(block, Block) and block.mid != before))
            before = block.out
        last, expands = parts[-1]
        count = len(stage) if isinstance(last, Conv) else math.ceil(len(stage) * depth - 1e-9)
        parts = [*parts[:count], *[(replace(last, stride=1), expands)] * (count - len(parts))]
        blocks: list[Block | Skip | Conv] = []
        for block, expands in parts:
            if isinstance(block, Block):
                mid = round_channels(block.mid, width * expansion) if expands else in_channels
                block = replace(block, mid=mid, kernel=values.get("arch.kernel", block.kernel))
            in_channels = round_channels(block.out, width)
            blocks.append(replace(block, out=in_channels))
        stages.append(tuple(blocks))
    short = {"arch.width": "w", "arch.depth": "d", "arch.kernel": "k", "arch.expansion": "e"}
    name = "_".join([arch.name, *(f"{short[key]}{values[key]:.6g}" for key in KEYS if key in values)])
    scaled = replace(
        arch, name=name, stem=replace(arch.stem, out=round_channels(arch.stem.out, width)), stages=tuple(stages)
    )
    check_arch(scaled)
    return scaled


def round_channels(channels: int, factor: float) -> int:
    """The multiple of 8 nearest to `channels * factor`, or the next if that is below 0.9 of it; unchanged at 1."""
    if factor == 1.0:
        return channels
    exact = channels * factor
    nearest_multiple = max(8, int(exact + 4) // 8 * 8)
    return nearest_multiple + 8 if nearest_multiple < 0.9 * exact else nearest_multiple
