"""A search space: for every block of a net the widths, expansions, kernels, squeeze-and-excitation and activations to
choose from, and whether it may be left out; for the whole net the sizes of its input.

A space is a YAML file, as an architecture is (`lightseg.catalog.arch_yaml`), with a list wherever the net has a value.
`search_spaces/` beside this file has those that are shipped, and `spaces.py` reads them.

    name: tiny
    divisor: 8                       # what all widths are multiples of; an expansion is rounded to it
    input_sizes: [192, 224]
    stem: {out: [8, 16], act: [relu, hswish]}
    stages:
    - - {out: [8, 16], expand: 1}
    - - {out: {from: 16, to: 32, step: 8}, expand: [1, 3, 6], kernel: [3, 5], se: [false, true], stride: 2}
      - {out: [16, 24, 32], expand: [3, 6], act: [relu, hswish], skip: true, repeat: 2}
    head: {kind: irpool, mid: 144, out: 1984}
"""

from dataclasses import dataclass

from lightseg.catalog.arch import ConvHead, IRPoolHead


@dataclass(frozen=True)
class Slot:
    """A place for a block. Expansions are relative to the channels that come in; `skip`: the block may be left out."""

    out: tuple[int, ...]
    expand: tuple[float, ...]
    kernel: tuple[int, ...] = (3,)
    se: tuple[bool, ...] = (False,)
    act: tuple[str, ...] = ("relu",)
    stride: int = 1
    skip: bool = False


@dataclass(frozen=True)
class StemSlot:
    """The 3x3 convolution of stride 2 before the blocks."""

    out: tuple[int, ...]
    act: tuple[str, ...] = ("relu",)


@dataclass(frozen=True)
class Space:
    """All nets to choose from. `content` is the text it was read from, which a checkpoint keeps."""

    name: str
    stem: StemSlot
    stages: tuple[tuple[Slot, ...], ...]
    head: ConvHead | IRPoolHead
    input_sizes: tuple[int, ...] = (224,)
    divisor: int = 8
    content: str = ""

    @property
    def slots(self) -> list[Slot]:
        return [slot for stage in self.stages for slot in stage]

    def mid(self, channels: int, expand: float) -> int:
        """The expanded channels: the nearest multiple of the divisor, and at least that."""
        return max(self.divisor, int(channels * expand / self.divisor + 0.5) * self.divisor)

    def nets(self) -> int:
        """How many choices there are in all; those that come to the same net counted apart."""
        total = len(self.input_sizes) * len(self.stem.out) * len(self.stem.act)
        for slot in self.slots:
            kinds = len(slot.expand) * len(slot.kernel) * len(slot.se) * len(slot.act)
            total *= len(slot.out) * (kinds + slot.skip)
        return total
