"""A net as data: the architecture that FBNet (arXiv:1812.03443) and FBNetV2 (arXiv:2004.05565) search for.

The published tables (`fbnet_tables.py`) and whatever a search over channels, expansion, kernel, squeeze-and-excitation,
activation, skips and input size finds are an `Arch`; `fbnet.py` builds it. As a file it is YAML to read and edit:

    name: tiny
    stem: {out: 8, act: hswish}
    stages:
    - # stage 1, stride 2
      - {kernel: 3, mid: 8, out: 8}
    - # stage 2, stride 4
      - {kernel: 5, mid: 48, out: 24, stride: 2, se: true, act: hswish}
      - {op: skip, out: 24}
    head: {kind: irpool, mid: 144, out: 1984}

A file holds values and never chooses code. This module imports neither torch nor timm, so that a file can be checked
before they are loaded.
"""

import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import yaml

from lightseg.errors import LightsegError, nearest

Act = Literal["relu", "hswish"]

MAX_BYTES = 200_000  # of a file: a published net takes 2 kB, weights passed by mistake take megabytes
CHANNELS = (1, 16384)
KERNELS = (1, 31)
INPUT_SIZES = (16, 4096)  # pixels
HEADER = """\
# A net for `backbone=<this file>`, top to bottom, one block a line.
# Inverted residual: 1x1 convolution to `mid` channels (none where `mid` is what comes in), depthwise `kernel`,
# 1x1 convolution to `out`; `se: true`, `act: hswish` and `groups: 2` where wanted. A skip keeps its input, or is a 1x1
# convolution where channels or stride change. `stride: 2` starts a stage. Left out: stride 1, no se, relu, groups 1.
"""


@dataclass(frozen=True)
class Block:
    """Inverted residual; `mid` counts channels, and equal to those that come in there is no expansion.

    `groups` > 1 (FBNet's e1g2, without expansion): channel shuffle first, and a grouped projection.
    """

    kernel: int
    mid: int
    out: int
    stride: int = 1
    se: bool = False
    act: Act = "relu"
    groups: int = 1


@dataclass(frozen=True)
class Skip:
    """Identity; where channels or stride change a 1x1 convolution, batch norm and ReLU."""

    out: int
    stride: int = 1


@dataclass(frozen=True)
class Stem:
    """3x3 convolution with stride 2, batch norm, activation."""

    out: int
    act: Act = "relu"


@dataclass(frozen=True)
class ConvHead:
    """FBNet's: 1x1 convolution, batch norm, ReLU, global average pooling, classifier."""

    out: int


@dataclass(frozen=True)
class IRPoolHead:
    """FBNetV2's: 1x1 convolution to `mid`, batch norm, h-swish, pooling, 1x1 to `out`, h-swish, classifier."""

    mid: int
    out: int


@dataclass(frozen=True)
class Arch:
    """A net. Only the first block of a stage may have stride 2; `input_size` is the side, in pixels, it was made for.

    `conv_bias`: convolutions before a batch norm have a bias, as FBNet's released nets have.
    """

    name: str
    stem: Stem
    stages: tuple[tuple[Block | Skip, ...], ...]
    head: ConvHead | IRPoolHead
    input_size: int = 224
    conv_bias: bool = False


class Level(NamedTuple):
    """One map of the pyramid: what leaves the last stage of its stride (`stage` -1: the stem)."""

    stage: int
    channels: int
    stride: int


KINDS: dict[str, dict[str, type]] = {  # the key that names a class in a file; the first one may be left out
    "op": {"ir": Block, "skip": Skip},
    "kind": {"conv": ConvHead, "irpool": IRPoolHead},
}


def levels(arch: Arch) -> tuple[Level, ...]:
    """The pyramid's maps, shallow to deep."""
    found = [Level(-1, arch.stem.out, 2)]
    for index, stage in enumerate(arch.stages):
        stride = found[-1].stride * stage[0].stride
        found = [level for level in found if level.stride < stride]
        found.append(Level(index, stage[-1].out, stride))
    return tuple(found)


def read_arch(path: str | PathLike[str]) -> Arch:
    """The architecture of a YAML file.

    Raises:
        LightsegError: one line with the file and the place in it, for anything that is not a net.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LightsegError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise LightsegError(f"{path} is no architecture: it has over {MAX_BYTES // 1000} kB")
    try:
        data = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, an endless number
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:120]
        raise LightsegError(f"{path} is not YAML: {place}{reason}") from error
    try:
        arch = _parse(data)
        check_arch(arch)
        return arch
    except ValueError as error:  # LightsegError is one; so is a number with too many digits to print
        raise LightsegError(f"{path}: {error}") from error


def write_arch(arch: Arch, path: str | PathLike[str]) -> None:
    """Write `arch` so that `read_arch` gives it back; LightsegError if it is no net or the file cannot be written."""
    check_arch(arch)
    settings = {"name": arch.name, "input_size": arch.input_size, "conv_bias": arch.conv_bias}
    lines = [yaml.safe_dump(settings, sort_keys=False).rstrip(), f"stem: {_flow(arch.stem)}", "stages:"]
    stride = 2
    for number, stage in enumerate(arch.stages, 1):
        stride *= stage[0].stride
        lines += [f"- # stage {number}, stride {stride}", *(f"  - {_flow(block)}" for block in stage)]
    lines.append(f"head: {_flow(arch.head)}")
    try:
        Path(path).write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise LightsegError(f"{path}: cannot be written ({error.strerror})") from error


def check_arch(arch: Arch) -> None:
    """Raise LightsegError, one line with the place, unless the values make a net."""
    if not re.fullmatch(r"\w[\w.-]*", arch.name):
        raise LightsegError(f"name {_short(arch.name)} may have letters, digits, '_', '.' and '-' alone")
    _in_range("input_size", arch.input_size, *INPUT_SIZES)
    _in_range("stem: out", arch.stem.out, *CHANNELS)
    if not arch.stages:
        raise LightsegError("stages: there are none")
    channels, stride = arch.stem.out, 2
    for stage_number, stage in enumerate(arch.stages, 1):
        if not stage:
            raise LightsegError(f"stage {stage_number}: it has no blocks")
        for number, block in enumerate(stage, 1):
            where = f"stage {stage_number}, block {number}"
            _check_block(block, channels, where)
            if block.stride != 1 and number > 1:
                raise LightsegError(f"{where}: stride {block.stride} inside a stage: start a new stage here")
            channels, stride = block.out, stride * block.stride
        if stride > 32:
            raise LightsegError(f"stage {stage_number}: stride {stride} in all, and a pyramid ends at 32")
    for field in fields(arch.head):
        _in_range(f"head: {field.name}", getattr(arch.head, field.name), *CHANNELS)


def _check_block(block: Block | Skip, channels: int, where: str) -> None:
    """`channels`: those that come in."""
    _in_range(f"{where}: out", block.out, *CHANNELS)
    if block.stride not in (1, 2):
        raise LightsegError(f"{where}: stride must be 1 or 2, not {block.stride}")
    if isinstance(block, Skip):
        return
    _in_range(f"{where}: mid", block.mid, *CHANNELS)
    _in_range(f"{where}: kernel", block.kernel, *KERNELS)
    _in_range(f"{where}: groups", block.groups, *CHANNELS)
    if block.kernel % 2 == 0:
        raise LightsegError(f"{where}: kernel {block.kernel} is even: take an odd one, such as {block.kernel + 1}")
    if block.groups > 1 and block.mid != channels:
        raise LightsegError(
            f"{where}: with groups {block.groups} there is no expansion: "
            f"mid must be the {channels} channels that come in, not {block.mid}"
        )
    for key, value in (("mid", block.mid), ("out", block.out)):
        if value % block.groups:
            raise LightsegError(f"{where}: {key} {value} is not divisible by groups {block.groups}")


def _in_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LightsegError(f"{what} must be {low} to {high}, not {value}")


def _parse(data: Any) -> Arch:
    values = _values(Arch, data, "")
    values["stem"] = Stem(**_values(Stem, values["stem"], "stem: "))
    values["head"] = _one_of("kind", values["head"], "head: ")
    values["stages"] = tuple(
        tuple(
            _one_of("op", block, f"stage {stage_number}, block {number}: ")
            for number, block in enumerate(_list(stage, f"stage {stage_number}", "blocks"), 1)
        )
        for stage_number, stage in enumerate(_list(values["stages"], "stages", "stages, each a list of blocks"), 1)
    )
    return Arch(**values)


def _one_of(key: str, data: Any, where: str) -> Any:
    """A `Block` or `Skip`, or a head: `data[key]` says which."""
    kinds = KINDS[key]
    default = next(iter(kinds))
    kind = data.get(key, default) if isinstance(data, dict) else default
    if not isinstance(kind, str) or kind not in kinds:
        raise LightsegError(f"{where}{_unknown(key, kind, kinds)}")
    return kinds[kind](**_values(kinds[kind], data, where, extra=(key,)))


def _values(cls: Any, data: Any, where: str, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entries of a mapping that are `cls`'s fields, of the right types."""
    known = {field.name: field for field in fields(cls)}
    keys = [*extra, *known]
    if not isinstance(data, dict):
        raise LightsegError(f"{where}should have the keys {', '.join(keys)}, not be {_short(data)}")
    for key in data:
        if key not in keys:
            raise LightsegError(f"{where}{_unknown('key', key, keys)}")
    for name, field in known.items():
        if name not in data and field.default is MISSING:
            raise LightsegError(f"{where}{name} is missing")
    values = {name: data[name] for name in known if name in data}
    for name, value in values.items():
        _check_type(known[name].type, name, value, where)
    return values


def _check_type(kind: Any, name: str, value: Any, where: str) -> None:
    words = {int: "a whole number", bool: "true or false", str: "a word"}
    if kind in words and type(value) is not kind:  # not isinstance: True is an int
        raise LightsegError(f"{where}{name} should be {words[kind]}, not {_short(value)}")
    if kind is Act and value not in get_args(Act):
        raise LightsegError(f"{where}{_unknown(name, value, get_args(Act))}")


def _list(data: Any, where: str, of: str) -> list[Any]:
    if not isinstance(data, list):
        raise LightsegError(f"{where}: should be a list of {of}, not {_short(data)}")
    return data


def _flow(item: Any) -> str:
    """`{kernel: 3, mid: 48, out: 24}`, defaults left out."""
    kinds = [(key, name) for key, classes in KINDS.items() for name, cls in classes.items() if cls is type(item)]
    kind = {key: name for key, name in kinds if name != "ir"}
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    told = {field.name: values[field.name] for field in fields(item) if values[field.name] != field.default}
    return str(yaml.safe_dump(kind | told, default_flow_style=True, sort_keys=False, width=1000).strip())


def _short(value: Any) -> str:
    if isinstance(value, list | dict):  # written out, a small file's aliases of aliases fill the memory
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _unknown(what: str, value: Any, choices: Iterable[str]) -> str:
    return f"unknown {what} {_short(value)}: {nearest(value if isinstance(value, str) else '', choices)}"
