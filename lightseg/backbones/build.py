"""timm's net for a name, with its weights: what a pyramid and a classifier are made of."""

import logging
from collections.abc import Mapping
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from torch import Tensor, nn

from lightseg.backbones import shufflenetv2
from lightseg.backbones.fbnet import fbnet_from_arch
from lightseg.backbones.pretrained import packaged_file, timm_options, weights_missing
from lightseg.backbones.scaled import scaled_config, scaled_efficientnet
from lightseg.backbones.weights import load_weights, read_state
from lightseg.catalog.arch import Arch
from lightseg.catalog.arch_yaml import read_arch
from lightseg.catalog.backbones import CATALOG, is_arch, is_known, unknown_message
from lightseg.catalog.scaling import is_scaled
from lightseg.errors import LightsegError

log = logging.getLogger(__name__)
MANY = 1_000_003  # classes: what depends on their number is then seen by its shape


def build_net(
    name: str | Arch,
    pretrained: bool | str | PathLike[str] = False,
    *,
    bn_eps: float | None = None,
    drop_path_rate: float = 0.0,
    **options: Any,
) -> tuple[nn.Module, str]:
    """timm's net for a catalog name, a timm name, an architecture or its path, and the name it has: the one asked for,
    unless a weight file is of a variant with a name of its own (megvii's ShuffleNetV2).

    Args:
        pretrained: False, True (official weights) or a weight file.
        bn_eps: epsilon of every batch norm, instead of the net's own.
        options: timm's: `features_only`, `in_chans`, `num_classes`, `drop_rate`.

    Raises:
        LightsegError: an unknown name, an option that the net has not, or weights that cannot be had.
    """
    arch = None
    if isinstance(name, Arch) or is_arch(name):
        arch = name if isinstance(name, Arch) else read_arch(name)
        name = arch.name
    elif not is_known(name):
        raise LightsegError(unknown_message(name))
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    file = packaged_file(name) if pretrained is True else Path(pretrained) if pretrained else None
    state = read_state(file) if file is not None else {}
    if shufflenetv2.is_megvii(state) and f"{name}_megvii" in CATALOG:
        name = f"{name}_megvii"
        log.info(f"{file} holds megvii's weights: the net is {name}")
    net = create(name, arch, pretrained is True and file is None, options)
    if bn_eps is not None:
        set_bn_eps(net, name, bn_eps)
    if file is not None:
        load_weights(net, name, file, state, whole=whole_net(name, arch))
    return net, name


def create(name: str, arch: Arch | None, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """The net with the weights that timm loads, or random ones.

    Raises:
        LightsegError: no pyramid, no weights or no stochastic depth for it.
    """
    timm_name = CATALOG[name].timm_name if name in CATALOG else name
    net, failure = None, ""
    if pretrained and arch:
        raise LightsegError(f"there are no weights for the architecture {name}; use pretrained=false or a weight file")
    if pretrained and is_scaled(name):
        raise LightsegError(
            f"there are no weights for {name}: use efficientnet_b0 to _b7, pretrained=false or a weight file"
        )
    if pretrained:
        weights = timm_options(name, timm_name)
        try:
            net = timm.create_model(timm_name, **options, **weights)
        except Exception as error:  # of the hub, the network, the disk or the net itself: the last is looked for below
            failure = one_line(error)
    try:
        if net is None:
            if arch:
                net = fbnet_from_arch(arch, **options)
            elif is_scaled(name):
                net = scaled_efficientnet(name, **options)
            else:
                net = timm.create_model(timm_name, **options)
    except LightsegError:
        raise
    except Exception as error:  # timm raises whatever the net's own code raises
        if "drop_path_rate" in str(error):
            raise LightsegError(f"{name} has no stochastic depth: leave drop_path_rate at 0") from error
        what = "feature pyramid" if options.get("features_only") else "classifier"
        raise LightsegError(f"timm makes no {what} of {name}: {one_line(error)}") from error
    if failure:
        raise LightsegError(weights_missing(name, failure))
    if options.get("features_only"):
        info: Any = net.feature_info
        strides = info.reduction()
        if any(deep <= shallow for shallow, deep in pairwise(strides)) or any(s & (s - 1) for s in strides):
            raise LightsegError(
                f"{name} is not a feature pyramid: its maps have strides {', '.join(map(str, strides))}"
            )
    return net


def whole_net(name: str, arch: Arch | None) -> Mapping[str, Tensor]:
    """Names and shapes in the state of the classification net, with more classes than anyone has: 0 bytes each."""
    with torch.device("meta"):
        return create(name, arch, False, {"num_classes": MANY}).state_dict()


def publishers_evaluation(name: str) -> dict[str, Any]:
    """How the pictures were prepared that a published top-1 was measured on: `size`, `crop_pct`, `interpolation`."""
    if is_scaled(name):
        config = scaled_config(name)
    else:
        known_to_timm = timm.get_pretrained_cfg(CATALOG[name].timm_name if name in CATALOG else name)
        # a net that nobody published, one from a search: what timm takes where nothing is said
        config = known_to_timm.to_dict() if known_to_timm else {"input_size": (3, 224, 224)}
    resolved = resolve_data_config(pretrained_cfg=config, use_test_size=True)
    size = resolved["input_size"][-1]
    return {"size": size, "crop_pct": resolved["crop_pct"], "interpolation": resolved["interpolation"]}


def set_bn_eps(net: nn.Module, name: str, eps: float) -> None:
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise LightsegError(f"{name} has no batch norm: leave bn_eps unset")
    for norm in norms:
        norm.eps = eps


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
