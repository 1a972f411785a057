"""The cost of a net with other widths, without building it: multiply-adds, or latency from a table of measured blocks.

Both are of the model with its head for a single image. Multiply-adds are those of the wide net, layer by layer, times
the fractions of the channels, which is exact. Latency is the sum of the latencies of the stem, each block and the head
on this machine (NetAdapt's look-up table, arXiv:1804.03230, section 3.3). Measurements stay in the file of the table,
so that a resumed search takes the decisions of an uninterrupted search.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones.block_table import plain_name
from lightseg.backbones.fbnet_blocks import make_block
from lightseg.catalog.arch import Arch
from lightseg.catalog.cost_table import METRIC, read_table, write_table
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.profile.cost import measure_latency
from lightseg.profile.layers import Layer, count_modules
from lightseg.profile.machine import machine
from lightseg.search.netadapt.channel_graph import trace_channels
from lightseg.search.netadapt.channel_selection import BODY, Axes, build_model, sizes

METRICS = {"madds": "multiply-adds", METRIC: "milliseconds"}
RUNS = 30  # timed forward passes of a block, of which the median is taken


def layers_of(model: Model, image_size: tuple[int, int]) -> dict[str, Layer]:
    """The counted layers of a model by name. image_size: height and width in pixels."""
    return count_modules(model, (1, model.spec["in_chans"], *image_size), model.dtype)


class Madds:
    """Multiply-adds of the model's net and of all narrower nets. image_size: height and width in pixels."""

    def __init__(self, model: Model, image_size: tuple[int, int], axes: Axes | None = None) -> None:
        axes = axes or Axes(model)
        self.full_sizes = sizes(axes.arch)
        self.constant = 0
        self.parts: dict[tuple[str, ...], int] = {}  # widths -> multiply-adds of all layers that scale with them
        for name, layer in layers_of(model, image_size).items():
            widths = tuple(label for label in axes.of(f"{name}.weight")[:2] if label)
            if widths:
                self.parts[widths] = self.parts.get(widths, 0) + layer.madds
            else:
                self.constant += layer.madds

    def __call__(self, arch: Arch) -> int:
        narrow_sizes, total = sizes(arch), self.constant
        for widths, madds in self.parts.items():
            for label in widths:
                madds = madds * narrow_sizes[label] // self.full_sizes[label]  # exact: a factor of madds
            total += madds
        return total


class Latency:
    """Latency in ms of the model's net and of all narrower nets. `path`: file of the table, created if missing.

    Raises:
        LightsegError: the file is no table of latencies, or a table of another machine or number of threads.
    """

    def __init__(self, model: Model, image_size: tuple[int, int], path: Path, axes: Axes | None = None) -> None:
        self.model, self.image_size, self.path = model, image_size, path
        self.axes = axes or Axes(model)
        self.header = {"metric": METRIC, "machine": machine(), "threads": torch.get_num_threads()}
        self.entries: dict[str, float] = read_table(path, self.header) if path.exists() else {}
        if not all(isinstance(entry, int | float) for entry in self.entries.values()):
            raise LightsegError(f"{path} is damaged (an entry is no number): remove it to measure again")
        outputs = layers_of(model, image_size)
        body = {plain_name(n.removeprefix(BODY)): (n, layer.output) for n, layer in outputs.items() if BODY in n}
        names = [f"stages.{s}.{b}" for s, stage in enumerate(self.axes.arch.stages) for b in range(len(stage))]
        maps = [body[name] for name in ("stem.bn", *names)]
        self.blocks = [name for name, _ in maps[1:]]
        self.inputs = [(shape[-2], shape[-1]) for _, shape in maps[:-1] if shape]  # (height, width) per block
        head_labels = {label for widths in self.axes.head.values() for label in widths if label}
        last = [layer.into for name, layer in self.axes.layers.items() if name in ("head.conv", "project.conv")]
        self.outside_labels = sorted({"stem", *head_labels, *(label for label in last if label)})

    def __call__(self, arch: Arch) -> float:
        labels = trace_channels(arch)
        total = self._outside(arch)
        blocks = [block for stage in arch.stages for block in stage]
        for number, block in enumerate(blocks):
            total += self._block(arch, block, labels.sizes[labels.blocks[number].into], number)
        return total

    def _block(self, arch: Arch, block: Any, into: int, number: int) -> float:
        height, width = self.inputs[number]
        wide = [m for m in self.model.get_submodule(self.blocks[number]).modules() if isinstance(m, nn.Conv2d)]
        steps = ",".join(f"{conv.stride[0]}x{conv.dilation[0]}" for conv in wide)  # a dilated net's differ
        key = f"{block}, into={into}, at={height}x{width}, steps={steps}, se_relu={arch.se_relu}"
        if key not in self.entries:
            with torch.random.fork_rng(devices=[]):
                layer = make_block(into, block, arch.conv_bias, 0.0, "relu" if arch.se_relu else None)
            for conv, source in zip((m for m in layer.modules() if isinstance(m, nn.Conv2d)), wide, strict=True):
                conv.stride, conv.dilation, conv.padding = source.stride, source.dilation, source.padding
            if next(layer.parameters(), None) is None:  # an identity
                return 0.0
            self._measure(key, layer, (1, into, height, width), torch.float32)
        return self.entries[key]

    def _outside(self, arch: Arch) -> float:
        """Latency of everything but the blocks: normalization, stem, and head."""
        channels = sizes(arch)
        key = "outside the blocks, " + ", ".join(f"{label}={channels[label]}" for label in self.outside_labels)
        if key not in self.entries:
            layer = _StemAndHead(build_model(self.model.spec, arch), self.image_size)
            self._measure(key, layer, (1, self.model.spec["in_chans"], *self.image_size), self.model.dtype)
        return self.entries[key]

    def _measure(self, key: str, layer: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.entries[key] = measure_latency(layer, shape, runs=RUNS, dtype=dtype)["latency_ms"]
        write_table(self.path, self.header, self.entries)


class _StemAndHead(nn.Module):
    """A model without its blocks: the head runs on the feature maps of a blank image."""

    def __init__(self, model: Model, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.image_size = model, image_size
        net: Any = model.backbone.net
        self.native = hasattr(net, "forward_head")
        blank = model.normalize(model.blank(1, *image_size))
        with torch.no_grad():
            self.maps = net.stages(net.stem(blank)) if self.native else model.backbone(blank)
        stem = [net.stem] if self.native else [m for name, m in net.named_children() if name.startswith("stem_")]
        self.stem = nn.Sequential(*stem)

    def forward(self, images: Tensor) -> Any:
        self.stem(self.model.normalize(images))
        if self.native:
            net: Any = self.model.backbone.net
            return net.forward_head(net.head(self.maps))
        return self.model.head(self.maps, self.image_size)
