"""Narrower nets with the weights of wider ones: whole models, with whatever head.

Which channels stay is NetAdapt's choice (arXiv:1804.03230, section 3.3): those whose filters have the largest l2 norm.
The norm is taken with the batch norm folded in, because that is what the filter does when the net runs; of a bottleneck
it is taken over the filters of all blocks that add to it. MobileNetV3 (arXiv:1905.02244, section 4.2) "truncates" and
does not say how.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from timm.layers import make_divisible
from torch import Tensor

from lightseg.backbones.block_table import block_table, is_table, plain_name, renamed
from lightseg.catalog.arch import Arch, Block, Conv, PoolHead, Skip
from lightseg.catalog.arch_yaml import format_arch, parse_arch
from lightseg.errors import LightsegError
from lightseg.model import Model, create_model
from lightseg.search.netadapt.channel_graph import resized, wiring

BODY = "backbone.net."
State = Mapping[str, Tensor]


class Filters(NamedTuple):
    """A layer of the body: the widths of its outputs and inputs by label (None: no such width). `norm`: the batch norm
    after it; `makes`: whether its filters are what the output's channels are chosen by."""

    out: str | None
    into: str | None
    norm: str | None = None
    makes: bool = False


class Axes:
    """Which dimension of which tensor of a model is which width; `arch`: of the model.

    The body's are known by their names. The head's are found by building it once on a body whose widths all differ.
    """

    def __init__(self, model: Model) -> None:
        self.arch = arch_of(model)
        self.layers = body(self.arch)
        self.head = _head_axes(model, self.arch)

    def of(self, key: str) -> tuple[str | None, ...]:
        """The widths of the dimensions of a tensor `key`, the first ones."""
        if not key.startswith(BODY):
            return self.head.get(key, ())
        layer, _, kind = plain_name(key.removeprefix(BODY)).rpartition(".")
        found = self.layers.get(layer)
        if found is None or kind == "num_batches_tracked":
            return ()
        return (found.out, found.into)


def table_model(model: Model) -> Model:
    """The same model with its backbone built of an `Arch`, weights copied: `spec["arch"]` says which. A model that has
    one already is given back.

    Raises:
        LightsegError: its backbone cannot be written as a table of blocks.
    """
    spec = model.spec
    if spec.get("arch"):
        return model
    arch = block_table(spec["backbone"])
    made = built(spec, arch)
    if is_table(spec["backbone"]):
        made.load_state_dict(model.state_dict())
        return made
    whole = spec["head"]["name"] == "native"
    names = renamed([key.removeprefix(BODY) for key in made.state_dict() if key.startswith(BODY)], arch, whole)
    source = model.state_dict()
    state = {}
    for key, target in made.state_dict().items():
        theirs = BODY + names[key.removeprefix(BODY)] if key.startswith(BODY) else key
        state[key] = source[theirs].reshape(target.shape)  # a linear classifier is a 1x1 convolution here
    made.load_state_dict(state)
    return made


def arch_of(model: Model) -> Arch:
    return parse_arch(model.spec["arch"], model.spec["backbone"])


def built(spec: Mapping[str, Any], arch: Arch) -> Model:
    """A model as `spec` says, on another body, with random weights; the random numbers of others stay as they are."""
    with torch.random.fork_rng(devices=[]):
        return create_model(**{**spec, "backbone": arch.name, "arch": format_arch(arch)}).eval()


def truncated(model: Model, arch: Arch, axes: Axes | None = None) -> Model:
    """A model on `arch`, which has the layers of the model's own and no wider ones, with the weights that stay.

    axes: of `model`, where they are known.
    """
    axes = axes or Axes(model)
    state = model.state_dict()
    before, after = sizes(axes.arch), sizes(arch)
    kept = {label: _largest(state, axes, label, after[label]) for label in before if after[label] < before[label]}
    made = built(model.spec, arch)
    narrow = {}
    for key, tensor in state.items():
        for dim, label in enumerate(axes.of(key)[: tensor.ndim]):
            if label in kept:
                tensor = tensor.index_select(dim, kept[label])
        narrow[key] = tensor
    made.load_state_dict(narrow)
    return made


def sizes(arch: Arch) -> dict[str, int]:
    """All widths, those inside squeeze-and-excitation too, which follow their expansion."""
    found = dict(wiring(arch).sizes)
    for s, stage in enumerate(arch.stages, 1):
        for b, block in enumerate(stage, 1):
            if isinstance(block, Block) and block.se:
                found[f"stage {s}, block {b}: squeeze"] = make_divisible(block.mid / 4, 8)
    return found


def body(arch: Arch) -> dict[str, Filters]:
    """The layers of `lightseg.backbones.fbnet.FBNet` by name."""
    found = {"stem.conv": Filters("stem", None, "stem.bn", True), "stem.bn": Filters("stem", None)}
    labels = iter(wiring(arch).blocks)
    into = "stem"
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            label, at = next(labels), f"stages.{s}.{b}"
            into = label.out
            if isinstance(block, Skip | Conv):  # of an identity, names without tensors
                found[f"{at}.conv"] = Filters(label.out, label.into, f"{at}.bn", True)
                found[f"{at}.bn"] = Filters(label.out, None)
                continue
            if label.mid != label.into:
                found[f"{at}.expand.conv"] = Filters(label.mid, label.into, f"{at}.expand.bn", True)
                found[f"{at}.expand.bn"] = Filters(label.mid, None)
            found[f"{at}.depthwise.conv"] = Filters(label.mid, None)
            found[f"{at}.depthwise.bn"] = Filters(label.mid, None)
            squeeze = f"stage {s + 1}, block {b + 1}: squeeze"
            found[f"{at}.se.squeeze"] = Filters(squeeze, label.mid, None, True)
            found[f"{at}.se.excite"] = Filters(label.mid, squeeze)
            found[f"{at}.project.conv"] = Filters(label.out, label.mid, f"{at}.project.bn", True)
            found[f"{at}.project.bn"] = Filters(label.out, None)
    if isinstance(arch.head, PoolHead):
        found["project.conv"] = Filters(None, into)
    else:
        found["head.conv"] = Filters(None, into)
    return found


def _largest(state: State, axes: Axes, label: str, count: int) -> Tensor:
    """Places of the `count` channels with the largest filters, in their order."""
    names = {plain_name(key.removeprefix(BODY)): key for key in state if key.startswith(BODY)}
    score: Any = 0
    for name, layer in axes.layers.items():
        if layer.out != label or not layer.makes or f"{name}.weight" not in names:
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
    """The dimensions of the head's tensors that are widths of the body."""
    before = wiring(arch)
    unlike = {label: 201 + number for number, label in enumerate(before.sizes) if label not in before.fixed}
    probe = resized(arch, unlike)
    if probe is None:  # a fixed width happens to be one of these
        probe = resized(arch, {label: size + 300 for label, size in unlike.items()})
    assert probe is not None
    labels = {size: label for label, size in wiring(probe).sizes.items() if label in unlike}
    found: dict[str, tuple[str | None, ...]] = {}
    other = built(model.spec, probe).state_dict()
    for key, tensor in model.state_dict().items():
        if key.startswith(BODY) or key not in other or other[key].shape == tensor.shape:
            continue
        changed = [(a, b) for a, b in zip(tensor.shape, other[key].shape, strict=True)]
        if any(a != b and before.sizes.get(labels.get(b, "")) != a for a, b in changed):
            raise LightsegError(
                f"head {model.spec['head']['name']}: its {re.sub('^head.', '', key)} depends on the backbone's "
                "channels in a way that a narrower net cannot take over"
            )
        found[key] = tuple(labels[b] if a != b else None for a, b in changed)
    return found
