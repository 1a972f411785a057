"""FBNet and FBNetV2, block by block and whole, against plain arithmetic under equal weights.

The arithmetic takes tensors from a state dict in its order, so that it holds the order of the layers, too.
"""

from collections.abc import Iterator

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightseg.backbones.fbnet import FBNet
from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch import Arch, Block, ConvHead, IRPoolHead, Skip, Stem

NETS = {arch.name: arch for arch in ARCHS}


def blocks_of(net: nn.Module) -> list[nn.Module]:
    return [block for stage in net.get_submodule("stages").children() for block in stage.children()]


def randomize(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias, 0, 0.3)


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    return iter([value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")])


def hsigmoid(x: Tensor) -> Tensor:
    return torch.clamp(x + 3, 0, 6) / 6


def act(x: Tensor, name: str | None) -> Tensor:
    return x if name is None else x * hsigmoid(x) if name == "hswish" else torch.clamp(x, min=0)


def plain_conv(x: Tensor, weights: Iterator[Tensor], stride: int = 1, groups: int = 1, bias: bool = False) -> Tensor:
    """A group at a time, bias added by hand."""
    weight = next(weights)
    outs = [
        F.conv2d(F.pad(part, [weight.shape[-1] // 2] * 4), kernel, stride=stride)
        for part, kernel in zip(x.chunk(groups, 1), weight.chunk(groups), strict=True)
    ]
    y = torch.cat(outs, 1)
    return y + next(weights)[:, None, None] if bias else y


def plain_layer(
    x: Tensor,
    weights: Iterator[Tensor],
    name: str | None,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Tensor:
    x = plain_conv(x, weights, stride, groups, bias)
    gamma, beta, mean, var = (next(weights)[:, None, None] for _ in range(4))
    return act((x - mean) / torch.sqrt(var + 1e-5) * gamma + beta, name)


def plain_block(x: Tensor, weights: Iterator[Tensor], block: Block | Skip, bias: bool) -> Tensor:
    same = block.stride == 1 and x.shape[1] == block.out
    if isinstance(block, Skip):
        return x if same else plain_layer(x, weights, "relu", block.stride, bias=bias)
    y = x if block.mid == x.shape[1] else plain_layer(x, weights, block.act, bias=bias)
    if block.groups > 1:  # 0, n/2, 1, n/2 + 1, ...
        width = y.shape[1] // block.groups
        y = torch.stack([y[:, group * width + i] for i in range(width) for group in range(block.groups)], 1)
    y = plain_layer(y, weights, block.act, block.stride, block.mid, bias)
    if block.se:
        gate = act(plain_conv(y.mean((2, 3), keepdim=True), weights, bias=True), block.act)
        y = y * hsigmoid(plain_conv(gate, weights, bias=True))
    y = plain_layer(y, weights, None, groups=block.groups, bias=bias)
    return x + y if same else y


def plain_net(x: Tensor, weights: Iterator[Tensor], arch: Arch) -> Tensor:
    bias = arch.conv_bias
    x = plain_layer(x, weights, arch.stem.act, 2, bias=bias)
    for block in (block for stage in arch.stages for block in stage):
        x = plain_block(x, weights, block, bias)
    if isinstance(arch.head, IRPoolHead):
        x = plain_layer(x, weights, "hswish", bias=bias).mean((2, 3), keepdim=True)
        x = act(plain_conv(x, weights), "hswish")
    else:
        x = plain_layer(x, weights, "relu", bias=bias).mean((2, 3), keepdim=True)
    return plain_conv(x, weights, bias=True)[:, :, 0, 0]


BLOCKS = {  # of 24 channels: the block, names of its children
    "e1": (Block(3, 24, 24), ["depthwise", "project"]),
    "e1 strided": (Block(5, 24, 24, 2), ["depthwise", "project"]),
    "e3": (Block(5, 72, 24), ["expand", "depthwise", "project"]),
    "e3 wider": (Block(3, 72, 32), ["expand", "depthwise", "project"]),
    "se": (Block(5, 72, 32, 2, True), ["expand", "depthwise", "se", "project"]),
    "se hswish": (Block(5, 96, 24, 1, True, "hswish"), ["expand", "depthwise", "se", "project"]),
    "g2": (Block(5, 24, 24, groups=2), ["shuffle", "depthwise", "project"]),
    "g3 wider": (Block(3, 24, 36, 2, groups=3), ["shuffle", "depthwise", "project"]),
    "skip": (Skip(24), []),
    "skip wider": (Skip(40), ["conv", "bn", "act"]),
    "skip strided": (Skip(24, 2), ["conv", "bn", "act"]),
}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("bias", [False, True])
def test_a_block_is_plain_arithmetic(kind, bias):
    torch.manual_seed(0)
    block, children = BLOCKS[kind]
    arch = Arch("single", Stem(24), ((block,),), ConvHead(8), conv_bias=bias)
    module = blocks_of(FBNet(arch))[0].double().eval()
    randomize(module)
    assert [name for name, _ in module.named_children()] == children
    x = torch.randn(2, 24, 9, 11, dtype=torch.double)
    weights = tensors_of(module)
    with torch.no_grad():
        torch.testing.assert_close(module(x), plain_block(x, weights, block, bias), rtol=1e-10, atol=1e-10)
        if isinstance(block, Block) and block.mid != 24:
            assert module.expand(x).shape == (2, block.mid, 9, 11)
            assert module.expand(x).min() >= (-0.375 if block.act == "hswish" else 0)  # after its activation
    assert next(weights, None) is None
    if isinstance(block, Block):
        assert (module.depthwise.conv.bias is not None) == (module.project.conv.bias is not None) == bias


@pytest.mark.parametrize("name", ["fbnet_a", "fbnet_c", "fbnetv2_f0", "fbnetv2_f1", "fbnetv2_l1", "fbnetv2_l3"])
def test_a_net_is_plain_arithmetic(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=10).double().eval()
    randomize(net)
    x = torch.randn(1, 3, 67, 101, dtype=torch.double)
    weights = tensors_of(net)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain_net(x, weights, NETS[name]), rtol=1e-8, atol=1e-8)
    assert next(weights, None) is None
