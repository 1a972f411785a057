"""Pretrained weights for a pyramid: timm's own, or a local file in timm's layout or in one of the same order.

Files are data and never code: `.safetensors`, or pickles read with `weights_only`. A file either fits as a whole, apart
from what follows the pyramid's last map (the classifier), or is refused; nothing is loaded by half.
"""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file
from timm.layers import Conv2dSame
from timm.models import adapt_input_conv
from torch import Tensor, nn

from lightseg.errors import LightsegError

State = Mapping[str, Tensor]
log = logging.getLogger(__name__)


def timm_options(name: str, timm_name: str) -> dict[str, Any]:
    """What `timm.create_model` needs to load its own weights of a net, found without a network where they are cached.

    Raises:
        LightsegError: timm has none, or they are not cached and there is no network.
    """
    config = timm.get_pretrained_cfg(timm_name, allow_unregistered=False)
    if config is None or not config.has_weights:
        raise LightsegError(f"timm has no weights for {name} ({timm_name}); use pretrained=false or a weight file")
    # Asked first, because without a network the hub's client takes 45 seconds of retries to say so.
    if getproxies() or can_resolve("huggingface.co"):
        return {"pretrained": True}
    cached = try_to_load_from_cache(config.hf_hub_id, "model.safetensors") if config.hf_hub_id else None
    if isinstance(cached, str):
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": cached}}
    raise LightsegError(weights_missing(name, "huggingface.co cannot be reached"))


def weights_missing(name: str, reason: str) -> str:
    return f"no weights for {name}: {reason}; use pretrained=false or pretrained=<a local .pth or .safetensors file>"


def can_resolve(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def load_weights(net: nn.Module, name: str, path: Path) -> None:
    """Load a weight file into timm's `features_only` net, all of it or none.

    Raises:
        LightsegError: the file is missing, unreadable, unsafe or another net's.
    """
    source, target = read_state(path), net.state_dict()
    try:
        named = match_by_name(source, target)
        state = named or match_in_order(source, target)
    except LightsegError as error:
        raise LightsegError(f"{path} does not hold weights of {name}: {error}") from error
    if not named:
        eps = sorted({m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)})
        padding = ", and TensorFlow's SAME padding" if any(isinstance(m, Conv2dSame) for m in net.modules()) else ""
        log.warning(
            f"{path} has another layout and was matched to {name} by order and shape; it loses accuracy unless it was "
            f"trained, like this net, with batch norm eps {', '.join(map(str, eps))} (bn_eps){padding}"
        )
    net.load_state_dict({**target, **state})


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file by name, out of the usual wrappings.

    Raises:
        LightsegError: no such file, damaged, holding code, or without tensors.
    """
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
    ours = "backbone.net."  # a checkpoint of a run, of which the head is left out
    return {key.partition(ours)[2]: value for key, value in tensors.items() if ours in key} or tensors


def match_by_name(source: State, target: State) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`; empty if it has none of them.

    timm's feature wrappers rename (`conv1` becomes `body.conv1`, `stem.0` becomes `stem_0`): both names are looked for.

    Raises:
        LightsegError: a name is missing, a shape differs, or the source has more of the same parts.
    """
    found = {key: alias for key in target for alias in _aliases(key) if alias in source}
    if not any(alias.endswith(".weight") for alias in found.values()):
        return {}
    missing = [key for key in target if key not in found and not _is_counter(key)]
    if missing:
        raise LightsegError(f"it lacks {_first(missing)}")
    parts = {alias.split(".")[0] for alias in found.values()}
    surplus = [
        key for key in source.keys() - set(found.values()) if key.split(".")[0] in parts and not _is_counter(key)
    ]
    if surplus:
        raise LightsegError(f"the net has no {_first(sorted(surplus))}")
    return _fitted(found, source, target)


def match_in_order(source: State, target: State) -> dict[str, Tensor]:
    """The tensors of `source` under the names of `target`, the first with the first and so on: torchvision's layouts,
    whose entries come in timm's order under other names. What `source` has beyond the last is its head and is left out.

    Raises:
        LightsegError: two tensors that meet differ in shape or in kind (weight, bias, ...), or `source` ends too early.
    """
    theirs = [key for key in source if not _is_counter(key)]
    ours = [key for key in target if not _is_counter(key)]
    if len(theirs) < len(ours):
        raise LightsegError(
            f"it has {len(theirs)} tensors and the net {len(ours)}, from {_first(ours[len(theirs) :])} on"
        )
    for a, b in zip(theirs, ours, strict=False):
        if a.rpartition(".")[2] != b.rpartition(".")[2]:
            raise LightsegError(f"where the net has {b}, it has {a}")
    return _fitted(dict(zip(ours, theirs, strict=False)), source, target)


def _fitted(names: Mapping[str, str], source: State, target: State) -> dict[str, Tensor]:
    """The tensors of `source` for the names of `target`. The first convolution's three input channels become as many as
    the net has."""
    fitted, wrong = {}, []
    stem = next((name for name in names if target[name].ndim == 4), None)
    for name, theirs in names.items():
        value, wanted = source[theirs], target[name].shape
        if (
            name == stem
            and value.ndim == 4
            and value.shape[1] == 3 != wanted[1]
            and value[:, 0].shape == target[name][:, 0].shape
        ):
            value = adapt_input_conv(wanted[1], value)
        if value.shape != wanted:
            wrong.append(f"{theirs} {tuple(value.shape)} where the net has {tuple(wanted)}")
        fitted[name] = value
    if wrong:
        raise LightsegError(f"it has {_first(wrong)}")
    return fitted


def _aliases(key: str) -> list[str]:
    """The names under which the unwrapped timm net may keep a parameter."""
    part, _, rest = key.partition(".")
    flattened = [f"{part[:i]}.{part[i + 1 :]}.{rest}" for i, letter in enumerate(part) if letter == "_"]
    return [key, *([rest] if part in ("body", "model") else []), *flattened]


def _is_counter(key: str) -> bool:
    """Batch norm's count of batches, which old files lack and no forward uses."""
    return key.endswith("num_batches_tracked")


def _first(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
