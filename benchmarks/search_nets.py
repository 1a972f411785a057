"""The nets of benchmarks/search.py: super-networks of the same blocks, with masks and with a branch per choice."""

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
    """A super-network without masks."""
    widest, generator = arguments.width, torch.Generator().manual_seed(0)
    widths, sizes = widths_of(arguments, kind, count), sizes_of(arguments, kind, count)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks = [make_block(widest, Block(3, EXPAND * widest, out), False, 0.0) for out in widths]
            self.branches, self.width = nn.ModuleList(blocks), Decision(widths)

        def forward(self, x):
            pairs = zip(self.width.weights(), self.branches, strict=True)
            return sum(weight * fit_channels(branch(x), widest) for weight, branch in pairs)

    stem = conv_bn(3, widest, 3, stride=2, bias=False, act="relu")
    net = nn.Sequential(stem, *[Branches() for _ in range(arguments.blocks)])
    size_decision = Decision(sizes)
    searched = [m for m in (*net.modules(), size_decision) if isinstance(m, Decision) and len(m) > 1]
    for decision in searched:
        decision.alpha.requires_grad_(True)

    def forward(images):
        for decision in searched:
            decision.sample(1.0, generator)
        if len(sizes) == 1:
            return net(images)
        grid = [-(-arguments.side // 2)] * 2
        maps = [net(subsample(images, size / arguments.side)) for size in sizes]
        return sum(weight * unpool(x, grid) for weight, x in zip(size_decision.weights(), maps, strict=True))

    return net, forward
