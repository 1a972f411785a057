"""Which nets are exported so that every kind of layer of the catalog is."""

from functools import cache

import torch
from torch import nn

from lightseg.backbones import FeaturePyramid, create_backbone

EXPORTED = (
    *("mobilenetv1_025", "mobilenetv3_small_050", "mobilenetv3_small_minimal", "shufflenetv1_g3_x0_25"),
    *("shufflenetv2_x0_5", "shufflenetv2_x0_5_megvii", "efficientnet_b0", "efficientnetv2_b0", "fbnet_a", "fbnetv2_f0"),
    *("micronet_m0", "squeezenet1_1", "squeezenet1_0_complex_bypass", "xception", "xception71"),
)


def kinds_of_layers(pyramid: FeaturePyramid) -> set[tuple[str, ...]]:
    """Each layer as (module around it, kind, what decides how it is exported): all but its number of channels."""
    kinds: set[tuple[str, ...]] = set()
    for path, layer in pyramid.named_modules():
        if any(True for _ in layer.children()):
            kinds.add((type(layer).__name__,))
            continue
        around = type(pyramid.get_submodule(path.rpartition(".")[0])).__name__
        settings: tuple[object, ...] = ()
        if isinstance(layer, nn.Conv2d):
            groups = "depthwise" if layer.groups == layer.in_channels else "grouped" if layer.groups > 1 else "dense"
            settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, groups, layer.bias is None)
        elif not isinstance(layer, nn.BatchNorm2d | nn.Linear):
            settings = (repr(layer),)
        kinds.add((around, type(layer).__name__, *map(str, settings)))
    return kinds


@cache
def exported_kinds() -> set[tuple[str, ...]]:
    """Of all nets of EXPORTED."""
    with torch.device("meta"):
        return set().union(*(kinds_of_layers(create_backbone(name)) for name in EXPORTED))
