"""The deployed form of reparameterisable nets: branches and batch norms as single convolutions, with equal outputs.

MobileOne, RepVGG, RepViT, FastViT, RepGhostNet and others train with branches that a single convolution replaces
afterwards ("RepVGG: Making VGG-style ConvNets Great Again", Ding et al., CVPR 2021, arXiv:2101.03697, section 3.3).
"""

import copy
import logging
from typing import Any, TypeVar

import torch
from timm.utils.model import reparameterize_model
from torch import nn

from lightseg.backbones.classifier import Classifier
from lightseg.backbones.create import probe_size
from lightseg.backbones.pyramid import FeaturePyramid

log = logging.getLogger(__name__)
FUSING = ("fuse", "reparameterize", "switch_to_deploy")  # the methods that timm's function calls
TOLERANCE = 1e-3  # of the standard deviation of a map; float32 rounding is about 1e-5
Backbone = TypeVar("Backbone", bound=FeaturePyramid | Classifier)


def is_reparameterizable(backbone: FeaturePyramid | Classifier) -> bool:
    """Whether the net has layers that can be fused."""
    return any(hasattr(module, method) for module in backbone.modules() for method in FUSING)


def fused(backbone: Backbone) -> Backbone:
    """A fused copy in evaluation mode on the same device. `backbone` is not changed.

    Both are run on an image of noise. Where their outputs differ, `backbone` itself is returned, with a warning.
    """
    device = next(backbone.parameters()).device
    plain = copy.deepcopy(backbone)
    plain.cpu().eval()
    copied = copy.deepcopy(plain)
    wrapped = nn.ModuleDict({"net": copied.net})  # timm's function looks at children alone
    copied.net = reparameterize_model(wrapped, inplace=True).get_submodule("net")
    _restore_geometry(plain.net, copied.net)
    if not _equal(plain, copied):
        log.warning(f"{backbone.name}: its fused form has other outputs, so it is used in its training form")
        return backbone
    copied.to(device).eval()
    return copied


def _restore_geometry(plain: nn.Module, net: nn.Module) -> None:
    """Stride and dilation of the fused convolutions from those that they replace: blocks of timm fuse with the stride
    that they were built with, which an output stride may have changed since."""
    before = {path: layer for path, layer in plain.named_modules() if isinstance(layer, nn.Conv2d)}
    blocks = dict(plain.named_modules())
    for path, layer in net.named_modules():
        if not isinstance(layer, nn.Conv2d) or path in before:
            continue
        block = path if path in blocks else path.rpartition(".")[0]
        for replaced_path, replaced in before.items():
            if replaced_path.startswith(f"{block}.") and _shape(replaced) == _shape(layer):
                layer.stride, layer.dilation, layer.padding = replaced.stride, replaced.dilation, replaced.padding
                break


def _shape(conv: nn.Conv2d) -> tuple[Any, ...]:
    return conv.kernel_size, conv.in_channels, conv.out_channels, conv.groups


@torch.no_grad()
def _equal(plain: FeaturePyramid | Classifier, copied: FeaturePyramid | Classifier) -> bool:
    name, channels = plain.name, len(plain.input_format.mean)
    images = torch.randn(1, channels, *probe_size(plain.net, name), generator=torch.Generator().manual_seed(0))
    pairs = zip(plain(images), copied(images), strict=True)
    return all(a.shape == b.shape and (a - b).abs().max() <= TOLERANCE * a.std() for a, b in pairs)
