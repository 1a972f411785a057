"""The layers of a net summed by stage.

A stage of the backbone is a sequence of its parts (stem, blocks, and in a classifier the layers after pooling) whose
feature maps have the same stride. Where dilation replaces a stride, two stages become one. The stages of the head are
its children.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from lightseg.backbones.dilation import nominal_stride
from lightseg.profile.layers import Layer

SUMMED = ("params", "madds", "activations", "mac", "shift_max", "time_ms")
MAX_STRIDE = 32  # a map of a larger stride is the result of global pooling
ITSELF = "the model itself"
SEQUENCES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # exact types: a subclass may be a block


def sum_stages(model: nn.Module, modules: Mapping[str, Layer], height: int) -> list[dict[str, Any]]:
    """The stages of a model, in the order of their definition. Every layer is in one of them.

    Args:
        model: a `lightseg.model.Model`, or any net.
        modules: from `count_modules`.
        height: of the image, in pixels.

    Returns:
        Dicts with `stage`, `modules` (its parts), `output` and `stride` of its last feature map, `layers` (how many of
        its layers have multiply-adds), and the sums of the layers' figures.
    """
    rows: list[dict[str, Any]] = []
    row_of_part: dict[str, dict[str, Any]] = {}
    paths = dict(model.named_modules())
    net = "backbone.net" if "backbone.net" in paths else ""
    for path in _parts(paths[net], net):
        if not _used(modules, path):
            continue
        shape = modules[path].output
        stride = nominal_stride(height, shape[2]) if shape and len(shape) == 4 else None
        stage = f"stride {stride}" if stride and stride <= MAX_STRIDE else "pooled"
        if not rows or rows[-1]["stage"] != stage:
            rows.append(_row(stage))
        rows[-1].update(output=shape, stride=stride, modules=[*rows[-1]["modules"], path.removeprefix(f"{net}.")])
        row_of_part[path] = rows[-1]
    if net and "head" in paths:
        for path in [f"head.{name}" for name, _ in paths["head"].named_children()]:
            if _used(modules, path):
                rows.append({**_row(path), "modules": [path], "output": modules[path].output})
                row_of_part[path] = rows[-1]
    rows.append({**_row(ITSELF), "output": modules[""].output})
    for name, layer in modules.items():
        row = next((row for path, row in row_of_part.items() if _inside(name, path)), rows[-1])
        row["layers"] += bool(layer.madds)
        for key in SUMMED:
            row[key] += getattr(layer, key)
    return rows


def _row(stage: str) -> dict[str, Any]:
    return {"stage": stage, "modules": [], "output": None, "stride": None, "layers": 0, **dict.fromkeys(SUMMED, 0)}


def _used(modules: Mapping[str, Layer], path: str) -> bool:
    return any(_inside(name, path) and (layer.computes or layer.params) for name, layer in modules.items())


def _inside(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def _parts(module: nn.Module, path: str) -> Iterator[str]:
    """Paths of the parts of a net: of its children, or of theirs where a child is a sequence or the only one."""
    children = list(module.named_children())
    for name, child in children:
        inner = f"{path}.{name}".lstrip(".")
        alone = len(children) == 1 and not path.count(".") > 1
        if list(child.children()) and (alone or type(child) in SEQUENCES):
            yield from _parts(child, inner)
        else:
            yield inner
