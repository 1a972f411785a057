"""Architectures as YAML files, for `backbone=<path>`:

    name: tiny
    stem: {out: 8, act: hswish}
    stages:
    - # stage 1, stride 2
      - {kernel: 3, mid: 8, out: 8}
    - # stage 2, stride 4
      - {kernel: 5, mid: 48, out: 24, stride: 2, se: true, act: hswish}
      - {op: skip, out: 24}
    head: {kind: irpool, mid: 144, out: 1984}

A file contains values alone and never selects code to run.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, IRPoolHead, PoolHead, Skip, Stem, check_arch, short_repr
from lightseg.catalog.safe_yaml import parse_yaml, read_yaml
from lightseg.errors import LightsegError, nearest

HEADER = """\
# A net for `backbone=<this file>`, top to bottom, one block a line.
# Inverted residual: 1x1 convolution to `mid` channels (none where `mid` is what comes in), depthwise `kernel`,
# 1x1 convolution to `out`; `se: true`, `act: hswish` and `groups: 2` where wanted. A skip keeps its input, or is a 1x1
# convolution where channels or stride change; `op: conv` is always one. `stride: 2` starts a stage. Left out: stride 1,
# no se, relu, groups 1.
"""
KINDS: dict[str, dict[str, type]] = {  # key -> its values -> class; the key of the first class may be left out
    "op": {"ir": Block, "skip": Skip, "conv": Conv},
    "kind": {"conv": ConvHead, "irpool": IRPoolHead, "pool": PoolHead},
}


def read_arch(path: str | PathLike[str]) -> Arch:
    """The architecture of a YAML file.

    Raises:
        LightsegError: the file does not describe a net; one line with the file and the position in it.
    """
    return parse_arch(read_yaml(Path(path)), str(path))


def parse_arch(content: str | bytes, path: str) -> Arch:
    """As `read_arch`, from the content of a file. `path` is for error messages."""
    data = parse_yaml(content, path, "architecture")
    try:
        arch = _parse(data)
        check_arch(arch)
        return arch
    except ValueError as error:  # LightsegError is a ValueError, and so is a number with too many digits to print
        raise LightsegError(f"{path}: {error}") from error


def write_arch(arch: Arch, path: str | PathLike[str]) -> None:
    """Write the file of `arch`. LightsegError if it is no net or the file cannot be written."""
    try:
        Path(path).write_text(format_arch(arch), encoding="utf-8")
    except OSError as error:
        raise LightsegError(f"{path}: cannot be written ({error.strerror})") from error


def format_arch(arch: Arch) -> str:
    """The content of the file of `arch`; LightsegError if it is no net."""
    check_arch(arch)
    settings = {"name": arch.name, "input_size": arch.input_size, "conv_bias": arch.conv_bias}
    settings |= {"se_relu": True} if arch.se_relu else {}
    settings |= {"pixels": arch.pixels} if arch.pixels != "imagenet" else {}
    lines = [yaml.safe_dump(settings, sort_keys=False).rstrip(), f"stem: {_flow(arch.stem)}", "stages:"]
    stride = 2
    for number, stage in enumerate(arch.stages, 1):
        stride *= stage[0].stride
        lines += [f"- # stage {number}, stride {stride}", *(f"  - {_flow(block)}" for block in stage)]
    lines.append(f"head: {_flow(arch.head)}")
    return HEADER + "\n".join(lines) + "\n"


def _parse(data: Any) -> Arch:
    values = _values(Arch, data, "")
    values["stem"] = Stem(**_values(Stem, values["stem"], "stem: "))
    values["head"] = _variant("kind", values["head"], "head: ")
    values["stages"] = tuple(
        tuple(
            _variant("op", block, f"stage {stage_number}, block {number}: ")
            for number, block in enumerate(_list(stage, f"stage {stage_number}", "blocks"), 1)
        )
        for stage_number, stage in enumerate(_list(values["stages"], "stages", "stages, each a list of blocks"), 1)
    )
    return Arch(**values)


def _variant(key: str, data: Any, where: str) -> Any:
    """A block or a head, of the class that `data[key]` names."""
    kinds = KINDS[key]
    default = next(iter(kinds))
    kind = data.get(key, default) if isinstance(data, dict) else default
    if not isinstance(kind, str) or kind not in kinds:
        raise LightsegError(f"{where}{_unknown(key, kind, kinds)}")
    return kinds[kind](**_values(kinds[kind], data, where, extra=(key,)))


def _values(cls: Any, data: Any, where: str, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entries of a mapping for the fields of `cls`, with types checked. extra: further keys allowed."""
    cls_fields = {field.name: field for field in fields(cls)}
    keys = [*extra, *cls_fields]
    if not isinstance(data, dict):
        raise LightsegError(f"{where}should have the keys {', '.join(keys)}, not be {short_repr(data)}")
    for key in data:
        if key not in keys:
            raise LightsegError(f"{where}{_unknown('key', key, keys)}")
    for name, field in cls_fields.items():
        if name not in data and field.default is MISSING:
            raise LightsegError(f"{where}{name} is missing")
    values = {name: data[name] for name in cls_fields if name in data}
    for name, value in values.items():
        _check_type(cls_fields[name].type, name, value, where)
    return values


def _check_type(kind: Any, name: str, value: Any, where: str) -> None:
    expected = {int: "a whole number", bool: "true or false", str: "a word"}
    if kind in expected and type(value) is not kind:  # not isinstance: True is an int
        raise LightsegError(f"{where}{name} should be {expected[kind]}, not {short_repr(value)}")
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise LightsegError(f"{where}{_unknown(name, value, get_args(kind))}")


def _list(data: Any, where: str, items: str) -> list[Any]:
    if not isinstance(data, list):
        raise LightsegError(f"{where}: should be a list of {items}, not {short_repr(data)}")
    return data


def _flow(item: Any) -> str:
    """`{kernel: 3, mid: 48, out: 24}`, without defaults."""
    kinds = [(key, name) for key, classes in KINDS.items() for name, cls in classes.items() if cls is type(item)]
    kind = {key: name for key, name in kinds if name != "ir"}
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    non_default = {field.name: values[field.name] for field in fields(item) if values[field.name] != field.default}
    return str(yaml.safe_dump(kind | non_default, default_flow_style=True, sort_keys=False, width=1000).strip())


def _unknown(name: str, value: Any, choices: Iterable[str]) -> str:
    return f"unknown {name} {short_repr(value)}: {nearest(value if isinstance(value, str) else '', choices)}"
