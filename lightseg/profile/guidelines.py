"""ShuffleNetV2's four experiments (arXiv:1807.11164, section 2, Tables 1 to 4) on this machine.

Each compares nets of ten blocks and equal multiply-adds on maps of 56x56 pixels, at three widths. The channels are
those of the paper's ARM columns, with batches of one image. Its GPU columns are of wider nets in batches of 8: only
their order can be compared. Where the paper leaves a choice: convolutions have neither bias nor norm; parallel
fragments are added; the width of fragments keeps the multiply-adds, rounded; 8 groups have 184 channels, because the
paper's 180 cannot be divided by 8; the inner width of a bottleneck is a quarter, as in ResNet.
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
WIDTHS = (1, 2, 4)  # multipliers of the channels
EQUAL = 0.02  # speeds with a smaller relative difference are equal
EXPERIMENTS_BUDGET_S = 150.0


@dataclass(frozen=True)
class Variant:
    """A row of a table: `net(times)` builds the net; `arm` and `gpu` are published images and batches per second."""

    label: str
    net: Callable[[int], nn.Sequential]
    arm: tuple[float, float, float]
    gpu: tuple[float, float, float]


@dataclass(frozen=True)
class Experiment:
    """A guideline with its nets. `order`: pairs of labels; by the guideline the first net of a pair is faster."""

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
    """channels: of a single fragment; several fragments are narrower, with the same multiply-adds."""
    width = round(channels / sqrt(fragments))
    if parallel:
        return nn.Sequential(*[Parallel(width, fragments) for _ in range(BLOCKS)])
    return nn.Sequential(*[conv1x1(width, width) for _ in range(BLOCKS * fragments)])


class Bottleneck(nn.Module):
    """ResNet's bottleneck, 1x1 - 3x3 - 1x1 convolutions, with or without element-wise operations."""

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
G1 = Experiment("G1", "equal channel width minimizes memory access cost", 1, (
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
    *, threads: int = 1, rounds: int = 40, times: Sequence[int] = WIDTHS, image_side: int = 56
) -> dict[str, Any]:
    """Run the four experiments on the CPU. Every round times all nets, so that other load affects all of them alike.

    Args:
        threads: of torch.
        rounds: fewer where they would take over 150 s, at least three.
        times: which of the widths 1, 2 and 4.
        image_side: side of the square map in pixels.

    Returns:
        `machine`, `load` (load average of the minute before; None where the system has none), `threads`, `rounds`,
        `times`, `image_side` and `experiments`. An experiment has `guideline`, `claim`, `table`, `rows`, `pairs` and
        `verdict` (a sentence). A row is a variant, with a figure per width: `madds`, `ms` (median), `images_per_s`, and
        the published `arm` and `gpu`. A pair is a comparison: `faster` and `slower` by the guideline, at the width
        `times`, `ratio` of their times, `published` ratio on ARM, and the result in `found`: "holds", "equal" (within
        2 %) or "reversed".
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
            durations = timing.interleaved(runs, rounds, budget_s=EXPERIMENTS_BUDGET_S)
    finally:
        torch.set_num_threads(before)
    return {
        "machine": machine(),
        "load": load,
        "threads": threads,
        "rounds": len(next(iter(durations.values()))),
        "times": list(times),
        "image_side": image_side,
        "experiments": [_evaluate(experiment, durations, times, image_side) for experiment in EXPERIMENTS],
    }


def _forward(net: nn.Sequential, side: int) -> Callable[[], Tensor]:
    images = torch.randn(1, _in_channels(net), side, side)
    net.eval()
    return lambda: net(images)


def _in_channels(net: nn.Module) -> int:
    return next(module.in_channels for module in net.modules() if isinstance(module, nn.Conv2d))


def _evaluate(
    experiment: Experiment, durations: dict[tuple[str, str, int], list[float]], times: Sequence[int], side: int
) -> dict[str, Any]:
    rows, published, medians = [], {}, {}
    for variant in experiment.variants:
        ms = [1e3 * statistics.median(durations[experiment.guideline, variant.label, t]) for t in times]
        medians[variant.label] = ms
        with torch.device("meta"):
            nets = [variant.net(t) for t in times]
        arm, gpu = ([figures[WIDTHS.index(t)] for t in times] for figures in (variant.arm, variant.gpu))
        published[variant.label] = arm
        rows.append(
            {
                "label": variant.label,
                "madds": [count_madds(net, (1, _in_channels(net), side, side)) for net in nets],
                "ms": [round(time, 4) for time in ms],
                "images_per_s": [round(1e3 / time, 2) for time in ms],
                "arm": arm,
                "gpu": gpu,
            }
        )
    pairs = []
    for number, t in enumerate(times):
        for faster, slower in experiment.order:
            ratio = medians[slower][number] / medians[faster][number]
            result = "holds" if ratio > 1 + EQUAL else "reversed" if ratio < 1 / (1 + EQUAL) else "equal"
            published_ratio = published[faster][number] / published[slower][number]
            pair = {"faster": faster, "slower": slower, "times": t, "ratio": round(ratio, 3), "found": result}
            pairs.append({**pair, "published": round(published_ratio, 3)})
    names = {"guideline": experiment.guideline, "claim": experiment.claim, "table": experiment.table}
    return {**names, "rows": rows, "pairs": pairs, "verdict": _verdict(pairs)}


def _verdict(pairs: Sequence[dict[str, Any]]) -> str:
    held = sum(pair["found"] == "holds" for pair in pairs)
    if held == len(pairs):
        return f"the published order holds here in all {len(pairs)} comparisons"
    others = [
        f"{pair['slower']} {'is faster than' if pair['found'] == 'reversed' else 'is as fast as'} {pair['faster']} "
        f"at x{pair['times']} ({1 / pair['ratio']:.2f} times; on ARM {1 / pair['published']:.2f})"
        for pair in pairs
        if pair["found"] != "holds"
    ]
    return f"the published order holds here in {held} of {len(pairs)} comparisons; " + "; ".join(others)
