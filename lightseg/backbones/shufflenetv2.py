"""ShuffleNetV2 (Ma et al., arXiv:1807.11164, Table 5), twice: torchvision's nets, and those the authors released.

`shufflenetv2_x1_0` and its widths have torchvision's layers, keys and order of channels, and load its weights.
Parameters and multiply-adds: 0.5x 1.37 M, 40.5 M; 1x 2.28 M, 144.9 M; 1.5x 3.50 M, 295.8 M; 2x 7.39 M, 583.3 M.

`shufflenetv2_x1_0_megvii` and its widths are the released nets (megvii-model/ShuffleNet-Series), with the paper's
multiply-adds: 41, 146, 299 and 591 M. Their first unit takes 24 channels from the shortcut branch and the others from
the main branch; torchvision takes half and half, so except at 0.5x (24 and 24) no permutation turns one net into the
other. Their units begin by splitting the channels, even ones to the shortcut and odd ones to the main branch;
torchvision's end by interleaving the two. Keys are torchvision's here too: `from_megvii` renames. Those weights were
trained on BGR pixels in 0..255, without normalization, at 2x with dropout 0.2.

Different from torchvision: interleaving takes one copy instead of two and keeps channels_last.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightseg.backbones.conv_bn import conv_bn
from lightseg.backbones.register import register
from lightseg.backbones.timm_net import TimmNet
from lightseg.errors import LightsegError

UNITS = (4, 8, 4)  # in stages 2, 3 and 4; the first unit of a stage has stride 2
STEM_CHANNELS = 24

# width: channels of stage 2 (stages 3 and 4 have two and four times as many), of conv5; torchvision's weights.
VARIANTS = {
    "0_5": (48, 1024, "shufflenetv2_x0.5-f707e7126e.pth"),
    "1_0": (116, 1024, "shufflenetv2_x1-5666bf0f80.pth"),
    "1_5": (176, 1024, "shufflenetv2_x1_5-3c479a10.pth"),
    "2_0": (244, 2048, "shufflenetv2_x2_0-8be3c8ee.pth"),
}


class Unit(nn.Module):
    """torchvision's unit: Figure 3 c (stride 1) and d (stride 2)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        middle = channels // 2
        shortcut = self.shortcut_channels(in_channels, channels)
        main = channels - shortcut
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                *conv_bn(in_channels, in_channels, 3, stride, in_channels),
                *conv_bn(in_channels, shortcut, act="relu"),
            )
        self.branch2 = nn.Sequential(
            *conv_bn(in_channels if stride == 2 else middle, middle, act="relu"),
            *conv_bn(middle, middle, 3, stride, middle),
            *conv_bn(middle, main, act="relu"),
        )

    def shortcut_channels(self, in_channels: int, channels: int) -> int:
        return channels // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            return interleave(self.branch1(x), self.branch2(x))
        shortcut, main = x.chunk(2, 1)
        return interleave(shortcut, self.branch2(main))


class ReleasedUnit(Unit):
    """The unit of the authors' released nets."""

    def shortcut_channels(self, in_channels: int, channels: int) -> int:
        return in_channels if self.stride == 2 else channels // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            return torch.cat((self.branch1(x), self.branch2(x)), 1)
        return torch.cat((x[:, ::2], self.branch2(x[:, 1::2])), 1)


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """Two maps [B, C, H, W] -> [B, 2C, H, W] with channels a0 b0 a1 b1 ..."""
    if b.is_contiguous(memory_format=torch.channels_last):
        nhwc = torch.stack((a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)), 4).flatten(3)
        return nhwc.permute(0, 3, 1, 2)
    return torch.stack((a, b), 2).flatten(1, 2)


class ShuffleNetV2(TimmNet):
    TRUNK = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")

    def __init__(
        self,
        stage2_channels: int,
        conv5_channels: int,
        released: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        """
        Args:
            released: the authors' units instead of torchvision's.
        """
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.conv1 = nn.Sequential(*conv_bn(in_chans, STEM_CHANNELS, 3, 2, act="relu"))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        unit = ReleasedUnit if released else Unit
        channels = [STEM_CHANNELS] + [stage2_channels << stage for stage in range(3)]
        stages = [
            nn.Sequential(unit(before, after, 2), *(unit(after, after, 1) for _ in range(count - 1)))
            for before, after, count in zip(channels, channels[1:], UNITS, strict=False)
        ]
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(*conv_bn(channels[-1], conv5_channels, act="relu"))
        self.num_features = self.head_hidden_size = conv5_channels
        self.fc: nn.Module
        self.reset_classifier(num_classes, global_pool)
        self.feature_info = [{"num_chs": STEM_CHANNELS, "reduction": 2, "module": "conv1"}] + [
            {"num_chs": chs, "reduction": 4 << level, "module": module}
            for level, (chs, module) in enumerate(zip(channels, ("maxpool", "stage2", "stage3", "stage4"), strict=True))
        ]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        x = functional.dropout(x.mean((2, 3)), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.set_global_pool(global_pool)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()


def is_megvii(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the key names of the released ShuffleNetV2."""
    return "features.0.branch_proj.0.weight" in state and "conv_last.0.weight" in state


def from_megvii(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released weights under the names of `shufflenetv2_x..._megvii`. The classifier, released without bias, gets 0."""
    units = [f"stage{stage}.{i}" for stage, count in zip((2, 3, 4), UNITS, strict=True) for i in range(count)]
    names = {"first_conv": "conv1", "conv_last": "conv5", "classifier.0": "fc"}
    for i, unit in enumerate(units):
        names[f"features.{i}.branch_proj"] = f"{unit}.branch1"
        names[f"features.{i}.branch_main"] = f"{unit}.branch2"
    renamed = {}
    for old, new in names.items():
        renamed.update(
            {new + key.removeprefix(old): value for key, value in state.items() if key.startswith(f"{old}.")}
        )
    if "fc.weight" in renamed:
        renamed["fc.bias"] = renamed["fc.weight"].new_zeros(len(renamed["fc.weight"]))
    return renamed


def convert(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Weights in torchvision's or in the released layout, under the names of `net`.

    Raises:
        LightsegError: released weights for torchvision's net.
    """
    released = isinstance(net.get_submodule("stage2.0"), ReleasedUnit)
    if is_megvii(state) and not released:
        raise LightsegError(
            "these are megvii's released ShuffleNetV2 weights, whose units are not torchvision's: "
            "take the backbone of the same width whose name ends in _megvii"
        )
    return from_megvii(state) if is_megvii(state) else state


for width, (stage2_channels, conv5_channels, file) in VARIANTS.items():
    settings = {"stage2_channels": stage2_channels, "conv5_channels": conv5_channels}
    register(
        ShuffleNetV2,
        f"shufflenetv2_x{width}",
        settings,
        first_conv="conv1.0",
        classifier="fc",
        convert=convert,
        url=f"https://download.pytorch.org/models/{file}",
        license="bsd-3-clause",
    )
    register(
        ShuffleNetV2,
        f"shufflenetv2_x{width}_megvii",
        {**settings, "released": True},
        first_conv="conv1.0",
        classifier="fc",
        convert=convert,
    )
