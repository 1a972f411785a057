"""Weight files: timm's layout, torchvision's, megvii's ShuffleNets, MicroNet's and lukemelas' EfficientNets.

Files contain data and never code: `.safetensors`, or pickles read with `weights_only`. All tensors of a file must fit,
except a classifier that the net lacks or has for other classes; a file is never loaded in part.

Layouts with other names and the same order of tensors are matched in order, with checks of kind and shape. megvii's
ShuffleNetV2 also has another order: `shufflenetv2.from_megvii`.
"""

import argparse
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


def load_weights(net: nn.Module, name: str, path: Path, source: State, full: State) -> None:
    """Load weights into timm's net, with or without its classifier.

    Args:
        path, source: the file, and its content from `read_state`.
        full: state of the classification net, of which `net` may be a part (`build.full_state`).

    Raises:
        LightsegError: the weights are of another net.
    """
    target = net.state_dict()
    if "first_conv.0.weight" in source:
        log.warning(
            f"{path} has the layout of megvii's ShuffleNets, whose released weights expect BGR pixels in 0..255: "
            "for those, give input_format=bgr255"
        )
    if shufflenetv2.is_megvii(source):
        source = shufflenetv2.from_megvii(source)
    classifier = [key for key in target if key in full and target[key].shape[:1] != full[key].shape[:1]]
    try:
        named = match_by_name(source, target, full, classifier)
        state = named or match_in_order(source, target, classifier)
    except LightsegError as error:
        raise LightsegError(f"{path} does not hold weights of {name}: {error}") from error
    if left := [key for key in classifier if key not in state]:
        log.warning(
            f"{path}: its classifier is for other classes and was not loaded ({shorten(left, 3)} start at random)"
        )
    if not named and not is_same_net(source):
        eps = sorted({m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)})
        padding = ", and TensorFlow's SAME padding" if any(isinstance(m, Conv2dSame) for m in net.modules()) else ""
        log.warning(
            f"{path} has another layout and was matched to {name} by order and shape: it loses accuracy unless it was "
            f"trained with batch norm eps {', '.join(map(str, eps))} (bn_eps){padding}, as this net"
        )
    net.load_state_dict({**target, **state})


def is_same_net(source: State) -> bool:
    """Whether the layout is of nets that compute the same as those here: MicroNet's and lukemelas' EfficientNets."""
    return micronet.is_official(source) or "_conv_stem.weight" in source


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file by name, without the usual wrappings. From a
    run's checkpoint, those of the backbone.

    Raises:
        LightsegError: the file does not exist, is damaged, contains code, or has no tensors.
    """
    tensors = _read_tensors(path)
    prefix = "backbone.net."
    return {key.partition(prefix)[2]: value for key, value in tensors.items() if prefix in key} or tensors


def read_head(path: Path) -> dict[str, Tensor]:
    """The tensors of the head in a run's checkpoint, by the head's names; empty for every other file.

    Raises:
        LightsegError: as `read_state`.
    """
    prefix = "model.head."
    return {key.removeprefix(prefix): value for key, value in _read_tensors(path).items() if key.startswith(prefix)}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise LightsegError(f"{path}: no such weight file")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's training saves its arguments: plain data
            content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise LightsegError(
            f"{path} is damaged or contains code, which is never run: save its state_dict alone"
        ) from error
    except Exception as error:  # damaged files fail in many ways
        raise LightsegError(f"{path} is damaged or not a weight file ({type(error).__name__})") from error
    for wrapping in ("state_dict_ema", "state_dict", "model"):  # of timm's training the moving average, which it scored
        if isinstance(content, dict) and isinstance(content.get(wrapping), dict):
            if wrapping == "state_dict_ema":
                log.info(f"{path}: its moving average (state_dict_ema) is loaded")
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
    source: State, target: State, full: Collection[str], classifier: Collection[str] = ()
) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`; empty if no names match.

    timm's feature wrappers rename (`conv1` becomes `body.conv1`, `stem.0` becomes `stem_0`): both names match.

    Raises:
        LightsegError: a name is missing, a shape differs, or the source has more of a module than the full net.
    """
    names = {key: alias for key in target for alias in _aliases(key) if alias in source}
    if not any(alias.endswith(".weight") for alias in names.values()):
        return {}
    missing = [key for key in target if key not in names and not _is_counter(key)]
    if missing:
        raise LightsegError(f"it lacks {shorten(missing, 3)}")
    parts = {alias.split(".")[0] for alias in names.values()}
    surplus = [
        key
        for key in source.keys() - set(names.values()) - set(full)
        if key.split(".")[0] in parts and not _is_counter(key)
    ]
    if surplus:
        raise LightsegError(f"the net has no {shorten(sorted(surplus), 3)}")
    return _fitted(names, source, target, classifier)


def match_in_order(source: State, target: State, classifier: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`, matched in order. Further tensors of `source`, those of its
    head, are left out.

    Raises:
        LightsegError: matched tensors differ in shape or in kind (weight, bias, ...), or `source` has too few.
    """
    source_keys = [key for key in source if not _is_counter(key)]
    keys = [key for key in target if not _is_counter(key)]
    if len(source_keys) < len(keys):
        raise LightsegError(
            f"it has {len(source_keys)} tensors and the net {len(keys)}, from {shorten(keys[len(source_keys) :], 3)} on"
        )
    for key, source_key in zip(keys, source_keys, strict=False):
        if key.rpartition(".")[2] != source_key.rpartition(".")[2]:
            raise LightsegError(f"where the net has {key}, it has {source_key}")
    return _fitted(dict(zip(keys, source_keys, strict=False)), source, target, classifier)


def _fitted(names: Mapping[str, str], source: State, target: State, classifier: Collection[str]) -> dict[str, Tensor]:
    """The tensors of `source` for the names of `target`: the first convolution adapted to the net's input channels,
    linear layers as 1x1 convolutions, without a classifier for other classes."""
    fitted, differences = {}, {}
    stem = next((name for name in names if target[name].ndim == 4), None)
    for name, source_name in names.items():
        value, shape = source[source_name], target[name].shape
        if value.ndim == 2 and shape[2:] == (1, 1):
            value = value[..., None, None]
        if (
            name == stem
            and value.ndim == 4
            and value.shape[1] == 3 != shape[1]
            and value[:, 0].shape == target[name][:, 0].shape
        ):
            value = adapt_input_conv(shape[1], value)
        if value.shape != shape:
            differences[name] = f"{source_name} {tuple(value.shape)} where the net has {tuple(shape)}"
        fitted[name] = value
    if differences and differences.keys() <= set(classifier):
        return {name: value for name, value in fitted.items() if name not in classifier}
    if differences:
        raise LightsegError(f"it has {shorten(list(differences.values()), 3)}")
    return fitted


def _aliases(key: str) -> list[str]:
    """The possible names of a parameter in the unwrapped timm net."""
    part, _, rest = key.partition(".")
    flattened = [f"{part[:i]}.{part[i + 1 :]}.{rest}" for i, letter in enumerate(part) if letter == "_"]
    return [key, *([rest] if part in ("body", "model") else []), *flattened]


def _is_counter(key: str) -> bool:
    """Whether it is batch norm's count of batches, which old files lack and no forward pass uses."""
    return key.endswith("num_batches_tracked")
