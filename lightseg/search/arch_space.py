"""A net made wider, deeper, of other kernels and expansions: what a search over a base `arch.yaml` may turn. No torch.

MnasNet (arXiv:1807.11626, section 4) searches kernel, expansion, width and number of layers block by block; here each
is one factor for the whole net, so that a search of some tens of trials can cover it.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightseg.catalog.arch import Arch, Block, Conv, Skip, check_arch
from lightseg.errors import LightsegError, nearest

KEYS = ("arch.width", "arch.depth", "arch.kernel", "arch.expansion")
MOST = 8.0  # of a factor


def varied(arch: Arch, values: Mapping[str, Any]) -> Arch:
    """The net under values of KEYS; its name says them.

    `arch.width`: factor of all channels but the head's. `arch.depth`: factor of each stage's number of blocks, rounded
    up; a stage's last block is repeated, or the last ones are left out. `arch.kernel`: of all depthwise convolutions.
    `arch.expansion`: factor of what blocks expand to. Channels are rounded as MobileNetV2's.

    Raises:
        LightsegError: an unknown key, or values that make no net.
    """
    for key, value in values.items():
        if key not in KEYS:
            raise LightsegError(f"search.space: no key '{key}': {nearest(key, KEYS)}")
        fault = not isinstance(value, int | float) or isinstance(value, bool)
        if fault or value <= 0 or (key == "arch.kernel" and not isinstance(value, int)):
            what = "odd whole numbers" if key == "arch.kernel" else "numbers above 0"
            raise LightsegError(f"search.space: {key}={value}: takes {what}")
        if key != "arch.kernel" and value > MOST:
            raise LightsegError(f"search.space: {key}={value}: a factor of at most {MOST:g}")
    width, depth, expansion = (float(values.get(f"arch.{key}", 1.0)) for key in ("width", "depth", "expansion"))
    stages = []
    before, into = arch.stem.out, rounded(arch.stem.out, width)  # what comes into a block, in the base and here
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
                mid = rounded(block.mid, width * expansion) if expands else into
                block = replace(block, mid=mid, kernel=values.get("arch.kernel", block.kernel))
            into = rounded(block.out, width)
            blocks.append(replace(block, out=into))
        stages.append(tuple(blocks))
    short = {"arch.width": "w", "arch.depth": "d", "arch.kernel": "k", "arch.expansion": "e"}
    name = "_".join([arch.name, *(f"{short[key]}{values[key]:.6g}" for key in KEYS if key in values)])
    made = replace(arch, name=name, stem=replace(arch.stem, out=rounded(arch.stem.out, width)), stages=tuple(stages))
    check_arch(made)
    return made


def rounded(channels: int, factor: float) -> int:
    """A multiple of 8 near `channels * factor`, not under nine tenths of it; as it is where the factor is 1."""
    if factor == 1.0:
        return channels
    scaled = channels * factor
    near = max(8, int(scaled + 4) // 8 * 8)
    return near + 8 if near < 0.9 * scaled else near
