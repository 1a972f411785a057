"""Nets of the Hugging Face Hub in timm's spelling, `hf-hub:timm/resnet18.a1_in1k`: an architecture and its weights."""

from functools import cache
from typing import Any

import timm
from huggingface_hub import try_to_load_from_cache
from timm.models import load_model_config_from_hf

from lightseg.backbones.pretrained import HUB, reachable
from lightseg.catalog.backbones import CATALOG
from lightseg.errors import LightsegError, one_line

SIZES = {"img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size"}  # are chosen here


@cache
def hub_config(name: str) -> tuple[dict[str, Any], str]:
    """timm's `pretrained_cfg` of a repository, and the timm name of its architecture. A cached one needs no network.

    Raises:
        LightsegError: the hub cannot be reached, the repository is no net of timm, or a net with arguments of its own.
    """
    repository = name.partition(":")[2]
    if not reachable(HUB) and not isinstance(try_to_load_from_cache(repository, "config.json"), str):
        raise LightsegError(f"backbone={name}: {HUB} cannot be reached and it is not cached; give a timm name")
    try:
        config, architecture, arguments = load_model_config_from_hf(repository)
    except Exception as error:  # of the hub, the network, or a file of another library
        raise LightsegError(
            f"backbone={name}: no net of timm there ({one_line(error)[:160]}): give a timm name"
        ) from error
    if not timm.is_model(architecture):
        raise LightsegError(
            f"backbone={name}: this timm ({timm.__version__}) has no net {architecture}: give a timm name"
        )
    if own := sorted(set(arguments or {}) - SIZES):
        raise LightsegError(
            f"backbone={name}: its {architecture} has arguments of its own ({', '.join(own)}): give a timm name"
        )
    # where a name may mean another net, a tag makes it timm's
    default = timm.get_pretrained_cfg(architecture) if architecture in CATALOG else None
    return config, f"{architecture}.{default.tag}" if default and default.tag else architecture
