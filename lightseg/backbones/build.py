"""timm's net for a name, with its weights, for `FeaturePyramid` and `Classifier`."""

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
from lightseg.backbones.dilation import probe
from lightseg.backbones.fbnet import fbnet_from_arch
from lightseg.backbones.hub import hub_config
from lightseg.backbones.pretrained import packaged_file, timm_options, weights_missing
from lightseg.backbones.scaled import scaled_config, scaled_efficientnet
from lightseg.backbones.tail import drop_tail
from lightseg.backbones.weights import load_weights, read_state
from lightseg.catalog.arch import Arch
from lightseg.catalog.arch_yaml import read_arch
from lightseg.catalog.backbones import CATALOG, is_arch, is_hub, is_known, unknown_message
from lightseg.catalog.scaling import is_scaled
from lightseg.errors import LightsegError, one_line

log = logging.getLogger(__name__)
MANY_CLASSES = 1_000_003  # so that tensors which depend on the number of classes have a shape of their own


def build_net(
    name: str | Arch,
    pretrained: bool | str | PathLike[str] = False,
    *,
    bn_eps: float | None = None,
    drop_path_rate: float = 0.0,
    image_size: tuple[int, int] | None = None,
    tail: bool = True,
    **options: Any,
) -> tuple[nn.Module, str]:
    """timm's net for a catalog name, a timm name, an architecture or its path, and the name of the net.

    The name differs from the argument if the weight file is of another variant (megvii's ShuffleNetV2).

    Args:
        pretrained: False, True (official weights) or a weight file.
        bn_eps: epsilon of every batch norm; None: the net's default.
        image_size: (height, width) of the images, for nets that are built for a size. None: their published size.
        tail: with the 1x1 convolutions that end the blocks of some nets, see `drop_tail`.
        options: timm's: `features_only`, `in_chans`, `num_classes`, `drop_rate`.

    Raises:
        LightsegError: an unknown name, an option that the net does not support, or weights that cannot be loaded.
    """
    arch = hub = None
    if isinstance(name, Arch) or is_arch(name):
        arch = name if isinstance(name, Arch) else read_arch(name)
        name = arch.name
    elif not is_known(name):
        raise LightsegError(unknown_message(name))
    elif is_hub(name):
        hub, name = hub_config(name)
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    file = packaged_file(name) if pretrained is True else Path(pretrained) if pretrained else None
    state = read_state(file) if file is not None else {}
    if shufflenetv2.is_megvii(state) and f"{name}_megvii" in CATALOG:
        name = f"{name}_megvii"
        log.info(f"{file} holds megvii's weights: the net is {name}")
    net = create(name, arch, pretrained is True and file is None, options, image_size, hub)
    if not tail:
        drop_tail(net)
    if bn_eps is not None:
        set_bn_eps(net, name, bn_eps)
    if file is not None:
        load_weights(net, name, file, state, full_state(name, arch))
    return net, name


def create(
    name: str,
    arch: Arch | None,
    pretrained: bool,
    options: dict[str, Any],
    image_size: tuple[int, int] | None = None,
    hub: dict[str, Any] | None = None,
) -> nn.Module:
    """The net, with weights that timm loads or random ones.

    Raises:
        LightsegError: the net has no weights, no stochastic depth, or is not a feature pyramid.
    """
    timm_name = CATALOG[name].timm_name if name in CATALOG else name
    if hub:
        options = {**options, "pretrained_cfg": hub}
    net, failure = None, ""
    if pretrained and arch:
        raise LightsegError(f"there are no weights for the architecture {name}; use pretrained=false or a weight file")
    if pretrained and is_scaled(name):
        raise LightsegError(
            f"there are no weights for {name}: use efficientnet_b0 to _b7, pretrained=false or a weight file"
        )
    if pretrained:
        weights = timm_options(name, timm_name, hub)
        try:
            net = create_sized(timm_name, {**options, **weights}, image_size)
        except Exception as error:  # of the hub, the network, the disk or the net, which is built without them below
            failure = one_line(error)[:200]
    try:
        if net is None:
            if arch:
                net = fbnet_from_arch(arch, **options)
            elif is_scaled(name):
                net = scaled_efficientnet(name, **options)
            else:
                net = create_sized(timm_name, options, image_size)
    except LightsegError:
        raise
    except Exception as error:  # timm raises whatever the net's own code raises
        if "drop_path_rate" in str(error):
            raise LightsegError(f"{name} has no stochastic depth: leave drop_path_rate at 0") from error
        kind = "feature pyramid" if options.get("features_only") else "classifier"
        raise LightsegError(f"timm makes no {kind} of {name}: {one_line(error)[:200]}") from error
    if failure:
        raise LightsegError(weights_missing(name, failure))
    if options.get("features_only"):
        info: Any = net.feature_info
        strides = info.reduction()
        if any(deep < shallow for shallow, deep in pairwise(strides)) or any(s & (s - 1) for s in strides):
            raise LightsegError(
                f"{name} is not a feature pyramid: its maps have strides {', '.join(map(str, strides))}"
            )
    return net


def create_sized(timm_name: str, options: dict[str, Any], image_size: tuple[int, int] | None) -> nn.Module:
    """timm's net. Transformers that are published for a single size take any, or else are built for `image_size`.

    The net's `pretrained_cfg` says which: `fixed_input_size`, and `input_size`.
    """
    config = timm.get_pretrained_cfg(timm_name)
    if config is None or not config.fixed_input_size:
        return timm.create_model(timm_name, **options)
    choices: tuple[dict[str, Any], ...]
    choices = ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"dynamic_img_size": True})
    for dynamic in choices:
        try:
            sized: Any = timm.create_model(timm_name, **options, **dynamic)
        except TypeError as error:
            if "dynamic_img" not in str(error):
                raise
        else:
            sized.pretrained_cfg["fixed_input_size"] = False
            return sized
    native: Any = timm.create_model(timm_name, **options)
    if image_size is None or image_size == fixed_size(native):
        return native
    resized: Any = timm.create_model(timm_name, **options, img_size=image_size)
    channels = options.get("in_chans", 3)
    if _runs(resized, image_size, channels):
        resized.pretrained_cfg["input_size"] = (3, *image_size)
        return resized
    if _runs(native, image_size, channels):  # CrossViT scales its images itself
        native.pretrained_cfg["fixed_input_size"] = False
    return native


def _runs(net: nn.Module, image_size: tuple[int, int], in_chans: int) -> bool:
    try:
        probe(net, image_size, in_chans)
    except Exception:  # of the net's own code
        return False
    return True


def fixed_size(net: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the only images that the net takes; None: any size."""
    config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
    if not config.get("fixed_input_size"):
        return None
    _, height, width = config["input_size"]
    return height, width


def try_size(backbone: nn.Module, image_size: tuple[int, int], in_chans: int) -> None:
    """Raise LightsegError if a pyramid or classifier cannot take images of that size. A backbone of the catalog can."""
    name: Any = backbone.name
    if name in CATALOG:
        return
    try:
        probe(backbone, image_size, in_chans)
    except Exception as error:  # of the net's own code
        size = fixed_size(backbone.net)  # type: ignore[arg-type]
        only = f", only of {size[0]}x{size[1]}" if size and size != image_size else ""
        raise LightsegError(
            f"{name} cannot take images of {image_size[0]}x{image_size[1]}{only} ({one_line(error)[:160]})"
        ) from error


def full_state(name: str, arch: Arch | None) -> Mapping[str, Tensor]:
    """The state dict of the classification net with MANY_CLASSES, as meta tensors (names and shapes)."""
    with torch.device("meta"):
        return create(name, arch, False, {"num_classes": MANY_CLASSES}).state_dict()


def published_preprocessing(name: str) -> dict[str, Any]:
    """The preprocessing with which a net's published top-1 was measured: `size`, `crop_pct`, `interpolation`."""
    if is_hub(name):
        config = hub_config(name)[0]
    elif is_scaled(name):
        config = scaled_config(name)
    else:
        timm_config = timm.get_pretrained_cfg(CATALOG[name].timm_name if name in CATALOG else name)
        # an unpublished net, such as one from a search, has timm's defaults
        config = timm_config.to_dict() if timm_config else {"input_size": (3, 224, 224)}
    resolved = resolve_data_config(pretrained_cfg=config, use_test_size=True)
    size = resolved["input_size"][-1]
    return {"size": size, "crop_pct": resolved["crop_pct"], "interpolation": resolved["interpolation"]}


def set_bn_eps(net: nn.Module, name: str, eps: float) -> None:
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise LightsegError(f"{name} has no batch norm: leave bn_eps unset")
    for norm in norms:
        norm.eps = eps
