"""MicroNet M0-M3: Image Recognition with Extremely Low FLOPs, ICCV 2021, arXiv:2108.05894, as released
(github.com/liyunsheng13/micronet, MIT); the released weights load by name.

Every convolution is factorized. A k x k depthwise one is k x 1, then 1 x k ("micro-factorized"); a pointwise one is two
grouped 1 x 1 convolutions with channel shuffles between them. Activations are Dynamic Shift-Max (shift_max.py).

    Block A     depthwise that widens, act, shuffle, grouped 1 x 1 to `out`, act, shuffle
    Block B, C  grouped 1 x 1 that widens, act, shuffle, depthwise, act, shuffle, grouped 1 x 1 to `out`, act, shuffle;
                plus the input where shapes are equal. B is the first block C.
    Block C*    the last: grouped 1 x 1 that widens, act

    net  params    MAdds (convolutions and linear layers, + Shift-Max = published)   ImageNet-1k top-1
    M0   1.020 M    3.449 +  .605 =  4.05 M                                          46.6
    M1   1.778 M    5.314 +  .806 =  6.12 M                                          51.4
    M2   2.394 M   10.338 + 2.405 = 12.74 M                                          59.4
    M3   2.623 M   18.236 + 2.572 = 20.81 M                                          62.5

Logits pass batch norm and h-swish, as released, so a batch of one cannot be trained on. Initialization is that of the
released code. Feature maps are taken before C*, whose 384 to 864 channels are for the classifier.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from lightseg.backbones.conv_bn import conv_bn
from lightseg.backbones.register import register
from lightseg.backbones.shift_max import ChannelShuffle, ShiftMax
from lightseg.backbones.timm_net import TimmNet

Starts = tuple[tuple[float, float], tuple[float, float]]  # initial a1, a2 and b1, b2 of the inner Shift-Max


class Block(NamedTuple):
    """A row of a net's table."""

    kind: str  # "A", "B", "C" or "C*"
    kernel: int
    stride: int
    out: int
    expand: tuple[int, int]  # factors of the channels in the k x 1 and the 1 x k half; in B and C, in the first 1 x 1
    groups: tuple[int, int, int, int]  # of the first 1 x 1 and its shuffle, of the second 1 x 1 and its shuffle
    acts: tuple[int, int, int]  # 2, 1: Shift-Max of that number of mixtures; 0: ReLU6, at the output the identity
    r: int  # factor of the reduction in Shift-Max's linear layers


# `named` and the Identities below give the tensors the key names of the released nets.


def named(name: str, *layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict({name: nn.Sequential(*layers)}))


def pointwise(inp: int, out: int, groups: int) -> nn.Sequential:
    return named("conv", *conv_bn(inp, out, groups=groups))


def factorized(inp: int, mid: int, out: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    """kernel x 1 convolution inp -> mid in `groups`, then 1 x kernel, mid -> out in mid groups."""
    pad = kernel // 2
    return named(
        "conv",
        nn.Conv2d(inp, mid, (kernel, 1), (stride, 1), (pad, 0), groups=groups, bias=False),
        nn.BatchNorm2d(mid),
        nn.Conv2d(mid, out, (1, kernel), (1, stride), (0, pad), groups=mid, bias=False),
        nn.BatchNorm2d(out),
    )


def swish_linear(inp: int, out: int) -> nn.Module:
    """A layer of the classifier; the identity for `out` 0."""
    return named("linear", nn.Linear(inp, out), nn.BatchNorm1d(out), nn.Hardswish()) if out else nn.Identity()


def inner_act(act: int, channels: int, groups: int, reduction: int, starts: Starts) -> nn.Module:
    return ShiftMax(channels, groups, squeezed(channels, reduction), *starts) if act else nn.ReLU6(inplace=True)


def output_act(act: int, channels: int, groups: int, reduction: int) -> nn.Module:
    return ShiftMax(channels, groups, squeezed(channels, reduction), (1.0,), (0.0,)) if act else nn.Identity()


def squeezed(channels: int, reduction: int) -> int:
    """channels / reduction, rounded to a multiple of 4, at least 4 and at least nine tenths of it."""
    exact = channels // reduction
    nearest = max(4, (exact + 2) // 4 * 4)
    return nearest + 4 if nearest < 0.9 * exact else nearest


def block_a(b: Block, inp: int, starts: Starts) -> nn.Sequential:
    mid, (_, g2, g3, g4), (_, y2, y3) = inp * b.expand[0] * b.expand[1], b.groups, b.acts
    return nn.Sequential(
        factorized(inp, inp * b.expand[0], mid, b.kernel, b.stride, groups=inp),
        inner_act(y2, mid, g2, 8 * b.r, starts),
        ChannelShuffle(mid, g2, mid // 2) if y2 else ChannelShuffle(mid, g2),
        nn.Identity(),
        pointwise(mid, b.out, g3),
        output_act(y3, b.out, g4, 8 * b.r // 2),
        ChannelShuffle(b.out, g4, b.out // 2) if y3 and b.out % 2 == 0 else ChannelShuffle(b.out, g4),
    )


def block_c(b: Block, inp: int, starts: Starts) -> nn.Sequential:
    mid, (g1, g2, g3, g4), (y1, y2, y3) = inp * b.expand[0] * b.expand[1], b.groups, b.acts
    return nn.Sequential(
        pointwise(inp, mid, g1),
        inner_act(y1, mid, g2, 8 * b.r, starts),
        ChannelShuffle(mid, g2),
        factorized(mid, mid, mid, b.kernel, b.stride, groups=mid),
        nn.Identity(),
        inner_act(y2, mid, mid // g2 if g2 != 1 else 1, 8 * b.r, starts),
        ChannelShuffle(mid, mid // (4 if y1 and y2 else 2)) if y1 or y2 else nn.Identity(),
        pointwise(mid, b.out, g3),
        output_act(y3, b.out, g4, 8 * b.r // 2 if b.out < mid else 8 * b.r),
        ChannelShuffle(b.out, g4, b.out // 2) if y3 else ChannelShuffle(b.out, g4),
    )


def block_c_star(b: Block, inp: int, starts: Starts) -> nn.Sequential:
    return nn.Sequential(pointwise(inp, b.out, b.groups[0]), output_act(b.acts[2], b.out, b.groups[1], 8 * b.r))


class MicroBlock(nn.Module):
    MAKE = {"A": block_a, "B": block_c, "C": block_c, "C*": block_c_star}

    def __init__(self, b: Block, inp: int, starts: Starts) -> None:
        super().__init__()
        self.layers = self.MAKE[b.kind](b, inp, starts)
        self.residual = b.stride == 1 and b.out == inp

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MicroNet(TimmNet):
    TRUNK = ("features",)

    def __init__(
        self,
        blocks: tuple[Block, ...],
        stem: tuple[int, int],  # channels of its first half, and the factor of the second
        hidden: int,  # width of the classifier's hidden layer
        starts: Starts,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        channels, stride = stem[0] * stem[1], 2
        conv = factorized(in_chans, stem[0], channels, 3, 2, groups=1)
        layers: list[nn.Module] = [named("stem", conv, ChannelShuffle(channels, stem[0]), nn.ReLU6(inplace=True))]
        taps = {2: {"num_chs": channels, "reduction": 2, "module": "features.0"}}  # by stride: the last block of each
        for i, block in enumerate(blocks, start=1):
            layers.append(MicroBlock(block, channels, starts))
            channels = block.out
            if block.kind != "C*":
                stride *= block.stride
                taps[stride] = {"num_chs": channels, "reduction": stride, "module": f"features.{i}"}
        self.features = nn.Sequential(*layers)
        self.feature_info = list(taps.values())
        self.num_classes, self.num_features, self.head_hidden_size = num_classes, channels, hidden
        self.classifier = nn.Sequential(
            swish_linear(channels, hidden), nn.Dropout(drop_rate), swish_linear(hidden, num_classes)
        )
        self.set_global_pool(global_pool)
        self.apply(initialize)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if not self.global_pool:
            return x
        x = F.hardswish(F.relu6(x).mean((2, 3)))
        return self.classifier[:2](x) if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.classifier[2]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new last layer with its batch norm; 0: none, and the net returns `head_hidden_size` features."""
        self.num_classes = num_classes
        self.set_global_pool(global_pool)
        like = next(self.classifier.parameters())
        self.classifier[2] = swish_linear(self.head_hidden_size, num_classes).apply(initialize).to(like)


def initialize(layer: nn.Module) -> None:
    """Convolutions N(0, sqrt(2 / (k * k * out))) regardless of groups; linear layers N(0, .01), biases 0."""
    if isinstance(layer, nn.Conv2d):
        height, width = layer.kernel_size
        nn.init.normal_(layer.weight, 0, sqrt(2 / (height * width * layer.out_channels)))
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the key names of the released nets, which are also those of `MicroNet`."""
    return "features.0.stem.0.conv.0.weight" in state


def without_other_classes(state: dict[str, Tensor], net: Any) -> dict[str, Tensor]:
    """The state without a last layer for another number of classes. timm leaves out the linear part alone."""
    bias = state.get("classifier.2.linear.0.bias")
    if bias is None or len(bias) == net.num_classes:
        return state
    return {key: value for key, value in state.items() if not key.startswith("classifier.2.")}


# fmt: off
# kind, kernel, stride, out, expand, groups, acts, r
M0 = (
    Block("A", 3, 2, 8, (2, 2), (0, 4, 2, 2), (2, 0, 1), 1),
    Block("A", 3, 2, 12, (2, 2), (0, 8, 4, 4), (2, 2, 1), 1),
    Block("A", 5, 2, 16, (2, 2), (0, 12, 4, 4), (2, 2, 1), 1),
    Block("B", 5, 1, 32, (1, 4), (4, 4, 4, 4), (2, 2, 1), 1),
    Block("C", 5, 2, 64, (1, 4), (8, 8, 8, 8), (2, 2, 1), 1),
    Block("C", 3, 1, 96, (1, 4), (8, 8, 8, 8), (2, 2, 1), 2),
    Block("C*", 3, 1, 384, (1, 4), (12, 12, 0, 0), (2, 2, 1), 2),
)
M1 = (
    Block("A", 3, 2, 8, (2, 2), (0, 6, 2, 2), (2, 0, 1), 1),
    Block("A", 3, 2, 16, (2, 2), (0, 8, 4, 4), (2, 2, 1), 1),
    Block("A", 5, 2, 16, (2, 2), (0, 16, 4, 4), (2, 2, 1), 1),
    Block("B", 5, 1, 32, (1, 6), (4, 4, 4, 4), (2, 2, 1), 1),
    Block("C", 5, 2, 64, (1, 6), (8, 8, 8, 8), (2, 2, 1), 1),
    Block("C", 3, 1, 96, (1, 6), (8, 8, 8, 8), (2, 2, 1), 2),
    Block("C*", 3, 1, 576, (1, 6), (12, 12, 0, 0), (2, 2, 1), 2),
)
M2 = (
    Block("A", 3, 2, 12, (2, 2), (0, 8, 4, 4), (2, 0, 1), 1),
    Block("A", 3, 2, 16, (2, 2), (0, 12, 4, 4), (2, 2, 1), 1),
    Block("A", 3, 1, 24, (2, 2), (0, 16, 4, 4), (2, 2, 1), 1),
    Block("B", 5, 2, 32, (1, 6), (6, 6, 4, 4), (2, 2, 1), 1),
    Block("C", 5, 1, 32, (1, 6), (8, 8, 4, 4), (2, 2, 1), 2),
    Block("C", 5, 1, 64, (1, 6), (8, 8, 8, 8), (2, 2, 1), 2),
    Block("C", 5, 2, 96, (1, 6), (8, 8, 8, 8), (2, 2, 1), 2),
    Block("C", 3, 1, 128, (1, 6), (12, 12, 8, 8), (2, 2, 1), 2),
    Block("C*", 3, 1, 768, (1, 6), (16, 16, 0, 0), (2, 2, 1), 2),
)
M3 = (
    Block("A", 3, 2, 16, (2, 2), (0, 12, 4, 4), (0, 2, 0), 1),
    Block("A", 3, 2, 24, (2, 2), (0, 16, 4, 4), (0, 2, 0), 1),
    Block("A", 3, 1, 24, (2, 2), (0, 24, 4, 4), (0, 2, 0), 1),
    Block("B", 5, 2, 32, (1, 6), (6, 6, 4, 4), (0, 2, 0), 1),
    Block("C", 5, 1, 32, (1, 6), (8, 8, 4, 4), (0, 2, 0), 2),
    Block("C", 5, 1, 64, (1, 6), (8, 8, 8, 8), (0, 2, 0), 2),
    Block("C", 5, 1, 80, (1, 6), (8, 8, 8, 8), (0, 2, 0), 2),
    Block("C", 5, 1, 80, (1, 6), (10, 10, 8, 8), (0, 2, 0), 2),
    Block("C", 5, 2, 120, (1, 6), (10, 10, 10, 10), (0, 2, 0), 2),
    Block("C", 5, 1, 120, (1, 6), (12, 12, 10, 10), (0, 2, 0), 2),
    Block("C", 3, 1, 144, (1, 6), (12, 12, 12, 12), (0, 2, 0), 2),
    Block("C*", 3, 1, 864, (1, 6), (12, 12, 0, 0), (0, 2, 0), 2),
)
# fmt: on
ONES: Starts = ((1.0, 1.0), (0.0, 0.0))
HALF: Starts = ((1.0, 0.5), (0.0, 0.5))
VARIANTS: dict[str, dict[str, Any]] = {
    "micronet_m0": {"blocks": M0, "stem": (2, 2), "hidden": 640, "starts": ONES, "drop_rate": 0.05},
    "micronet_m1": {"blocks": M1, "stem": (3, 2), "hidden": 960, "starts": ONES, "drop_rate": 0.05},
    "micronet_m2": {"blocks": M2, "stem": (4, 2), "hidden": 1024, "starts": ONES, "drop_rate": 0.1},
    "micronet_m3": {"blocks": M3, "stem": (4, 3), "hidden": 1024, "starts": HALF, "drop_rate": 0.1},
}
for _name, _settings in VARIANTS.items():
    register(
        MicroNet,
        _name,
        _settings,
        first_conv="features.0.stem.0.conv.0",
        classifier="classifier.2.linear.0",
        flatten_sequential=True,
        convert=without_other_classes,
        license="mit",
    )
