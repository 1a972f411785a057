"""FBNet A, B, C and FBNetV2 F0-F4, L1-L3, and any net of their blocks that an `Arch` describes.

FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search (arXiv:1812.03443), and
FBNetV2: Differentiable Neural Architecture Search for Spatial and Channel Dimensions (arXiv:2004.05565). The tables are
in `fbnet_tables.py`. Counted parameters in millions, and multiply-adds in millions at `input_size`:

    fbnet_a 4.321, 244.5    fbnet_b 4.818, 291.0    fbnet_c 5.593, 378.1
    fbnetv2_f0 2.822, 66.3 (224)    f1 6.025, 56.2 (128)    f2 6.025, 85.2 (160)    f3 6.925, 121.4 (192)
    fbnetv2_f4 7.023, 237.6 (224)   l1 8.539, 325.0 (224)   l2 8.539, 422.6 (256)   l3 9.451, 748.6 (288)

FBNet's convolutions have a bias before their batch norm, as in the released nets (timm's `fbnetc_100` has none, and
keeps 1x1 convolutions in blocks without expansion). FBNetV2's have none.

Weights: the license of the released ones is CC-BY-NC 4.0, so there is nothing for `pretrained=True` to load.

Initialization: convolutions He-normal (fan out), biases 0, classifier normal with deviation 0.01. FBNetV2 was trained
with the last batch norm of each residual block initialized to 0 (`zero_init_last=True`). That is not the default: such
a block passes no gradient to its convolutions in the first step.
"""

from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)
from timm.models import build_model_with_cfg
from torch import Tensor, nn

from lightseg.backbones.conv_bn import activation, conv_bn
from lightseg.backbones.fbnet_blocks import Classifier, InvertedResidual, make_block
from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.backbones.register import limit_stride, register
from lightseg.backbones.timm_net import TimmNet
from lightseg.catalog.arch import Act, Arch, IRPoolHead, PoolHead, check_arch, levels
from lightseg.catalog.arch_yaml import read_arch

FIRST_CONV, CLASSIFIER = "stem.conv", "classifier"
PIXELS = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "inception": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
}


class FBNet(TimmNet):
    """The net of an `Arch`: `stem`, `stages`, `head` (1x1 convolution), pooling, `project`, `classifier`.

    Args:
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth, the rate of the deepest block; it grows linearly with depth.
        zero_init_last: initialize the last batch norm of each residual block to 0.

    Raises:
        LightsegError: `arch` is not a valid net.
    """

    TRUNK = ("stem", "stages", "head")

    def __init__(
        self,
        arch: Arch,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        zero_init_last: bool = False,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        check_arch(arch)
        bias, head = arch.conv_bias, arch.head
        se_act: Act | None = "relu" if arch.se_relu else None
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.stem = conv_bn(in_chans, arch.stem.out, 3, stride=2, bias=bias, act=arch.stem.act)
        deepest = max(1, sum(map(len, arch.stages)) - 1)
        channels, depth = arch.stem.out, 0
        stages = []
        for stage in arch.stages:
            blocks = []
            for block in stage:
                blocks.append(make_block(channels, block, bias, drop_path_rate * depth / deepest, se_act))
                channels, depth = block.out, depth + 1
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.feature_info = [
            {
                "num_chs": level.channels,
                "reduction": level.stride,
                "module": "stem.act" if level.stage < 0 else f"stages.{level.stage}",
            }
            for level in levels(arch)
        ]
        if isinstance(head, IRPoolHead):
            self.num_features = head.mid
            self.head: nn.Module = conv_bn(channels, head.mid, 1, bias=bias, act="hswish")
            self.project: nn.Module = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(head.mid, head.out, 1, bias=False), act=nn.Hardswish())
            )
        elif isinstance(head, PoolHead):
            self.num_features = channels
            self.head = nn.Identity()
            self.project = nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, head.out, 1), act=activation(head.act)))
        else:
            self.num_features = head.out
            self.head = conv_bn(channels, head.out, 1, bias=bias, act=head.act)
            self.project = nn.Identity()
        self.head_hidden_size = head.out
        self.set_global_pool(global_pool)
        self.initialize(zero_init_last)
        self.classifier: nn.Module = Classifier(head.out, num_classes) if num_classes else nn.Identity()

    def initialize(self, zero_init_last: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, InvertedResidual) and module.residual and zero_init_last:
                nn.init.zeros_(module.get_parameter("project.bn.weight"))

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.set_global_pool(global_pool)
        self.classifier = Classifier(self.head_hidden_size, num_classes) if num_classes else nn.Identity()

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits [B, num_classes]; with `pre_logits`, or without classes, their input [B, head_hidden_size]. Without
        pooling x."""
        if not self.global_pool:
            return x
        x = self.project(x.mean((2, 3), keepdim=True))
        x = F.dropout(x, self.drop_rate, self.training)
        return x.flatten(1) if pre_logits else self.classifier(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def fbnet_from_arch(
    arch: Arch | str | PathLike[str],
    *,
    features_only: bool = False,
    num_classes: int = 1000,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    output_stride: int = 32,
) -> nn.Module:
    """The net of an architecture or of its YAML file, with the interface of `timm.create_model`.

    Raises:
        LightsegError: the file cannot be read or does not describe a net.
    """
    if not isinstance(arch, Arch):
        arch = read_arch(Path(arch))
    options: dict[str, Any] = {"features_only": True} if features_only else {"num_classes": num_classes}
    mean, std = PIXELS[arch.pixels]
    model: nn.Module = build_model_with_cfg(
        FBNet,
        arch.name,
        False,
        pretrained_cfg={
            "architecture": arch.name,
            "num_classes": 1000,
            "input_size": (3, arch.input_size, arch.input_size),
            "pool_size": pool_size(arch),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": mean,
            "std": std,
            "first_conv": FIRST_CONV,
            "classifier": CLASSIFIER,
        },
        feature_cfg={"out_indices": tuple(range(len(levels(arch)))), "flatten_sequential": True},
        arch=arch,
        in_chans=in_chans,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
        **options,
    )
    if output_stride < 32:
        limit_stride(model, arch.name, output_stride, in_chans)
    return model


def pool_size(arch: Arch) -> tuple[int, int]:
    """Height and width of the feature map before global pooling, at `input_size`."""
    cells = -(-arch.input_size // levels(arch)[-1].stride)
    return cells, cells


for _arch in ARCHS:
    register(
        FBNet,
        _arch.name,
        {"arch": _arch},
        first_conv=FIRST_CONV,
        classifier=CLASSIFIER,
        flatten_sequential=True,
        input_size=(3, _arch.input_size, _arch.input_size),
        pool_size=pool_size(_arch),
    )
