"""Weight files: timm's layout, torchvision's, megvii's ShuffleNets, MicroNet's and lukemelas' EfficientNets.

Files are data and never code: `.safetensors`, or pickles read with `weights_only`. A file either fits as a whole, apart
from a classifier that the net does not have or has for other classes, or is refused; nothing is loaded by half.

Layouts that name a net's tensors otherwise and list them in the same order are matched in order, each tensor by kind
and shape. megvii's ShuffleNetV2 orders its channels otherwise too: `shufflenetv2.from_megvii`.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from timm.layers import Conv2dSame
from timm.models import adapt_input_conv
from torch import Tensor, nn

from lightseg.backbones import micronet, shufflenetv2
from lightseg.errors import LightsegError
from lightseg.text import shorten

State = Mapping[str, Tensor]
log = logging.getLogger(__name__)


def load_weights(net: nn.Module, name: str, path: Path, source: State, whole: State) -> None:
    """Load weights into timm's net, with or without its classifier: all of the file or nothing.

    Args:
        path, source: the file, and what `read_state` read from it.
        whole: names and shapes of the classification net, of which `net` may have less, with a number of classes that
            no net has.

    Raises:
        LightsegError: the weights are another net's.
    """
    target = net.state_dict()
    if "first_conv.0.weight" in source:
        log.warning(
            f"{path} has the layout of megvii's ShuffleNets, whose released weights want BGR pixels in 0..255: "
            "for those, give input_format=bgr255"
        )
    if shufflenetv2.is_megvii(source):
        source = shufflenetv2.from_megvii(source)
    classifier = [key for key in target if key in whole and target[key].shape[:1] != whole[key].shape[:1]]
    try:
        named = match_by_name(source, target, whole, classifier)
        state = named or match_in_order(source, target, classifier)
    except LightsegError as error:
        raise LightsegError(f"{path} does not hold weights of {name}: {error}") from error
    if left := [key for key in classifier if key not in state]:
        log.warning(f"{path}: its classifier is of other classes and was left out ({shorten(left, 3)} start at random)")
    if not named and not is_same_net(source):
        eps = sorted({m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)})
        padding = ", and TensorFlow's SAME padding" if any(isinstance(m, Conv2dSame) for m in net.modules()) else ""
        log.warning(
            f"{path} has another layout and was matched to {name} by order and shape; it loses accuracy unless it was "
            f"trained, like this net, with batch norm eps {', '.join(map(str, eps))} (bn_eps){padding}"
        )
    net.load_state_dict({**target, **state})


def is_same_net(source: State) -> bool:
    """Whether a layout is known to be of nets that compute what ours do: MicroNet's and lukemelas' EfficientNets."""
    return micronet.is_official(source) or "_conv_stem.weight" in source


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file by name, out of the usual wrappings. Of a
    checkpoint of a run, those of its backbone.

    Raises:
        LightsegError: no such file, damaged, holding code, or without tensors.
    """
    tensors = _read_tensors(path)
    ours = "backbone.net."
    return {key.partition(ours)[2]: value for key, value in tensors.items() if ours in key} or tensors


def read_head(path: Path) -> dict[str, Tensor]:
    """The tensors of the head in a checkpoint of a run, by the head's own names; empty for every other file.

    Raises:
        LightsegError: as `read_state`.
    """
    ours = "model.head."
    return {key.removeprefix(ours): value for key, value in _read_tensors(path).items() if key.startswith(ours)}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise LightsegError(f"{path}: no such weight file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise LightsegError(
            f"{path} is damaged or holds code, which is never run; save its state_dict alone"
        ) from error
    except Exception as error:  # both readers fail in as many ways as a file can be wrong
        raise LightsegError(f"{path} is damaged or not a weight file ({type(error).__name__})") from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    tensors = (
        {key: value for key, value in content.items() if isinstance(value, Tensor)} if isinstance(content, dict) else {}
    )
    if not tensors:
        raise LightsegError(
            f"{path} holds no state_dict: a dictionary of tensors, alone or under 'state_dict' or 'model'"
        )
    for prefix in ("module.", "_orig_mod."):  # of DataParallel, of torch.compile
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def match_by_name(
    source: State, target: State, whole: Collection[str], classifier: Collection[str] = ()
) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`; empty if it has none of them.

    timm's feature wrappers rename (`conv1` becomes `body.conv1`, `stem.0` becomes `stem_0`): both names are looked for.

    Raises:
        LightsegError: a name is missing, a shape differs, or the source has more of the same parts than the whole net.
    """
    found = {key: alias for key in target for alias in _aliases(key) if alias in source}
    if not any(alias.endswith(".weight") for alias in found.values()):
        return {}
    missing = [key for key in target if key not in found and not _is_counter(key)]
    if missing:
        raise LightsegError(f"it lacks {shorten(missing, 3)}")
    parts = {alias.split(".")[0] for alias in found.values()}
    surplus = [
        key
        for key in source.keys() - set(found.values()) - set(whole)
        if key.split(".")[0] in parts and not _is_counter(key)
    ]
    if surplus:
        raise LightsegError(f"the net has no {shorten(sorted(surplus), 3)}")
    return _fitted(found, source, target, classifier)


def match_in_order(source: State, target: State, classifier: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`, the first with the first and so on: layouts whose entries
    come in timm's order under other names. What `source` has beyond the last is its head and is left out.

    Raises:
        LightsegError: two tensors that meet differ in shape or in kind (weight, bias, ...), or `source` ends too early.
    """
    theirs = [key for key in source if not _is_counter(key)]
    ours = [key for key in target if not _is_counter(key)]
    if len(theirs) < len(ours):
        raise LightsegError(
            f"it has {len(theirs)} tensors and the net {len(ours)}, from {shorten(ours[len(theirs) :], 3)} on"
        )
    for a, b in zip(theirs, ours, strict=False):
        if a.rpartition(".")[2] != b.rpartition(".")[2]:
            raise LightsegError(f"where the net has {b}, it has {a}")
    return _fitted(dict(zip(ours, theirs, strict=False)), source, target, classifier)


def _fitted(names: Mapping[str, str], source: State, target: State, classifier: Collection[str]) -> dict[str, Tensor]:
    """The tensors of `source` for the names of `target`. The first convolution's three input channels become as many as
    the net has, linear layers 1x1 convolutions, and a classifier of other classes is left out."""
    fitted, wrong = {}, []
    stem = next((name for name in names if target[name].ndim == 4), None)
    for name, theirs in names.items():
        value, wanted = source[theirs], target[name].shape
        if value.ndim == 2 and wanted[2:] == (1, 1):
            value = value[..., None, None]
        if (
            name == stem
            and value.ndim == 4
            and value.shape[1] == 3 != wanted[1]
            and value[:, 0].shape == target[name][:, 0].shape
        ):
            value = adapt_input_conv(wanted[1], value)
        if value.shape != wanted:
            wrong.append((name, f"{theirs} {tuple(value.shape)} where the net has {tuple(wanted)}"))
        fitted[name] = value
    if wrong and all(name in classifier for name, _ in wrong):
        return {name: value for name, value in fitted.items() if name not in classifier}
    if wrong:
        raise LightsegError(f"it has {shorten([what for _, what in wrong], 3)}")
    return fitted


def _aliases(key: str) -> list[str]:
    """The names under which the unwrapped timm net may keep a parameter."""
    part, _, rest = key.partition(".")
    flattened = [f"{part[:i]}.{part[i + 1 :]}.{rest}" for i, letter in enumerate(part) if letter == "_"]
    return [key, *([rest] if part in ("body", "model") else []), *flattened]


def _is_counter(key: str) -> bool:
    """Batch norm's count of batches, which old files lack and no forward uses."""
    return key.endswith("num_batches_tracked")
