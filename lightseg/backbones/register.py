"""Registration in timm of the nets that timm lacks.

After `import lightseg.backbones`, `timm.create_model("micronet_m3")`, its `features_only=True` and its `output_stride`
work as for timm's own nets.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from lightseg.backbones.dilation import dilate, nominal_stride, probe

PROBE = (128, 128)  # pixels, size of the blank image for measuring strides


def register(
    net: type[nn.Module],
    name: str,
    settings: Mapping[str, Any],
    *,
    first_conv: str,
    classifier: str,
    out_indices: tuple[int, ...] = (0, 1, 2, 3, 4),
    flatten_sequential: bool = False,
    convert: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None = None,
    **config: Any,
) -> None:
    """Make `timm.create_model(name)` build `net(**settings)`.

    Args:
        net: takes `num_classes`, `in_chans`, `drop_rate` and `settings`, and has timm's `feature_info`, whose modules
            are direct children that run in the order of their registration (or entries of such children, with
            `flatten_sequential`).
        first_conv, classifier: names of these layers, which timm adapts to other channels and classes.
        out_indices: of all feature maps.
        convert: from an official state dict to the names of the net (timm's `pretrained_filter_fn`).
        config: further entries of timm's `pretrained_cfg`: `url`, `license`, `mean`, `input_size`, ...
    """

    def entrypoint(pretrained: bool = False, output_stride: int = 32, **kwargs: Any) -> nn.Module:
        model: nn.Module = build_model_with_cfg(
            net,
            name,
            pretrained,
            feature_cfg={"out_indices": out_indices, "flatten_sequential": flatten_sequential},
            pretrained_filter_fn=convert,
            **{**settings, **kwargs},
        )
        if output_stride < 32:
            limit_stride(model, name, output_stride, kwargs.get("in_chans", 3))
        return model

    entrypoint.__name__ = entrypoint.__qualname__ = name
    entrypoint.__module__ = net.__module__
    entrypoint.__doc__ = f"{net.__name__} as `{name}`."
    module: Any = sys.modules[net.__module__]
    published = {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": classifier,
        "url": "",
        **config,
    }
    module.default_cfgs = {**getattr(module, "default_cfgs", {}), **generate_default_cfgs({name: published})}
    register_model(entrypoint)


def limit_stride(model: nn.Module, name: str, output_stride: int, in_chans: int) -> None:
    """Replace strides beyond `output_stride` by dilation, in the net and in its `feature_info`."""
    dilate(model, name, output_stride, PROBE, in_chans, dilate_strided=False)
    info: Any = model.feature_info
    levels: list[dict[str, Any]] = info if isinstance(info, list) else info.info
    for level in levels:
        level["reduction"] = min(level["reduction"], output_stride)
    if not isinstance(info, list):
        measured = [nominal_stride(PROBE[0], m.shape[2]) for m in probe(model, PROBE, in_chans)]
        assert measured == info.reduction(), f"{name}: strides {measured} are declared {info.reduction()}"
