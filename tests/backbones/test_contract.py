"""What every row of the catalog promises: declared stages are real at every output stride and image size; it trains."""

import copy
import math

import pytest
import timm
import torch

from lightseg.backbones import FeaturePyramid, Stage, create_backbone
from lightseg.backbones.dilation import DilatedAvgPool2d
from lightseg.catalog.backbones import CATALOG
from tests.backbones.kinds_of_layers import exported_kinds, kinds_of_layers
from tests.nets import LIGHTEST, PARAMS, every_backbone

# Created on the meta device where shapes alone are asked for: their weights take seconds to draw.
HEAVY = {name for name in CATALOG if PARAMS[name] > 20e6}


def test_the_fast_tests_have_a_net_of_every_family():
    assert {CATALOG[name].family: name for name in LIGHTEST.values()} == LIGHTEST
    assert set(LIGHTEST) == {row.family for row in CATALOG.values()}


def expected_sizes(name: str, pixels: int, output_stride: int) -> list[int]:
    """Of every map, along one side."""
    if name.startswith("squeezenet"):  # nothing pads; poolings round up
        sizes = [(pixels - (7 if "1_0" in name else 3)) // 2 + 1]
        for stride in (4, 8, 16):
            sizes.append(math.ceil((sizes[-1] - 3) / 2) + 1 if stride <= output_stride else sizes[-1] - 2)
        return sizes
    strides = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
    if name == "xception":  # neither of its first two 3 x 3 convolutions pads; its poolings do
        return [math.ceil(((pixels - 3) // 2 + 1 - 2) / (stride / 2)) for stride in strides]
    return [math.ceil(pixels / stride) for stride in strides]


def channels(pyramid: FeaturePyramid) -> list[int]:
    return [stage.channels for stage in pyramid.stages]


def randomize(module: torch.nn.Module) -> None:
    """Other statistics than 0 and 1, so that a lost buffer shows."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)


@pytest.mark.parametrize("name", every_backbone())
def test_declared_stages_are_real(name):
    for output_stride in (8, 16, 32):
        with torch.device("meta" if name in HEAVY else "cpu"), torch.no_grad():
            pyramid = create_backbone(name, output_stride=output_stride).eval()
            for size in ((67, 101), (64, 96)):
                maps = pyramid(torch.ones(1, 3, *size))
                sides = [expected_sizes(name, pixels, output_stride) for pixels in size]
                assert [tuple(m.shape[1:]) for m in maps] == list(zip(channels(pyramid), *sides, strict=True))
        assert isinstance(pyramid, FeaturePyramid) and isinstance(pyramid.stages[0], Stage)
        deepest = 16 if name.startswith("squeezenet") else 32
        assert [s.stride for s in pyramid.stages] == [min(s, output_stride) for s in (2, 4, 8, 16, 32) if s <= deepest]
        assert pyramid.output_stride == min(output_stride, deepest)
        config = timm.get_pretrained_cfg(CATALOG[name].timm_name)
        assert (pyramid.mean, pyramid.std, pyramid.name) == (tuple(config.mean), tuple(config.std), name)
    missing = kinds_of_layers(pyramid) - exported_kinds()  # of the last one, which has no dilation
    assert missing == set(), "add this net to EXPORTED of tests/backbones/kinds_of_layers.py"


@pytest.mark.parametrize("name", LIGHTEST.values())
def test_it_trains_and_its_state_moves_to_a_twin(name):
    torch.manual_seed(0)
    pyramid = create_backbone(name, output_stride=16).train()
    images = torch.randn(2, 3, 67, 101)
    maps = pyramid(images)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    without = [key for key, p in pyramid.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(m.isfinite().all() for m in maps)
    assert all(p.grad.isfinite().all() for p in pyramid.parameters())

    twin = create_backbone(name, output_stride=16).eval()
    assert not torch.equal(twin(images)[-1], pyramid.eval()(images)[-1])
    twin.load_state_dict(pyramid.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(twin(images), pyramid(images), strict=True))


@pytest.mark.parametrize(
    ("name", "taps"), [("mobilenetv3_small_050", "first"), pytest.param("xception", "last", marks=pytest.mark.slow)]
)
def test_copies_compiles_and_exports_to_the_same_maps(name, taps):
    pyramid = create_backbone(name, output_stride=16, taps=taps).eval()
    randomize(pyramid)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = pyramid(images)
        twin = copy.deepcopy(pyramid)
        next(pyramid.parameters()).zero_()  # a copy whose hooks still wrote to the original would now go wrong
        assert all(torch.equal(a, b) for a, b in zip(twin(images), expected, strict=True))
        traced = [torch.export.export(twin, (images,)).module()]
        if taps == "first":
            traced.append(torch.compile(twin, backend="eager"))
        for graph in traced:
            for a, b in zip(graph(images), expected, strict=True):
                torch.testing.assert_close(a, b)
        assert len(twin(images)) == len(expected)  # and the net still works after being traced


@pytest.mark.parametrize(
    "name",
    [
        *("mobilenetv3_small", "efficientnet_lite0", "efficientnetv2_b0", "fbnetc_100"),
        pytest.param("xception41", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_equals_timms_own_to_the_bit(name, output_stride):
    ours = create_backbone(name, output_stride=output_stride).eval()
    theirs = timm.create_model(CATALOG[name].timm_name, features_only=True, output_stride=output_stride).eval()
    randomize(ours)
    theirs.load_state_dict(ours.net.state_dict())
    images = torch.randn(1, 3, 67, 101)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(ours(images), theirs(images), strict=True))


@pytest.mark.parametrize(
    "name",
    [
        *("mobilenetv2_035", "shufflenetv1_g3_x0_25", "micronet_m0", "fbnetv2_f0"),
        pytest.param("xception", marks=pytest.mark.slow),
    ],
)
def test_dilated_maps_contain_the_strided_ones(name):
    """The à trous property: every other sample of the map at stride 16 is the map at stride 32. Padding differs, so
    they are compared in the middle, away from the borders."""
    torch.manual_seed(0)
    strided, dilated = create_backbone(name).eval(), create_backbone(name, output_stride=16).eval()
    randomize(strided)
    dilated.load_state_dict(strided.state_dict())
    images = torch.randn(1, 3, 512, 512)
    with torch.no_grad():
        coarse, fine = strided(images)[-1], dilated(images)[-1]
    inside = slice(coarse.shape[-1] // 2 - 1, coarse.shape[-1] // 2 + 1)
    torch.testing.assert_close(fine[..., ::2, ::2][..., inside, inside], coarse[..., inside, inside])


def test_a_dilated_average_pool_means_the_same_samples():
    pool = DilatedAvgPool2d((3, 3), (1, 1), (1, 1), (2, 2))
    x = torch.randn(2, 4, 17, 12)
    expected = torch.zeros_like(x)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for dy in (0, 2, 4):
        for dx in (0, 2, 4):
            expected += padded[:, :, dy : dy + 17, dx : dx + 12] / 9
    torch.testing.assert_close(pool(x), expected)


@pytest.mark.parametrize(
    ("name", "channels", "layer"),
    [
        ("mobilenetv3_large", 672, "blocks.5.0.bn1"),
        ("mobilenetv3_small", 288, "blocks.4.0.bn1"),
        ("mobilenetv3_large_reduced", 672, "blocks.5.0.bn1"),
        ("mobilenetv2", 576, "blocks.5.0.bn1"),
        ("efficientnet_lite0", 672, "blocks.5.0.bn1"),
        ("fbnetv2_f4", 624, None),
    ],
)
def test_expansion_taps(name, channels, layer):
    """SSDLite's C4: as wide as published, of the resolution before the stride, and the very map inside the block."""
    pyramid, plain = create_backbone(name, taps="expansion").eval(), create_backbone(name).eval()
    plain.load_state_dict(pyramid.state_dict())
    assert pyramid.stages[3] == (channels, 16)
    inside = []
    if layer:
        plain.net.get_submodule(layer).register_forward_hook(lambda *_: inside.append(_[2]))
    images = torch.randn(1, 3, 67, 101)
    with torch.no_grad():
        maps, plain_maps = pyramid(images), plain(images)
    assert tuple(maps[3].shape[1:]) == (channels, 5, 7)
    assert maps[3].min() >= -0.376  # after the activation: h-swish's minimum is -3/8
    assert all(torch.equal(maps[i], plain_maps[i]) for i in (0, 1, 2, 4))
    assert not layer or torch.equal(maps[3], inside[0])
    dilated = create_backbone(name, taps="expansion", output_stride=16)
    assert dilated.stages[3:] == ((channels, 16), (plain_maps[4].shape[1], 16))


def test_input_channels_and_their_statistics():
    for in_chans, mean in ((1, (0.4490,)), (4, (0.485, 0.456, 0.406, 0.485))):
        pyramid = create_backbone("mobilenetv3_small", in_chans=in_chans)
        assert pyramid(torch.rand(2, in_chans, 64, 64))[0].shape[1] == pyramid.stages[0].channels
        assert pyramid.mean == pytest.approx(mean)
        assert len(pyramid.std) == in_chans
    lite = create_backbone("efficientnet_lite0")
    assert lite.mean == lite.std == (0.5, 0.5, 0.5)


def test_options_reach_the_net():
    pyramid = create_backbone("efficientnet_b0", bn_eps=0.01, drop_path_rate=0.2)
    assert {layer.eps for layer in pyramid.modules() if isinstance(layer, torch.nn.BatchNorm2d)} == {0.01}
    assert any(type(layer).__name__ == "DropPath" for layer in pyramid.modules())
    assert pyramid.net.pretrained_cfg["architecture"] == "tf_efficientnet_b0"  # the catalog's name, not timm's


def test_any_timm_name_is_measured():
    resnet = create_backbone("resnet18", output_stride=8)
    assert resnet.stages == ((64, 2), (64, 4), (128, 8), (256, 8), (512, 8))
    assert [m.shape[-1] for m in resnet(torch.rand(1, 3, 96, 96))] == [48, 24, 12, 12, 12]
    swin = create_backbone("swin_tiny_patch4_window7_224").eval()
    assert [tuple(m.shape[1:]) for m in swin(torch.rand(1, 3, 224, 224))] == [
        (c, 224 // s, 224 // s) for c, s in swin.stages
    ]
