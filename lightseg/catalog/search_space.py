"""A search space: the choices for every block of a net, and the choices of its input size.

Choices of a block are widths, expansions, kernels, squeeze-and-excitation, activations, and whether it is left out. A
space is a YAML file like that of an architecture (`lightseg.catalog.arch_yaml`), with a list of choices in place of a
value. `search_spaces/` beside this file has the shipped spaces, and `spaces.py` reads them.

    name: tiny
    divisor: 8                       # widths are multiples of it; expansions are rounded to it
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
    """The choices of a block. Expansions are relative to the input channels; `skip`: the block may be left out."""

    out: tuple[int, ...]
    expand: tuple[float, ...]
    kernel: tuple[int, ...] = (3,)
    se: tuple[bool, ...] = (False,)
    act: tuple[str, ...] = ("relu",)
    stride: int = 1
    skip: bool = False


@dataclass(frozen=True)
class StemSlot:
    """The choices of the stem, a 3x3 convolution of stride 2."""

    out: tuple[int, ...]
    act: tuple[str, ...] = ("relu",)


@dataclass(frozen=True)
class Space:
    """All nets of a search. `content` is the text of its file, which a checkpoint contains."""

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
        """The expanded channels: the nearest multiple of the divisor, at least the divisor itself."""
        return max(self.divisor, int(channels * expand / self.divisor + 0.5) * self.divisor)

    def nets(self) -> int:
        """The number of combinations of choices. Some of them are the same net."""
        total = len(self.input_sizes) * len(self.stem.out) * len(self.stem.act)
        for slot in self.slots:
            kinds = len(slot.expand) * len(slot.kernel) * len(slot.se) * len(slot.act)
            total *= len(slot.out) * (kinds + slot.skip)
        return total
