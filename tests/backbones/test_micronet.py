"""MicroNet against the published tables, and against a plain re-implementation that takes its tensors in order."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import lightseg.backbones.micronet  # noqa: F401  registers the nets
from lightseg.profile import count_shift_max

NAMES = ["micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3"]

# Blocks of the released nets: stride, out, kernel, c1, c2, g1, g2, g3, g4, y1, y2, y3, r; then the size of the output
# at 224. g1 = 0 is block A, g4 = 0 the last block.
TABLES = {
    "micronet_m0": """
        2   8 3 2 2  0  4  2  2 2 0 1 1 56
        2  12 3 2 2  0  8  4  4 2 2 1 1 28
        2  16 5 2 2  0 12  4  4 2 2 1 1 14
        1  32 5 1 4  4  4  4  4 2 2 1 1 14
        2  64 5 1 4  8  8  8  8 2 2 1 1  7
        1  96 3 1 4  8  8  8  8 2 2 1 2  7
        1 384 3 1 4 12 12  0  0 2 2 1 2  7""",
    "micronet_m1": """
        2   8 3 2 2  0  6  2  2 2 0 1 1 56
        2  16 3 2 2  0  8  4  4 2 2 1 1 28
        2  16 5 2 2  0 16  4  4 2 2 1 1 14
        1  32 5 1 6  4  4  4  4 2 2 1 1 14
        2  64 5 1 6  8  8  8  8 2 2 1 1  7
        1  96 3 1 6  8  8  8  8 2 2 1 2  7
        1 576 3 1 6 12 12  0  0 2 2 1 2  7""",
    "micronet_m2": """
        2  12 3 2 2  0  8  4  4 2 0 1 1 56
        2  16 3 2 2  0 12  4  4 2 2 1 1 28
        1  24 3 2 2  0 16  4  4 2 2 1 1 28
        2  32 5 1 6  6  6  4  4 2 2 1 1 14
        1  32 5 1 6  8  8  4  4 2 2 1 2 14
        1  64 5 1 6  8  8  8  8 2 2 1 2 14
        2  96 5 1 6  8  8  8  8 2 2 1 2  7
        1 128 3 1 6 12 12  8  8 2 2 1 2  7
        1 768 3 1 6 16 16  0  0 2 2 1 2  7""",
    "micronet_m3": """
        2  16 3 2 2  0 12  4  4 0 2 0 1 56
        2  24 3 2 2  0 16  4  4 0 2 0 1 28
        1  24 3 2 2  0 24  4  4 0 2 0 1 28
        2  32 5 1 6  6  6  4  4 0 2 0 1 14
        1  32 5 1 6  8  8  4  4 0 2 0 2 14
        1  64 5 1 6  8  8  8  8 0 2 0 2 14
        1  80 5 1 6  8  8  8  8 0 2 0 2 14
        1  80 5 1 6 10 10  8  8 0 2 0 2 14
        2 120 5 1 6 10 10 10 10 0 2 0 2  7
        1 120 5 1 6 12 12 10 10 0 2 0 2  7
        1 144 3 1 6 12 12 12 12 0 2 0 2  7
        1 864 3 1 6 12 12  0  0 0 2 0 2  7""",
}
BLOCKS = {name: [tuple(map(int, line.split())) for line in text.split("\n")[1:]] for name, text in TABLES.items()}
STEMS = {"micronet_m0": (2, 2), "micronet_m1": (3, 2), "micronet_m2": (4, 2), "micronet_m3": (4, 3)}
HIDDEN = {"micronet_m0": 640, "micronet_m1": 960, "micronet_m2": 1024, "micronet_m3": 1024}


def randomize(net: nn.Module) -> None:
    """Statistics other than 0 and 1, and Shift-Max weights that depend on the image."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
            nn.init.normal_(layer.bias)


def loop_shuffle(values: list, groups: int) -> list:
    """Channel j of group i becomes channel j * groups + i."""
    size = len(values) // groups
    out = [None] * len(values)
    for i in range(groups):
        for j in range(size):
            out[j * groups + i] = values[i * size + j]
    return out


def loop_shift(values: list, groups: int) -> list:
    """Each channel's partner: the next channel of the next group; after the last comes the first."""
    size = len(values) // groups
    return [values[(i + 1) % groups * size + (j + 1) % size] for i in range(groups) for j in range(size)]


class Reference:
    """A net from its tensors in the order of the state dict, and nothing of its code."""

    def __init__(self, name: str, state: dict[str, torch.Tensor]) -> None:
        self.name = name
        self.tensors = iter([tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")])
        self.starts = ((1, 0.5), (0, 0.5)) if name == "micronet_m3" else ((1, 1), (0, 0))

    def conv(self, x, kernel=(1, 1), stride=(1, 1), groups=1):
        weight, gamma, beta, mean, variance = (next(self.tensors) for _ in range(5))
        assert tuple(weight.shape[2:]) == kernel
        x = F.conv2d(x, weight, stride=stride, padding=(kernel[0] // 2, kernel[1] // 2), groups=groups)
        return F.batch_norm(x, mean, variance, gamma, beta)

    def spatial(self, x, k, s, groups):
        x = self.conv(x, (k, 1), (s, 1), groups)
        return self.conv(x, (1, k), (1, s), x.shape[1])

    def shift_max(self, x, groups, starts, squeeze):
        w1, b1, w2, b2 = (next(self.tensors) for _ in range(4))
        channels = x.shape[1]
        assert w1.shape == (squeeze, channels)
        partner = x[:, loop_shift(list(range(channels)), groups)]
        y = F.relu6(F.linear(F.relu(F.linear(x.mean((2, 3)), w1, b1)), w2, b2) + 3) / 6
        parts = ((y - 0.5) * 4)[..., None, None].split(channels, dim=1)
        mixtures = [
            x * (parts[2 * k] + starts[0][k]) + partner * (parts[2 * k + 1] + starts[1][k])
            for k in range(len(parts) // 2)
        ]
        return torch.stack(mixtures).amax(0)

    def shuffle(self, x, groups):
        return x[:, loop_shuffle(list(range(x.shape[1])), groups)]

    def inner(self, y, x, groups, reduction):
        assert y in (0, 2)
        return self.shift_max(x, groups, self.starts, round4(x.shape[1] // reduction)) if y else F.relu6(x)

    def output(self, y, x, groups, reduction):
        assert y in (0, 1)
        return self.shift_max(x, groups, ((1,), (0,)), round4(x.shape[1] // reduction)) if y else x

    def block(self, x, row):
        s, out, k, c1, c2, g1, g2, g3, g4, y1, y2, y3, r, _ = row
        entered, inp, mid = x, x.shape[1], x.shape[1] * c1 * c2
        if g4 == 0:
            return self.output(y3, self.conv(x, groups=g1), g2, 8 * r)
        if g1 == 0:
            x = self.inner(y2, self.spatial(x, k, s, inp), g2, 8 * r)
            x = self.shuffle(x, g2)
            x = self.shuffle(x, mid // 2) if y2 else x
            x = self.output(y3, self.conv(x, groups=g3), g4, 8 * r // 2)
        else:
            x = self.shuffle(self.inner(y1, self.conv(x, groups=g1), g2, 8 * r), g2)
            x = self.inner(y2, self.spatial(x, k, s, mid), mid // g2, 8 * r)
            if y1 and y2:
                x = self.shuffle(x, mid // 4)
            elif y1 or y2:
                x = self.shuffle(x, mid // 2)
            x = self.output(y3, self.conv(x, groups=g3), g4, 8 * r // 2 if out < mid else 8 * r)
        x = self.shuffle(x, g4)
        x = self.shuffle(x, out // 2) if y3 else x
        return x + entered if s == 1 and inp == out else x

    def __call__(self, x):
        """The stem's and every block's output, and the logits."""
        mid, _ = STEMS[self.name]
        maps = [F.relu6(self.shuffle(self.spatial(x, 3, 2, 1), mid))]
        for row in BLOCKS[self.name]:
            maps.append(self.block(maps[-1], row))
        x = swish(F.relu6(maps[-1]).mean((2, 3)))
        for _ in range(2):
            weight, bias, gamma, beta, mean, variance = (next(self.tensors) for _ in range(6))
            x = swish(F.batch_norm(F.linear(x, weight, bias), mean, variance, gamma, beta))
        assert next(self.tensors, None) is None
        return maps, x


def swish(x):
    return x * F.relu6(x + 3) / 6


def round4(value: int) -> int:
    """4 where less; else the multiple of 4 next to it, halves up, unless that is under 90 %."""
    best = max(4, 4 * int(value / 4 + 0.5))
    return best + 4 if best < 0.9 * value else best


@pytest.mark.parametrize("name", NAMES)
def test_the_net_equals_a_plain_one_under_the_same_tensors(name):
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    randomize(net)
    images = torch.randn(2, 3, 64, 96)
    inside = []
    for part in net.features:
        part.register_forward_hook(lambda module, inputs, output: inside.append(output))
    with torch.no_grad():
        logits = net(images)
        maps, expected = Reference(name, net.state_dict())(images)
    for ours, plain in zip(inside, maps, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
    assert logits.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_have_the_published_sizes(name):
    shapes = []
    with torch.device("meta"):
        net = timm.create_model(name).eval()
        for part in net.features:
            part.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
        assert net(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    a, b = STEMS[name]
    assert shapes == [(a * b, 112, 112)] + [(row[1], row[-1], row[-1]) for row in BLOCKS[name]]
    assert net.num_features == BLOCKS[name][-1][1] and net.head_hidden_size == HIDDEN[name]


@pytest.mark.parametrize(
    ("name", "params", "madds", "with_shift_max"),
    [
        ("micronet_m0", 1.020, 3.449, 4.05),
        ("micronet_m1", 1.778, 5.314, 6.12),
        ("micronet_m2", 2.394, 10.338, 12.74),
        ("micronet_m3", 2.623, 18.236, 20.81),
    ],
)
def test_published_parameters_and_multiply_adds(name, params, madds, with_shift_max):
    net = timm.create_model(name).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 224, 224))
    counted = counter.get_total_flops() / 2
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 3) == params
    assert round(counted / 1e6, 3) == madds
    assert round((counted + count_shift_max(net, (1, 3, 224, 224))) / 1e6, 2) == with_shift_max
