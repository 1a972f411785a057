"""ShuffleNetV1 (Zhang et al., arXiv:1707.01083): 1x1 convolutions in g groups, and a channel shuffle between groups.

Layers, keys and the order of channels are those of the authors' released nets (megvii-model/ShuffleNet-Series). They
shuffle after the depthwise convolution; the paper's figure shuffles before it, and the two commute. They read channels
as [n, g] and transpose, the inverse of the paper's [g, n]; released weights need this order. Those weights were trained
on BGR pixels in 0..255, without normalization.

Channels at 1x are those of the paper's Table 1 (143, 140.8, 137.5, 134.3, 138.4 M multiply-adds for g = 1, 2, 3, 4, 8;
printed 143, 140, 137, 133, 137); at 0.5x to 2x with g = 3 and 8 those of the released nets, whose stem has 24 channels
at 1.5x too. All others are unpublished: 1x times the width, with the released nets' stems at 1.5x and 2x. In each
grouped convolution g must divide them: the unit's output, a quarter of it, and output minus input at stride 2. Where it
does not, the first stage has a nearby multiple of 4 g, chosen here: 0.25x, 0.5x and 1.5x with g = 2 and 4 (50, 100, 300
and 68, 136, 408 channels); and the stem is rounded up to 8 at 0.25x with g = 4 and 8. The paper's 13 M at 0.25x is 18 %
above plain scaling (11.0 M with g = 1 and 3).

Different from the released nets: global pooling accepts maps of any size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightseg.backbones.conv_bn import conv_bn
from lightseg.backbones.register import register
from lightseg.backbones.timm_net import TimmNet

UNITS = (4, 8, 4)  # in stages 2, 3 and 4; the first unit of a stage has stride 2

# groups, width: channels of the stem; of stage 2. Stages 3 and 4 have two and four times as many as stage 2.
CHANNELS = {
    (1, "0_25"): (6, 36),
    (1, "0_5"): (12, 72),
    (1, "1_0"): (24, 144),
    (1, "1_5"): (24, 216),
    (1, "2_0"): (48, 288),
    (2, "0_25"): (6, 56),
    (2, "0_5"): (12, 96),
    (2, "1_0"): (24, 200),
    (2, "1_5"): (24, 304),
    (2, "2_0"): (48, 400),
    (3, "0_25"): (6, 60),
    (3, "0_5"): (12, 120),
    (3, "1_0"): (24, 240),
    (3, "1_5"): (24, 360),
    (3, "2_0"): (48, 480),
    (4, "0_25"): (8, 64),
    (4, "0_5"): (12, 144),
    (4, "1_0"): (24, 272),
    (4, "1_5"): (24, 416),
    (4, "2_0"): (48, 544),
    (8, "0_25"): (8, 96),
    (8, "0_5"): (16, 192),
    (8, "1_0"): (24, 384),
    (8, "1_5"): (24, 576),
    (8, "2_0"): (48, 768),
}


class Unit(nn.Module):
    """Figure 2 b (stride 1, added to its input) and c (stride 2, concatenated after its pooled input)."""

    def __init__(self, in_channels: int, channels: int, stride: int, groups: int, first: bool) -> None:
        """
        Args:
            channels: of the output; the bottleneck has a quarter of them, at stride 2 too.
            first: whether it is the net's first unit, whose input has too few channels for groups (section 3.2).
        """
        super().__init__()
        middle = channels // 4
        branch = channels - in_channels if stride == 2 else channels
        self.groups = groups
        self.branch_main_1 = nn.Sequential(
            *conv_bn(in_channels, middle, groups=1 if first else groups, act="relu"),
            *conv_bn(middle, middle, 3, stride, middle),
        )
        self.branch_main_2 = nn.Sequential(*conv_bn(middle, branch, groups=groups))
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch_main_1(x)
        if self.groups > 1:
            y = shuffle(y, self.groups)
        y = self.branch_main_2(y)
        if self.pool is None:
            return functional.relu(x + y)
        return torch.cat((self.pool(x), functional.relu(y)), 1)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels [n, g] -> [g, n], in the memory format of x. `torch.channel_shuffle` has no kernel for Apple's GPUs."""
    if x.is_contiguous(memory_format=torch.channels_last):
        nhwc = x.permute(0, 2, 3, 1).unflatten(3, (-1, groups)).transpose(3, 4).flatten(3)
        return nhwc.permute(0, 3, 1, 2)
    return x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)


class ShuffleNetV1(TimmNet):
    TRUNK = ("first_conv", "maxpool", "features")

    def __init__(
        self,
        groups: int,
        stem_channels: int,
        stage2_channels: int,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.first_conv = nn.Sequential(*conv_bn(in_chans, stem_channels, 3, 2, act="relu"))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.feature_info = [
            {"num_chs": stem_channels, "reduction": 2, "module": "first_conv.2"},
            {"num_chs": stem_channels, "reduction": 4, "module": "maxpool"},
        ]
        units: list[nn.Module] = []
        before, channels = stem_channels, stage2_channels
        for stage, count in enumerate(UNITS):
            for i in range(count):
                units.append(Unit(before, channels, 2 if i == 0 else 1, groups, first=not units))
                before = channels
            module = f"features.{len(units) - 1}"
            self.feature_info.append({"num_chs": channels, "reduction": 8 << stage, "module": module})
            channels *= 2
        self.features = nn.Sequential(*units)
        self.num_features = self.head_hidden_size = before
        self.set_global_pool(global_pool)
        self.classifier = nn.Sequential(self._linear(num_classes))
        self._initialize()

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        x = functional.dropout(x.mean((2, 3)), self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.classifier[0]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.set_global_pool(global_pool)
        self.classifier[0] = self._linear(num_classes)

    def _linear(self, num_classes: int) -> nn.Module:
        if num_classes == 0:
            return nn.Identity()
        linear = nn.Linear(self.num_features, num_classes, bias=False)
        nn.init.normal_(linear.weight, 0, 0.01)
        return linear

    def _initialize(self) -> None:
        """As in the released code."""
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.01 if name == "first_conv.0" else 1 / layer.weight.shape[1])
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.constant_(layer.bias, 0.0001)


for (groups, width), (stem_channels, stage2_channels) in CHANNELS.items():
    register(
        ShuffleNetV1,
        f"shufflenetv1_g{groups}_x{width}",
        {"groups": groups, "stem_channels": stem_channels, "stage2_channels": stage2_channels},
        first_conv="first_conv.0",
        classifier="classifier.0",
        flatten_sequential=True,
    )
