"""What benchmarks/search.py compares: a super-network with masks, and one of the same blocks with a branch a choice."""

import argparse

import torch
from torch import nn

from lightseg.backbones.conv_bn import conv_bn
from lightseg.backbones.fbnet_blocks import make_block
from lightseg.backbones.supernet.gumbel import Decision, decisions, sample_choices
from lightseg.backbones.supernet.layers import fit_channels
from lightseg.backbones.supernet.supernet import create_supernet, subsample, unpool
from lightseg.catalog.arch import Block
from lightseg.catalog.spaces import parse_space

EXPAND = 3
DIVISOR = 4


def widths_of(arguments: argparse.Namespace, kind: str, count: int) -> list[int]:
    if kind == "sizes":
        return [arguments.width]
    return [arguments.width * (index + 1) // count for index in range(count)]


def sizes_of(arguments: argparse.Namespace, kind: str, count: int) -> list[int]:
    if kind == "widths" or count == 1:
        return [arguments.side]
    half = arguments.side // 2
    return [half + (arguments.side - half) * index // (count - 1) for index in range(count)]


def masking(arguments: argparse.Namespace, kind: str, count: int):
    block = f"{{out: {widths_of(arguments, kind, count)}, expand: {EXPAND}, repeat: {arguments.blocks}}}"
    space = parse_space(
        f"name: steps\ndivisor: {DIVISOR}\ninput_sizes: {sizes_of(arguments, kind, count)}\n"
        f"stem: {{out: {arguments.width}}}\nstages:\n- - {block}\nhead: {{kind: conv, out: 8}}\n",
        "steps",
    )
    pyramid = create_supernet(space)
    generator = torch.Generator().manual_seed(0)
    for decision in decisions(pyramid).values():
        decision.alpha.requires_grad_(True)

    def forward(images):
        sample_choices(pyramid, 1.0, generator)
        return pyramid(images)[-1]

    return pyramid, forward


def branches(arguments: argparse.Namespace, kind: str, count: int):
    """A super-network without masks, of the same blocks (`lightseg.backbones.fbnet`)."""
    widest, generator = arguments.width, torch.Generator().manual_seed(0)
    widths, sizes = widths_of(arguments, kind, count), sizes_of(arguments, kind, count)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = [make_block(widest, Block(3, EXPAND * widest, out), False, 0.0) for out in widths]
            self.branches, self.width = nn.ModuleList(made), Decision(widths)

        def forward(self, x):
            pairs = zip(self.width.weights(), self.branches, strict=True)
            return sum(weight * fit_channels(branch(x), widest) for weight, branch in pairs)

    stem = conv_bn(3, widest, 3, stride=2, bias=False, act="relu")
    net = nn.Sequential(stem, *[Branches() for _ in range(arguments.blocks)])
    chosen = Decision(sizes)
    searched = [one for one in (*net.modules(), chosen) if isinstance(one, Decision) and len(one) > 1]
    for decision in searched:
        decision.alpha.requires_grad_(True)

    def forward(images):
        for decision in searched:
            decision.sample(1.0, generator)
        if len(sizes) == 1:
            return net(images)
        grid = [-(-arguments.side // 2)] * 2
        maps = [net(subsample(images, size / arguments.side)) for size in sizes]
        return sum(w * unpool(one, grid) for w, one in zip(chosen.weights(), maps, strict=True))

    return net, forward
