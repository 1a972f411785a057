"""Search spaces from YAML files. Errors in a file are one line with the position.

Nothing here imports torch, so that a file can be checked before torch is loaded.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightseg.catalog.arch import CHANNELS, INPUT_SIZES, KERNELS, ConvHead, IRPoolHead, short_repr
from lightseg.catalog.safe_yaml import parse_yaml, read_yaml
from lightseg.catalog.search_space import Slot, Space, StemSlot
from lightseg.errors import LightsegError, nearest

SHIPPED = Path(__file__).parent / "search_spaces"
MAX_CHOICES = 64  # of one decision
ACTS = ("relu", "hswish")
EXPANSIONS = (0.1, 32)


def shipped() -> list[str]:
    """Names of the spaces in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_space(name: str) -> Space:
    """A shipped space by its name, or a space of a YAML file by its path.

    Raises:
        LightsegError: the file is no search space; one line with the file and the position in it.
    """
    path = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise LightsegError(f"no search space '{name}': {nearest(name, shipped())} or give a YAML file of one")
    return parse_space(read_yaml(path), str(path))


def parse_space(content: str | bytes, path: str) -> Space:
    """As `read_space`, from the content of a file. `path` is for error messages."""
    data = parse_yaml(content, path, "search space")
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        return replace(_space(data), content=text)
    except (ValueError, OverflowError) as error:  # LightsegError is a ValueError, and so is text that is not UTF-8
        raise LightsegError(f"{path}: {error}") from error


def _space(data: Any) -> Space:
    values = _mapping(data, "", required=("name", "stem", "stages", "head"), optional=("input_sizes", "divisor"))
    name = values["name"]
    if not isinstance(name, str) or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise LightsegError(f"name {short_repr(name)} may have letters, digits, '_', '.' and '-' alone")
    divisor = values.get("divisor", 8)
    if type(divisor) is not int or not 1 <= divisor <= 64:
        raise LightsegError(f"divisor should be a whole number from 1 to 64, not {short_repr(divisor)}")
    stem = _mapping(values["stem"], "stem: ", required=("out",), optional=("act",))
    stem_slot = StemSlot(_widths(stem["out"], "stem: out", divisor), _activations(stem.get("act", "relu"), "stem: act"))
    if not isinstance(values["stages"], list) or not values["stages"]:
        raise LightsegError("stages: should be a list of stages, each a list of blocks")
    stages, stride = [], 2
    for number, stage in enumerate(values["stages"], 1):
        if not isinstance(stage, list) or not stage:
            raise LightsegError(f"stage {number}: should be a list of blocks, not {short_repr(stage)}")
        slots = [slot for i, block in enumerate(stage, 1) for slot in _slots(block, number, i, divisor)]
        stride *= slots[0].stride
        if stride > 32:
            raise LightsegError(f"stage {number}: stride {stride} in all, and a pyramid ends at 32")
        stages.append(tuple(slots))
    return Space(
        name,
        stem_slot,
        tuple(stages),
        _head(values["head"]),
        _integers(values.get("input_sizes", 224), "input_sizes", *INPUT_SIZES),
        divisor,
    )


def _slots(data: Any, stage: int, number: int, divisor: int) -> list[Slot]:
    """The slots of an entry: a block `repeat` times, of which the first has the stride."""
    where = f"stage {stage}, block {number}"
    optional = ("kernel", "se", "act", "stride", "skip", "repeat")
    values = _mapping(data, f"{where}: ", required=("out", "expand"), optional=optional)
    stride, repeat, skip = values.get("stride", 1), values.get("repeat", 1), values.get("skip", False)
    if stride not in (1, 2) or type(stride) is not int:
        raise LightsegError(f"{where}: stride must be 1 or 2, not {short_repr(stride)}")
    if stride == 2 and number > 1:
        raise LightsegError(f"{where}: stride 2 inside a stage: start a new stage here")
    if type(repeat) is not int or not 1 <= repeat <= 100:
        raise LightsegError(f"{where}: repeat should be a whole number from 1 to 100, not {short_repr(repeat)}")
    if type(skip) is not bool:
        raise LightsegError(f"{where}: skip should be true or false, not {short_repr(skip)}")
    kernels = _integers(values.get("kernel", 3), f"{where}: kernel", *KERNELS)
    if even := [kernel for kernel in kernels if kernel % 2 == 0]:
        raise LightsegError(f"{where}: kernel {even[0]} is even: take an odd one, such as {even[0] + 1}")
    slot = Slot(
        out=_widths(values["out"], f"{where}: out", divisor),
        expand=_choices(values["expand"], f"{where}: expand", (int, float), "numbers", *EXPANSIONS),
        kernel=kernels,
        se=_choices(values.get("se", False), f"{where}: se", (bool,), "true or false"),
        act=_activations(values.get("act", "relu"), f"{where}: act"),
        stride=stride,
        skip=skip,
    )
    return [slot, *[replace(slot, stride=1)] * (repeat - 1)]


def _head(data: Any) -> ConvHead | IRPoolHead:
    kinds = {"conv": ("out",), "irpool": ("mid", "out")}
    kind = data.get("kind", "conv") if isinstance(data, dict) else "conv"
    if kind not in kinds:
        raise LightsegError(f"head: unknown kind {short_repr(kind)}: choose from {', '.join(kinds)}")
    values = _mapping(data, "head: ", required=kinds[kind], optional=("kind",))
    sizes = [_integers(values[key], f"head: {key}", *CHANNELS) for key in kinds[kind]]
    if any(len(size) > 1 for size in sizes):
        raise LightsegError("head: its widths are not searched: give one number each")
    return IRPoolHead(sizes[0][0], sizes[1][0]) if kind == "irpool" else ConvHead(sizes[0][0])


# -- values ------------------------------------------------------------------------------------------------------------


def _mapping(data: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    keys = [*required, *optional]
    if not isinstance(data, dict):
        raise LightsegError(f"{where}should have the keys {', '.join(keys)}, not be {short_repr(data)}")
    for key in data:
        if key not in keys:
            raise LightsegError(f"{where}unknown key {short_repr(key)}: {nearest(str(key), keys)}")
    for key in required:
        if key not in data:
            raise LightsegError(f"{where}{key} is missing")
    return data


def _choices(
    data: Any, where: str, kinds: tuple[type, ...], expected: str, low: float = -math.inf, high: float = math.inf
) -> tuple[Any, ...]:
    """The choices of a value, of a list, or of a range of numbers `{from: 16, to: 28, step: 4}`, sorted."""
    values = data if isinstance(data, list) else _range(data, where) if isinstance(data, dict) else [data]
    if not 1 <= len(values) <= MAX_CHOICES:
        raise LightsegError(f"{where}: give 1 to {MAX_CHOICES} choices, not {len(values)}")
    for value in values:
        if type(value) not in kinds:  # not isinstance: True is an int
            raise LightsegError(f"{where} should be {expected}, not {short_repr(value)}")
        if not isinstance(value, str) and not low <= value <= high:  # YAML's .nan is out of range too
            raise LightsegError(f"{where} must be {low:g} to {high:g}, not {value}")
    if len(set(values)) < len(values):
        raise LightsegError(f"{where} has one choice twice")
    return tuple(sorted(values)) if kinds != (str,) else tuple(values)


def _range(data: dict[str, Any], where: str) -> list[Any]:
    ends = _mapping(data, f"{where}: ", required=("from", "to", "step"), optional=())
    low, high, step = (ends[key] for key in ("from", "to", "step"))
    if any(type(end) not in (int, float) or not math.isfinite(end) for end in (low, high, step)):
        raise LightsegError(f"{where}: from, to and step are numbers")
    if step <= 0 or high < low or (high - low) / step > MAX_CHOICES:
        raise LightsegError(f"{where}: from {low} to {high} by {step} are not 1 to {MAX_CHOICES} choices")
    return [low + index * step for index in range(int((high - low) / step + 1e-9) + 1)]


def _integers(data: Any, where: str, low: int, high: int) -> tuple[int, ...]:
    return _choices(data, where, (int,), "whole numbers", low, high)


def _widths(data: Any, where: str, divisor: int) -> tuple[int, ...]:
    widths = _integers(data, where, *CHANNELS)
    if odd := [width for width in widths if width % divisor]:
        low = max(divisor, odd[0] // divisor * divisor)
        raise LightsegError(
            f"{where} {odd[0]} is not divisible by the divisor {divisor}: take {low} or {low + divisor}"
        )
    return widths


def _activations(data: Any, where: str) -> tuple[str, ...]:
    names = _choices(data, where, (str,), "words")
    for name in names:
        if name not in ACTS:
            raise LightsegError(f"{where}: unknown {short_repr(name)}: {nearest(name, ACTS)}")
    return names
