"""Shuffles, Dynamic Shift-Max and micro-factorized convolutions against plain loops."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightseg.backbones.micronet import factorized, pointwise, squeezed
from lightseg.backbones.shift_max import ChannelShuffle, ShiftMax
from lightseg.profile import count_shift_max


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


@pytest.mark.parametrize(("channels", "groups"), [(8, (2,)), (12, (4, 6)), (30, (5, 15)), (64, (16, 32)), (6, (1, 6))])
def test_shuffles_in_turn_are_one_permutation(channels, groups):
    x = torch.randn(2, channels, 3, 4)
    order = list(range(channels))
    for g in groups:
        order = loop_shuffle(order, g)
    assert torch.equal(ChannelShuffle(channels, *groups)(x), torch.stack([x[:, c] for c in order], 1))


@pytest.mark.parametrize(("channels", "groups"), [(12, 4), (24, 6), (10, 1), (7, 7)])
@pytest.mark.parametrize("starts", [((1.0,), (0.0,)), ((1.0, 0.5), (0.0, 0.5)), ((1.0, 1.0), (0.0, 0.0))])
def test_shift_max_equals_plain_loops(channels, groups, starts):
    torch.manual_seed(0)
    layer, x = ShiftMax(channels, groups, 4, *starts).double(), torch.randn(2, channels, 3, 5, dtype=torch.double)
    layer.fc[2].weight.data *= 20  # past both ends of the hard sigmoid
    w1, b1, w2, b2 = (tensor.numpy() for tensor in layer.state_dict().values())
    partner = loop_shift(list(range(channels)), groups)
    expected = np.empty(x.shape)
    for n, image in enumerate(x.numpy()):
        hidden = np.maximum(w1 @ image.mean((1, 2)) + b1, 0)
        ranges = 4 * (np.clip(w2 @ hidden + b2 + 3, 0, 6) / 6 - 0.5)  # all a1, then all b1, a2, b2
        for c in range(channels):
            mixtures = []
            for k, (start_a, start_b) in enumerate(zip(*starts, strict=True)):
                a, b = ranges[2 * k * channels + c] + start_a, ranges[(2 * k + 1) * channels + c] + start_b
                mixtures.append(a * image[c] + b * image[partner[c]])
            expected[n, c] = np.max(mixtures, 0)
    with torch.no_grad():
        np.testing.assert_allclose(layer(x).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2)])
def test_factorised_depthwise_is_a_convolution_with_rank_one_kernels(kernel, stride):
    torch.manual_seed(0)
    inp, c1, c2 = 3, 2, 2
    layer, x = factorized(inp, inp * c1, inp * c1 * c2, kernel, stride, groups=inp).eval(), torch.randn(2, inp, 9, 12)
    layer.conv[3].running_mean.normal_()
    column, row = layer.conv[0].weight, layer.conv[2].weight
    square = torch.stack([torch.outer(column[c // c2, 0, :, 0], row[c, 0, 0]) for c in range(inp * c1 * c2)])[:, None]
    with torch.no_grad():
        plain = F.conv2d(x, square, stride=stride, padding=kernel // 2, groups=inp) / (1 + 1e-5) ** 0.5
        torch.testing.assert_close(layer(x), layer.conv[3](plain), atol=1e-5, rtol=1e-5)


def test_factorised_pointwise_is_a_product_of_block_matrices_around_a_permutation():
    """W = P Phi Q^T of the paper, section 3.1, by entries."""
    torch.manual_seed(0)
    inp, mid, out, g1, g2 = 8, 12, 6, 2, 3
    first, last = pointwise(inp, mid, g1).eval(), pointwise(mid, out, g2).eval()
    q, p = first.conv[0].weight[..., 0, 0].detach(), last.conv[0].weight[..., 0, 0].detach()
    order = loop_shuffle(list(range(mid)), g1)
    dense = torch.zeros(out, inp)
    for o in range(out):
        for m in range(mid // g2):
            middle = order[o // (out // g2) * (mid // g2) + m]
            for i in range(inp // g1):
                dense[o, middle // (mid // g1) * (inp // g1) + i] += p[o, m] * q[middle, i]
    x = torch.randn(2, inp, 3, 4)
    with torch.no_grad():
        expected = torch.einsum("oi,bihw->bohw", dense, x) / (1 + 1e-5)  # two batch norms with variance 1
        torch.testing.assert_close(last(ChannelShuffle(mid, g1)(first(x))), expected)


def test_squeezed_channels():
    assert [squeezed(c, 8) for c in (8, 32, 47, 48, 120, 144, 192)] == [4, 4, 8, 8, 16, 20, 24]
    assert [squeezed(c, 16) for c in (96, 144, 384, 576, 864)] == [
        8,
        12,
        24,
        36,
        56,
    ]  # 8 is under 90 % of 9; 54 is halfway


def test_shift_max_products_are_counted_where_they_are():
    two, one = ShiftMax(8, 2, 4, (1.0, 1.0), (0.0, 0.0)), ShiftMax(8, 2, 4, (1.0,), (0.0,))
    net = nn.Sequential(two, nn.MaxPool2d(2), one, nn.ReLU())
    assert count_shift_max(net, (1, 8, 6, 10)) == 4 * 8 * 60 + 2 * 8 * 15
    assert next(net.parameters()).device.type == "cpu" and net.training
    assert count_shift_max(nn.Conv2d(3, 4, 1), (1, 3, 8, 8)) == 0
