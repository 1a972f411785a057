"""ShuffleNetV2's four experiments (arXiv:1807.11164, section 2, Tables 1 to 4) on this machine.

Each compares nets of ten blocks and equal multiply-adds on maps of 56x56 pixels, at three widths. Channels are those
of the paper's ARM columns, one image at a time; its GPU columns have wider nets in batches of 8, so of those only the
order compares. Where the paper leaves something open: convolutions have no bias and no norm; fragments in parallel are
added; fragments have the width that keeps the multiply-adds, rounded; 8 groups need 184 channels where it says 180; a
bottleneck is a quarter as wide inside, as ResNet's.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from lightseg import timing
from lightseg.profile.cost import count_madds
from lightseg.profile.machine import machine

BLOCKS = 10
TIMES = (1, 2, 4)  # the widths: times the channels
SAME = 0.02  # two speeds closer than this are equal
BUDGET_S = 150.0


@dataclass(frozen=True)
class Variant:
    """One row of a table: `net(times)` builds it; `arm` and `gpu` are the published images and batches a second."""

    label: str
    net: Callable[[int], nn.Sequential]
    arm: tuple[float, float, float]
    gpu: tuple[float, float, float]


@dataclass(frozen=True)
class Experiment:
    """`order`: pairs of labels, of which the guideline says that the first is faster."""

    guideline: str
    claim: str
    table: int
    variants: tuple[Variant, ...]
    order: tuple[tuple[str, str], ...]


def conv1x1(c1: int, c2: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c1, c2, 1, groups=groups, bias=False)


def ratio_net(c1: int, c2: int) -> nn.Sequential:
    return nn.Sequential(*[layer for _ in range(BLOCKS) for layer in (conv1x1(c1, c2), conv1x1(c2, c1))])


def group_net(channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(*[conv1x1(channels, channels, groups) for _ in range(BLOCKS)])


class Parallel(nn.Module):
    def __init__(self, channels: int, fragments: int) -> None:
        super().__init__()
        self.fragments = nn.ModuleList(conv1x1(channels, channels) for _ in range(fragments))

    def forward(self, x: Tensor) -> Tensor:
        first, *others = [fragment(x) for fragment in self.fragments]
        for other in others:
            first = first + other
        return first


def fragment_net(channels: int, fragments: int, parallel: bool) -> nn.Sequential:
    """channels: of one fragment alone; more of them are narrower, for the same multiply-adds."""
    width = round(channels / sqrt(fragments))
    if parallel:
        return nn.Sequential(*[Parallel(width, fragments) for _ in range(BLOCKS)])
    return nn.Sequential(*[conv1x1(width, width) for _ in range(BLOCKS * fragments)])


class Bottleneck(nn.Module):
    """ResNet's, 1x1 - 3x3 - 1x1 convolutions, with or without its element-wise operations."""

    def __init__(self, channels: int, relu: bool, shortcut: bool) -> None:
        super().__init__()
        inner = channels // 4
        layers = [conv1x1(channels, inner), nn.Conv2d(inner, inner, 3, padding=1, bias=False), conv1x1(inner, channels)]
        self.layers = nn.Sequential(*[x for layer in layers for x in ((layer, nn.ReLU()) if relu else (layer,))])
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


def bottleneck_net(channels: int, relu: bool, shortcut: bool) -> nn.Sequential:
    return nn.Sequential(*[Bottleneck(channels, relu, shortcut) for _ in range(BLOCKS)])


# fmt: off
G1 = Experiment("G1", "equal channel width minimises memory access cost", 1, (
    Variant("1:1", lambda t: ratio_net(32 * t, 32 * t), (76.2, 21.7, 5.3), (1480, 723, 232)),
    Variant("1:2", lambda t: ratio_net(22 * t, 44 * t), (72.9, 20.5, 5.1), (1296, 586, 206)),
    Variant("1:6", lambda t: ratio_net(13 * t, 78 * t), (69.1, 17.9, 4.6), (876, 489, 189)),
    Variant("1:12", lambda t: ratio_net(9 * t, 108 * t), (57.6, 15.1, 4.4), (748, 392, 163)),
), (("1:1", "1:2"), ("1:2", "1:6"), ("1:6", "1:12")))
G2 = Experiment("G2", "group convolution increases memory access cost", 2, (
    Variant("1 group", lambda t: group_net(64 * t, 1), (40.0, 10.2, 2.3), (2451, 1289, 437)),
    Variant("2 groups", lambda t: group_net(90 * t, 2), (35.0, 9.5, 2.2), (1725, 873, 341)),
    Variant("4 groups", lambda t: group_net(128 * t, 4), (32.9, 8.7, 2.1), (1026, 644, 338)),
    Variant("8 groups", lambda t: group_net(184 * t, 8), (27.8, 7.5, 1.8), (634, 445, 230)),
), (("1 group", "2 groups"), ("2 groups", "4 groups"), ("4 groups", "8 groups")))
G3 = Experiment("G3", "fragmentation reduces parallelism", 3, (
    Variant("1 fragment", lambda t: fragment_net(64 * t, 1, False), (40.2, 10.1, 2.3), (2446, 1274, 434)),
    Variant("2 in series", lambda t: fragment_net(64 * t, 2, False), (38.6, 10.1, 2.2), (1790, 909, 336)),
    Variant("4 in series", lambda t: fragment_net(64 * t, 4, False), (38.4, 10.1, 2.3), (752, 745, 349)),
    Variant("2 in parallel", lambda t: fragment_net(64 * t, 2, True), (33.4, 9.1, 2.2), (1537, 803, 320)),
    Variant("4 in parallel", lambda t: fragment_net(64 * t, 4, True), (35.0, 8.4, 2.1), (691, 572, 292)),
), (("1 fragment", "2 in series"), ("2 in series", "4 in series"), ("1 fragment", "2 in parallel"),
    ("2 in parallel", "4 in parallel")))
G4 = Experiment("G4", "element-wise operations are not negligible", 4, (
    Variant("neither", lambda t: bottleneck_net(32 * t, False, False), (66.3, 20.2, 5.4), (2842, 2376, 1782)),
    Variant("shortcut", lambda t: bottleneck_net(32 * t, False, True), (57.3, 18.2, 5.1), (2672, 2121, 1458)),
    Variant("ReLU", lambda t: bottleneck_net(32 * t, True, False), (61.9, 18.8, 5.2), (2647, 2256, 1735)),
    Variant("ReLU, shortcut", lambda t: bottleneck_net(32 * t, True, True), (56.7, 16.9, 5.0), (2427, 2066, 1436)),
), (("neither", "shortcut"), ("neither", "ReLU"), ("shortcut", "ReLU, shortcut"), ("ReLU", "ReLU, shortcut")))
# fmt: on
EXPERIMENTS = (G1, G2, G3, G4)


def guidelines(
    *, threads: int = 1, rounds: int = 40, times: Sequence[int] = TIMES, image_side: int = 56
) -> dict[str, Any]:
    """Run the four experiments on the CPU, all nets once a round, so that what else the machine does meets them alike.

    Args:
        threads: torch's.
        rounds: fewer where they would take over 150 s, at least three.
        times: which of the widths 1, 2 and 4.
        image_side: pixels of the square map.

    Returns:
        `machine`, `load` (processes that wanted a processor in the minute before, where the system says), `threads`,
        `rounds`, `times`, `image_side` and `experiments`. Each of these has `guideline`, `claim`, `table`; `rows`, a
        dict a variant with one figure a width: `madds`, `ms` (median), `images_per_s`, and published `arm` and `gpu`;
        `pairs`: `faster` and `slower` as the guideline has them, at `times`, `ratio` (the second's time to the
        first's), `published` on ARM, and `found`: holds, equal (within 2 %) or reversed; and `verdict`, a sentence.
    """
    runs = {
        (experiment.guideline, variant.label, t): _forward(variant.net(t), image_side)
        for experiment in EXPERIMENTS
        for t in times
        for variant in experiment.variants
    }
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            spent = timing.in_turn(runs, rounds, budget_s=BUDGET_S)
    finally:
        torch.set_num_threads(before)
    return {
        "machine": machine(),
        "load": load,
        "threads": threads,
        "rounds": len(next(iter(spent.values()))),
        "times": list(times),
        "image_side": image_side,
        "experiments": [_evaluate(experiment, spent, times, image_side) for experiment in EXPERIMENTS],
    }


def _forward(net: nn.Sequential, side: int) -> Callable[[], Tensor]:
    images = torch.randn(1, _in_channels(net), side, side)
    net.eval()
    return lambda: net(images)


def _in_channels(net: nn.Module) -> int:
    return next(module.in_channels for module in net.modules() if isinstance(module, nn.Conv2d))


def _evaluate(
    experiment: Experiment, spent: dict[tuple[str, str, int], list[float]], times: Sequence[int], side: int
) -> dict[str, Any]:
    rows, published, medians = [], {}, {}
    for variant in experiment.variants:
        ms = [1e3 * statistics.median(spent[experiment.guideline, variant.label, t]) for t in times]
        medians[variant.label] = ms
        with torch.device("meta"):
            nets = [variant.net(t) for t in times]
        arm, gpu = ([figures[TIMES.index(t)] for t in times] for figures in (variant.arm, variant.gpu))
        published[variant.label] = arm
        rows.append(
            {
                "label": variant.label,
                "madds": [count_madds(net, (1, _in_channels(net), side, side)) for net in nets],
                "ms": [round(one, 4) for one in ms],
                "images_per_s": [round(1e3 / one, 2) for one in ms],
                "arm": arm,
                "gpu": gpu,
            }
        )
    pairs = []
    for number, t in enumerate(times):
        for faster, slower in experiment.order:
            ratio = medians[slower][number] / medians[faster][number]
            found = "holds" if ratio > 1 + SAME else "reversed" if ratio < 1 / (1 + SAME) else "equal"
            printed = published[faster][number] / published[slower][number]
            pair = {"faster": faster, "slower": slower, "times": t, "ratio": round(ratio, 3), "found": found}
            pairs.append({**pair, "published": round(printed, 3)})
    whole = {"guideline": experiment.guideline, "claim": experiment.claim, "table": experiment.table}
    return {**whole, "rows": rows, "pairs": pairs, "verdict": _verdict(pairs)}


def _verdict(pairs: Sequence[dict[str, Any]]) -> str:
    counts = {found: sum(pair["found"] == found for pair in pairs) for found in ("holds", "equal", "reversed")}
    if counts["holds"] == len(pairs):
        return f"the published order holds here in all {len(pairs)} comparisons"
    others = [
        f"{pair['slower']} {'is faster than' if pair['found'] == 'reversed' else 'is as fast as'} {pair['faster']} "
        f"at x{pair['times']} ({1 / pair['ratio']:.2f} times; on ARM {1 / pair['published']:.2f})"
        for pair in pairs
        if pair["found"] != "holds"
    ]
    return f"the published order holds here in {counts['holds']} of {len(pairs)} comparisons; " + "; ".join(others)
