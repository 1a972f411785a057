"""FBNet and FBNetV2 against the published tables and figures, from registry and files, with timm's interface."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from lightseg.backbones.fbnet import FBNet, InvertedResidual, fbnet_from_arch
from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch import Arch, Block, ConvHead, Skip, Stem, levels
from lightseg.catalog.arch_yaml import write_arch
from lightseg.catalog.backbones import COUNTED
from lightseg.errors import LightsegError

NAMES = [arch.name for arch in ARCHS]
BY_NAME = {arch.name: arch for arch in ARCHS}

# What the released builder counts (facebookresearch/mobile-vision's published nets): parameters, multiply-adds in
# millions, at a size in pixels; and the channels of C1..C5.
FIGURES = {
    "fbnet_a": (4.321, 244.5, 224, (16, 24, 32, 112, 352)),
    "fbnet_b": (4.818, 291.0, 224, (16, 24, 32, 112, 352)),
    "fbnet_c": (5.593, 378.1, 224, (16, 24, 32, 112, 352)),
    "fbnetv2_f0": (2.822, 66.3, 224, (8, 16, 24, 64, 192)),
    "fbnetv2_f1": (6.025, 56.2, 128, (8, 24, 24, 80, 224)),
    "fbnetv2_f2": (6.025, 85.2, 160, (8, 24, 24, 80, 224)),
    "fbnetv2_f3": (6.925, 121.4, 192, (8, 24, 24, 80, 224)),
    "fbnetv2_f4": (7.023, 237.6, 224, (16, 24, 32, 112, 224)),
    "fbnetv2_l1": (8.539, 325.0, 224, (16, 24, 32, 112, 224)),
    "fbnetv2_l2": (8.539, 422.6, 256, (16, 24, 32, 112, 224)),
    "fbnetv2_l3": (9.451, 748.6, 288, (24, 32, 40, 120, 240)),
}
# Output channels of every block in order, at strides 2, 4, 8, 16, 32; then the last convolutions.
V1_LAYERS = ([16], [24] * 4, [32] * 4, [64] * 4 + [112] * 4, [184] * 4 + [352])
F1_LAYERS = ([8], [24, 24], [32, 24], [56, 56, 56, 80, 80, 80], [144, 144, 144, 224])
L1_LAYERS = ([16], [24] * 4, [40, 32, 32, 32], [64] * 4 + [112] * 6, [184] * 5 + [224])
LAYERS = {
    "fbnet_a": (V1_LAYERS, [1504]),
    "fbnet_b": (V1_LAYERS, [1984]),
    "fbnet_c": (V1_LAYERS, [1984]),
    "fbnetv2_f0": (([8], [16, 16], [24, 24], [48, 48, 64, 64], [128, 160, 192]), [768, 1280]),
    "fbnetv2_f1": (F1_LAYERS, [1344, 1600]),
    "fbnetv2_f2": (F1_LAYERS, [1344, 1600]),
    "fbnetv2_f3": (F1_LAYERS, [1344, 1984]),
    "fbnetv2_f4": (([16], [24] * 3, [32] * 4, [64] * 3 + [104] * 3 + [112], [184] * 3 + [224]), [1344, 1984]),
    "fbnetv2_l1": (L1_LAYERS, [1344, 1984]),
    "fbnetv2_l2": (L1_LAYERS, [1344, 1984]),
    "fbnetv2_l3": (
        ([24], [32] * 4, [48, 40, 40, 40], [72] * 4 + [120] * 7, [192] * 5 + [240]),
        [1440, 1984],
    ),
}
STEMS = {name: 8 if name.endswith(("f0", "f1", "f2", "f3")) else 24 if name.endswith("l3") else 16 for name in LAYERS}
# L3 was published as ratios of the incoming channels; None: a skip.
L3_RATIOS = (
    *(1, 5.4566, 1.7912, 1.7912, 1.7912, 5.35, 3.5379, 4.5379, 4.5379, 5.7133, 2.1212, None, 3.1246),
    *(5.0333, 2.507, 1.7712, 2.7712, 3.7712, 3.7712, 3.7712, 5.5685, 2.84, 2.84, 4.8754, 4.8754, None),
)


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


@pytest.mark.parametrize("name", NAMES)
def test_published_figures(name):
    params, madds, size, channels = FIGURES[name]
    counts = json.loads(COUNTED.read_text(encoding="utf-8"))[name]  # as counted: tests/catalog/test_table.py
    assert round(counts["params"] / 1e6, 3) == params
    assert round(counts["madds"] / 1e6, 1) == madds
    net = timm.create_model(name)
    assert tuple(level["num_chs"] for level in net.feature_info) == channels
    assert [level["reduction"] for level in net.feature_info] == [2, 4, 8, 16, 32]
    assert net.pretrained_cfg["input_size"] == (3, size, size)
    assert net.pretrained_cfg["pool_size"] == (size // 32, size // 32)
    assert not net.pretrained_cfg["url"]  # the released weights are not free for commercial use


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_the_published_tables(name):
    stages, last = LAYERS[name]
    size = FIGURES[name][2]
    seen: list[tuple[int, ...]] = []
    with torch.device("meta"), torch.no_grad():
        net = timm.create_model(name).eval()
        for module in (net.stem, *blocks_of(net), net.head, *([net.project] if len(last) == 2 else [])):
            module.register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape[1:])))
        logits = net(torch.zeros(2, 3, size, size))
    shapes = [(STEMS[name], size // 2)]
    shapes += [(channels, size // 2**level) for level, stage in enumerate(stages, 1) for channels in stage]
    shapes += [(last[0], size // 32), *((channels, 1) for channels in last[1:])]
    assert seen == [(channels, side, side) for channels, side in shapes]
    assert logits.shape == (2, 1000)
    assert net.head_hidden_size == last[-1]
    assert net.num_features == last[0]


@pytest.mark.parametrize("name", NAMES)
def test_activations_of_the_published_tables(name):
    """They change no count: FBNet has ReLU alone, FBNetV2 h-swish in the stem, from stride 16 on, and where said."""
    shallow = {"f0": "HHR", "f1": "RRR", "f2": "RRR", "f3": "RRR", "f4": "HHR", "l1": "HHH", "l2": "HHH", "l3": "RRR"}
    expected = "HHH" if name.startswith("fbnetv2") else "RRR"
    stages = shallow.get(name[-2:], "RRR") + expected  # the second, deeper run is of stages 4 and on
    arch = BY_NAME[name]
    for index, stage in enumerate(arch.stages):
        acts = {block.act[0].upper() for block in stage if isinstance(block, Block)}
        assert acts <= {stages[min(index, 5)]}
    assert arch.stem.act[0].upper() == expected[0]
    net = FBNet(arch)
    assert type(net.stem.act) is type(net.head.act) is (nn.Hardswish if expected == "HHH" else nn.ReLU)


def test_l3_is_its_published_ratios():
    channels, mids = 24, []
    blocks = [block for stage in BY_NAME["fbnetv2_l3"].stages for block in stage]
    for block, ratio in zip(blocks, L3_RATIOS, strict=True):
        mids.append(None if ratio is None else 8 * round(channels * ratio / 8))
        channels = block.out
    assert [block.mid if isinstance(block, Block) else None for block in blocks] == mids


@pytest.mark.parametrize("name", ["fbnet_b", "fbnetv2_f0", "fbnetv2_l3"])
def test_a_file_builds_the_registered_net(name, tmp_path):
    path = tmp_path / "arch.yaml"
    write_arch(BY_NAME[name], path)
    options = {"features_only": True, "in_chans": 1, "output_stride": 16}
    registered, built = timm.create_model(name, **options).eval(), fbnet_from_arch(path, **options).eval()
    randomize(registered)
    assert list(built.state_dict()) == list(registered.state_dict())
    built.load_state_dict(registered.state_dict())
    assert built.feature_info.get_dicts() == registered.feature_info.get_dicts()
    for key in ("input_size", "pool_size", "mean", "std", "first_conv", "architecture", "crop_pct", "interpolation"):
        assert built.pretrained_cfg[key] == registered.pretrained_cfg[key]
    images = torch.randn(1, 1, 67, 101)
    with torch.no_grad():
        maps = registered(images)
        assert all(torch.equal(a, b) for a, b in zip(built(images), maps, strict=True))
    assert [m.shape[-2:] for m in maps] == [(34, 51), (17, 26), (9, 13), (5, 7), (5, 7)]


def test_a_file_builds_the_classifier_too(tmp_path):
    path = tmp_path / "arch.yaml"
    write_arch(BY_NAME["fbnetv2_f0"], path)
    registered = timm.create_model("fbnetv2_f0", num_classes=7, drop_rate=0.3, drop_path_rate=0.2).eval()
    built = fbnet_from_arch(str(path), num_classes=7, drop_rate=0.3, drop_path_rate=0.2).eval()
    built.load_state_dict(registered.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(built(images), registered(images))
    assert (built.drop_rate, built.pretrained_cfg["classifier"]) == (0.3, "classifier")
    with pytest.raises(LightsegError, match=r"none\.yaml: cannot be read"):
        fbnet_from_arch(tmp_path / "none.yaml")


def test_an_architecture_of_fewer_maps():
    """What a search may find: it ends at stride 8, and its first map is the stem's."""
    arch = Arch("shallow", Stem(8), ((Block(3, 24, 16, 2),), (Skip(24, 2), Block(3, 48, 24))), ConvHead(32))
    net = fbnet_from_arch(arch, features_only=True)
    assert (net.feature_info.channels(), net.feature_info.reduction()) == ([8, 16, 24], [2, 4, 8])
    assert [tuple(m.shape[1:]) for m in net(torch.rand(1, 3, 32, 32))] == [(8, 16, 16), (16, 8, 8), (24, 4, 4)]
    assert levels(arch) == ((-1, 8, 2), (0, 16, 4), (1, 24, 8))
    with pytest.raises(LightsegError, match="stage 2, block 2: kernel 2 is even"):
        FBNet(replace(arch, stages=(arch.stages[0], (Skip(24, 2), Block(2, 48, 24)))))


@pytest.mark.parametrize("name", ["fbnet_b", "fbnetv2_f1"])
def test_the_interface_of_timm(name):
    net = timm.create_model(name, num_classes=10, in_chans=1).eval()
    images = torch.randn(2, 1, 64, 64)
    features = net.forward_features(images)
    assert features.shape == (2, net.num_features, 2, 2)
    assert torch.equal(net(images), net.forward_head(features))
    before = net.forward_head(features, pre_logits=True)
    assert before.shape == (2, net.head_hidden_size)
    torch.testing.assert_close(net(images), net.get_classifier()(before[..., None, None]).flatten(1))
    net.reset_classifier(0)
    assert torch.equal(net(images), before)
    net.reset_classifier(4)
    assert (net.num_classes, net(images).shape) == (4, (2, 4))
    assert timm.create_model(name, num_classes=0).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, net.head_hidden_size)


def test_a_linear_classifiers_weights_load():
    net, other = FBNet(BY_NAME["fbnetv2_f0"], num_classes=5), FBNet(BY_NAME["fbnetv2_f0"], num_classes=5)
    state = net.state_dict()
    flat = {**state, "classifier.weight": state["classifier.weight"].flatten(1)}
    other.load_state_dict(flat)
    assert torch.equal(other.classifier.weight, net.classifier.weight)
    assert flat["classifier.weight"].ndim == 2


def test_stochastic_depth_and_dropout():
    net = timm.create_model("fbnetv2_f4", drop_path_rate=0.2)
    blocks = blocks_of(net)
    rates = [(index, block.drop_path.drop_prob) for index, block in enumerate(blocks) if hasattr(block, "drop_path")]
    residual = [i for i, block in enumerate(blocks) if isinstance(block, InvertedResidual) and block.residual and i]
    assert rates == [(i, pytest.approx(0.2 * i / (len(blocks) - 1))) for i in residual]
    assert list(net.state_dict()) == list(timm.create_model("fbnetv2_f4").state_dict())
    images = torch.randn(4, 3, 64, 64)
    net.eval()
    assert torch.equal(net(images), net(images))
    head = FBNet(BY_NAME["fbnetv2_f1"], drop_rate=1.0)
    torch.testing.assert_close(head(images), head.classifier.bias.expand(4, -1))


def test_initialization():
    torch.manual_seed(0)
    net = FBNet(BY_NAME["fbnetv2_f1"], zero_init_last=True)
    for block in blocks_of(net):
        if isinstance(block, InvertedResidual):
            assert block.project.bn.weight.unique().tolist() == [0.0 if block.residual else 1.0]
            assert block.depthwise.bn.weight.unique().tolist() == [1.0]
    plain = FBNet(BY_NAME["fbnetv2_f1"])
    assert {block.project.bn.weight.min().item() for block in blocks_of(plain) if hasattr(block, "project")} == {1.0}
    assert plain.classifier.weight.std().item() == pytest.approx(0.01, rel=0.01)
    head = plain.head.conv.weight
    assert head.std().item() == pytest.approx((2 / head.shape[0]) ** 0.5, rel=0.01)
    assert all(not p.any() for key, p in plain.named_parameters() if key.endswith("bias"))


@pytest.mark.parametrize("name", ["fbnet_a", "fbnetv2_f0"])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=10).train()
    net(torch.randn(2, 3, 67, 101)).square().sum().backward()
    # A bias before a batch norm is taken out again by its mean: its gradient is rounding.
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fbnet_a", "fbnetv2_f0"])
def test_exports_with_a_batch_of_any_size(name):
    net = timm.create_model(name, num_classes=10).eval()
    randomize(net)
    shapes = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    exported = torch.export.export(net, (torch.randn(2, 3, 64, 96),), dynamic_shapes=shapes).module()
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(exported(images), net(images))
