"""SqueezeNet 1.0, its simple and complex bypass (arXiv:1602.07360, Tables 1 and 3), and SqueezeNet 1.1
(github.com/forresti/SqueezeNet, SqueezeNet_v1.1), with torchvision's key names and outputs: its weights load by name.

No batch norm; convolutions have biases; pooling rounds up; the stem has no padding. The deepest stride is 16.

    net                           params   MAdds (224)  ImageNet-1k top-1
    squeezenet1_0                 1.248 M    818.9 M    57.5 (torchvision's weights 58.1)
    squeezenet1_0_simple_bypass   1.248 M    818.9 M    60.4
    squeezenet1_0_complex_bypass  1.590 M   1165.3 M    58.8
    squeezenet1_1                 1.235 M    349.2 M    (torchvision's weights 58.2)

A bypass adds a fire module's input to its output, after both ReLUs: the identity where channels are equal (fire3, 5, 7,
9), and in the complex variant a 1 x 1 convolution elsewhere (fire2, 4, 6, 8). Initialization is torchvision's. Without
classes the net returns the mean of its last map.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightseg.backbones.register import register
from lightseg.backbones.timm_net import TimmNet

# Channels of fire2 to fire9: of `squeeze`, and of each of the two expansions.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class Fire(nn.Module):
    """inp -> squeeze -> [1 x 1 | 3 x 3] -> 2 * expand channels."""

    def __init__(self, inp: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inp, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        narrow = self.expand1x1_activation(self.expand1x1(x))
        return torch.cat((narrow, self.expand3x3_activation(self.expand3x3(x))), 1)


class BypassFire(Fire):
    def __init__(self, inp: int, squeeze: int, expand: int) -> None:
        super().__init__(inp, squeeze, expand)
        self.bypass = nn.Identity() if inp == 2 * expand else nn.Conv2d(inp, 2 * expand, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.bypass(x)


class SqueezeNet(TimmNet):
    """
    Args:
        stem: channels and kernel of the first convolution.
        pools: numbers of the fire modules that follow a pooling.
        bypass: around no fire module ("none"), around those of equal channels ("simple"), or around all ("complex").
    """

    TRUNK = ("features",)

    def __init__(
        self,
        stem: tuple[int, int],
        pools: tuple[int, int, int],
        bypass: Literal["none", "simple", "complex"] = "none",
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.5,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = 2 * FIRES[-1][1]
        self.set_global_pool(global_pool)
        channels, kernel = stem
        stride = 2
        layers: list[nn.Module] = [nn.Conv2d(in_chans, channels, kernel, stride=2), nn.ReLU(inplace=True)]
        self.feature_info: list[dict[str, Any]] = []

        def tap() -> None:
            module = f"features.{len(layers) - 1}"
            self.feature_info.append({"num_chs": channels, "reduction": stride, "module": module})

        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            if number in pools:
                tap()
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
                stride *= 2
            bypassed = bypass == "complex" or (bypass == "simple" and channels == 2 * expand)
            layers.append((BypassFire if bypassed else Fire)(channels, squeeze, expand))
            channels = 2 * expand
        tap()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(drop_rate), self._last(num_classes), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )
        for layer in self.features.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _last(self, num_classes: int) -> nn.Module:
        if not num_classes:
            return nn.Identity()
        last = nn.Conv2d(self.num_features, num_classes, 1)
        nn.init.normal_(last.weight, 0, 0.01)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        return last

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        if pre_logits or not self.num_classes:
            return x.mean((2, 3))
        return self.classifier(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.classifier[1]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new last convolution; 0: none."""
        self.num_classes = num_classes
        self.set_global_pool(global_pool)
        like = next(self.features.parameters())
        self.classifier[1] = self._last(num_classes).to(like)


V1_0: dict[str, Any] = {"stem": (96, 7), "pools": (2, 5, 9)}
V1_1: dict[str, Any] = {"stem": (64, 3), "pools": (2, 4, 6)}
TORCHVISION = "https://download.pytorch.org/models/"
for _name, _settings, _url in (
    ("squeezenet1_0", V1_0, TORCHVISION + "squeezenet1_0-b66bff10.pth"),
    ("squeezenet1_1", V1_1, TORCHVISION + "squeezenet1_1-b8a52dc0.pth"),
    ("squeezenet1_0_simple_bypass", {**V1_0, "bypass": "simple"}, ""),
    ("squeezenet1_0_complex_bypass", {**V1_0, "bypass": "complex"}, ""),
):
    register(
        SqueezeNet,
        _name,
        _settings,
        first_conv="features.0",
        classifier="classifier.1",
        out_indices=(0, 1, 2, 3),
        flatten_sequential=True,
        url=_url,
        license="bsd-3-clause" if _url else None,
        pool_size=(13, 13),
    )
