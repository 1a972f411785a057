"""Channel selection: narrower models with the weights of a wider model, with any head.

The channels with the largest l2 norm of their filters are kept, as in NetAdapt (arXiv:1804.03230, section 3.3). The
norm is that of the filter with the batch norm folded in. For a bottleneck it is taken over the filters of all blocks
that add to it. MobileNetV3 (arXiv:1905.02244, section 4.2) "truncates" channels and does not say which.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from timm.layers import make_divisible
from torch import Tensor

from lightseg.backbones.block_table import block_table, is_table, plain_name, timm_keys
from lightseg.catalog.arch import Arch, Block, Conv, PoolHead, Skip
from lightseg.catalog.arch_yaml import format_arch, parse_arch
from lightseg.errors import LightsegError
from lightseg.model import Model, create_model
from lightseg.search.netadapt.channel_graph import trace_channels, with_widths

BODY = "backbone.net."
State = Mapping[str, Tensor]


class Filters(NamedTuple):
    """A layer of the body.

    Attributes:
        out, into: labels of its output and input widths; None: a width that cannot change.
        norm: name of the batch norm behind it.
        selects: whether the norms of its filters select the output channels.
    """

    out: str | None
    into: str | None
    norm: str | None = None
    selects: bool = False


class Axes:
    """The width of each dimension of each tensor of a model.

    Those of the body follow from its names. Those of the head are detected by building it on a body whose widths all
    differ.
    """

    def __init__(self, model: Model) -> None:
        self.arch = arch_of(model)
        self.layers = body_layers(self.arch)
        self.head = _head_axes(model, self.arch)

    def of(self, key: str) -> tuple[str | None, ...]:
        """The labels of the first dimensions of the tensor `key` of the state dict; None: no width."""
        if not key.startswith(BODY):
            return self.head.get(key, ())
        layer, _, kind = plain_name(key.removeprefix(BODY)).rpartition(".")
        filters = self.layers.get(layer)
        if filters is None or kind == "num_batches_tracked":
            return ()
        return (filters.out, filters.into)


def to_block_table(model: Model) -> Model:
    """The model with its backbone built from an `Arch` (`spec["arch"]`) and its weights copied.

    A model with an `Arch` is returned unchanged.

    Raises:
        LightsegError: the backbone cannot be written as a table of blocks.
    """
    spec = model.spec
    if spec.get("arch"):
        return model
    arch = block_table(spec["backbone"])
    table = build_model(spec, arch)
    if is_table(spec["backbone"]):
        table.load_state_dict(model.state_dict())
        return table
    native = spec["head"]["name"] == "native"
    names = timm_keys([key.removeprefix(BODY) for key in table.state_dict() if key.startswith(BODY)], arch, native)
    source = model.state_dict()
    state = {}
    for key, target in table.state_dict().items():
        source_key = BODY + names[key.removeprefix(BODY)] if key.startswith(BODY) else key
        state[key] = source[source_key].reshape(target.shape)  # a linear classifier is a 1x1 convolution here
    table.load_state_dict(state)
    return table


def arch_of(model: Model) -> Arch:
    """The architecture in the spec of a model of `to_block_table`."""
    return parse_arch(model.spec["arch"], model.spec["backbone"])


def build_model(spec: Mapping[str, Any], arch: Arch) -> Model:
    """A model of `spec` with the backbone `arch` and random weights. torch's global random state stays unchanged."""
    with torch.random.fork_rng(devices=[]):
        return create_model(**{**spec, "backbone": arch.name, "arch": format_arch(arch)}).eval()


def select_channels(model: Model, arch: Arch, axes: Axes | None = None) -> Model:
    """The model narrowed to `arch`, with the weights of the selected channels.

    Args:
        arch: with the layers of the model, none of them wider.
        axes: of `model`; None: computed here.
    """
    axes = axes or Axes(model)
    state = model.state_dict()
    before, after = sizes(axes.arch), sizes(arch)
    kept = {label: _kept_channels(state, axes, label, after[label]) for label in before if after[label] < before[label]}
    narrower = build_model(model.spec, arch)
    narrow_state = {}
    for key, tensor in state.items():
        for dim, label in enumerate(axes.of(key)[: tensor.ndim]):
            if label in kept:
                tensor = tensor.index_select(dim, kept[label])
        narrow_state[key] = tensor
    narrower.load_state_dict(narrow_state)
    return narrower


def sizes(arch: Arch) -> dict[str, int]:
    """All widths: label -> channels, with those inside squeeze-and-excitation, which follow from the expansion."""
    widths = dict(trace_channels(arch).sizes)
    for s, stage in enumerate(arch.stages, 1):
        for b, block in enumerate(stage, 1):
            if isinstance(block, Block) and block.se:
                widths[f"stage {s}, block {b}: squeeze"] = make_divisible(block.mid / 4, 8)
    return widths


def body_layers(arch: Arch) -> dict[str, Filters]:
    """The layers of `lightseg.backbones.fbnet.FBNet` by module name."""
    layers = {"stem.conv": Filters("stem", None, "stem.bn", True), "stem.bn": Filters("stem", None)}
    labels = iter(trace_channels(arch).blocks)
    into = "stem"
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            label, name = next(labels), f"stages.{s}.{b}"
            into = label.out
            if isinstance(block, Skip | Conv):  # an identity has no such tensors
                layers[f"{name}.conv"] = Filters(label.out, label.into, f"{name}.bn", True)
                layers[f"{name}.bn"] = Filters(label.out, None)
                continue
            if label.mid != label.into:
                layers[f"{name}.expand.conv"] = Filters(label.mid, label.into, f"{name}.expand.bn", True)
                layers[f"{name}.expand.bn"] = Filters(label.mid, None)
            layers[f"{name}.depthwise.conv"] = Filters(label.mid, None)
            layers[f"{name}.depthwise.bn"] = Filters(label.mid, None)
            squeeze = f"stage {s + 1}, block {b + 1}: squeeze"
            layers[f"{name}.se.squeeze"] = Filters(squeeze, label.mid, None, True)
            layers[f"{name}.se.excite"] = Filters(label.mid, squeeze)
            layers[f"{name}.project.conv"] = Filters(label.out, label.mid, f"{name}.project.bn", True)
            layers[f"{name}.project.bn"] = Filters(label.out, None)
    if isinstance(arch.head, PoolHead):
        layers["project.conv"] = Filters(None, into)
    else:
        layers["head.conv"] = Filters(None, into)
    return layers


def _kept_channels(state: State, axes: Axes, label: str, count: int) -> Tensor:
    """Indices [count] of the channels with the largest filter norms, in ascending order."""
    names = {plain_name(key.removeprefix(BODY)): key for key in state if key.startswith(BODY)}
    score: Any = 0
    for name, layer in axes.layers.items():
        if layer.out != label or not layer.selects or f"{name}.weight" not in names:
            continue
        filters = state[names[f"{name}.weight"]]
        power = filters.square().sum(tuple(range(1, filters.ndim)))
        if layer.norm:
            gain, variance = (state[names[f"{layer.norm}.{key}"]] for key in ("weight", "running_var"))
            power = power * gain.square() / (variance + 1e-5)
        score = score + power
    order = torch.argsort(score, descending=True, stable=True)
    return order[:count].sort().values


def _head_axes(model: Model, arch: Arch) -> dict[str, tuple[str | None, ...]]:
    """The labels of the dimensions of the head's tensors that are widths of the body."""
    before = trace_channels(arch)
    distinct = {label: 201 + number for number, label in enumerate(before.sizes) if label not in before.fixed}
    probe = with_widths(arch, distinct)
    if probe is None:  # a fixed width equals one of these
        probe = with_widths(arch, {label: size + 300 for label, size in distinct.items()})
    assert probe is not None
    labels = {size: label for label, size in trace_channels(probe).sizes.items() if label in distinct}
    axes: dict[str, tuple[str | None, ...]] = {}
    other = build_model(model.spec, probe).state_dict()
    for key, tensor in model.state_dict().items():
        if key.startswith(BODY) or key not in other or other[key].shape == tensor.shape:
            continue
        changed = [(a, b) for a, b in zip(tensor.shape, other[key].shape, strict=True)]
        if any(a != b and before.sizes.get(labels.get(b, "")) != a for a, b in changed):
            raise LightsegError(
                f"head {model.spec['head']['name']}: its {re.sub('^head.', '', key)} depends on the backbone's "
                "channels in a way that a narrower net cannot take over"
            )
        axes[key] = tuple(labels[b] if a != b else None for a, b in changed)
    return axes
