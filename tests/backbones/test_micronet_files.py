"""MicroNet's released key names and files, its classifier, taps, gradients, export and initialization."""

import copy

import pytest
import timm
import torch
from torch import nn

from lightseg.backbones import micronet
from lightseg.backbones.micronet import MicroNet, is_official

NAMES = ["micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3"]


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


def released_keys_of_m0() -> dict[str, tuple[int, ...]]:
    """Names and shapes in the released file: layers counted as there, with empty places between."""
    keys: dict[str, tuple[int, ...]] = {}

    def conv(path: str, first: int, *shape: int) -> None:
        keys[f"{path}.{first}.weight"] = shape
        norm(f"{path}.{first + 1}", shape[0])

    def norm(path: str, channels: int) -> None:
        keys.update({f"{path}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        keys[f"{path}.num_batches_tracked"] = ()

    def linear(path: str, out: int, inp: int) -> None:
        keys.update({f"{path}.weight": (out, inp), f"{path}.bias": (out,)})

    def shift_max(path: str, squeeze: int, channels: int, k: int) -> None:
        linear(f"{path}.fc.0", squeeze, channels)
        linear(f"{path}.fc.2", 2 * k * channels, squeeze)

    conv("features.0.stem.0.conv", 0, 2, 3, 3, 1)
    conv("features.0.stem.0.conv", 2, 4, 1, 1, 3)
    for i, k, inp, out, act in ((1, 3, 4, 8, False), (2, 3, 8, 12, True), (3, 5, 12, 16, True)):
        path = f"features.{i}.layers"
        conv(f"{path}.0.conv", 0, 2 * inp, 1, k, 1)
        conv(f"{path}.0.conv", 2, 4 * inp, 1, 1, k)
        if act:
            shift_max(f"{path}.1", {32: 4, 48: 8}[4 * inp], 4 * inp, 2)
        conv(f"{path}.4.conv", 0, out, 4 * inp // (2 if i == 1 else 4), 1, 1)
        shift_max(f"{path}.5", 4, out, 1)
    for i, k, inp, out, g, inner, last in (
        (4, 5, 16, 32, 4, 8, 8),
        (5, 5, 32, 64, 8, 16, 16),
        (6, 3, 64, 96, 8, 16, 12),
    ):
        path, mid = f"features.{i}.layers", 4 * inp
        conv(f"{path}.0.conv", 0, mid, inp // g, 1, 1)
        shift_max(f"{path}.1", inner, mid, 2)
        conv(f"{path}.3.conv", 0, mid, 1, k, 1)
        conv(f"{path}.3.conv", 2, mid, 1, 1, k)
        shift_max(f"{path}.5", inner, mid, 2)
        conv(f"{path}.7.conv", 0, out, mid // g, 1, 1)
        shift_max(f"{path}.8", last, out, 1)
    conv("features.7.layers.0.conv", 0, 384, 8, 1, 1)
    shift_max("features.7.layers.1", 24, 384, 1)
    for i, inp, out in ((0, 384, 640), (2, 640, 1000)):
        linear(f"classifier.{i}.linear.0", out, inp)
        norm(f"classifier.{i}.linear.1", out)
    return keys


def test_names_order_and_shapes_are_the_released_ones():
    state = timm.create_model("micronet_m0").state_dict()
    assert [(key, tuple(tensor.shape)) for key, tensor in state.items()] == list(released_keys_of_m0().items())
    assert is_official(state) and not is_official(timm.create_model("mobilenetv3_small_100").state_dict())


@pytest.mark.parametrize(
    "options", [{}, {"num_classes": 10}, {"num_classes": 0}, {"in_chans": 1}, {"features_only": True}]
)
def test_a_released_file_loads_without_a_classifier_for_other_classes(options, tmp_path):
    torch.manual_seed(0)
    full = timm.create_model("micronet_m0").eval()
    randomize(full)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in full.state_dict().items()}}, tmp_path / "m0.pth"
    )
    net = timm.create_model(
        "micronet_m0", pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "m0.pth")}, **options
    ).eval()
    if options.get("in_chans") == 1:  # a gray image is three equal channels
        images = torch.randn(2, 1, 64, 64)
        color = images.expand(-1, 3, -1, -1)
    else:
        images = color = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        if options.get("features_only"):
            torch.testing.assert_close(net(images)[-1], full.features[:7](images))
        elif "num_classes" in options:
            torch.testing.assert_close(
                net.forward_head(net.forward_features(images), pre_logits=True),
                full.forward_head(full.forward_features(images), pre_logits=True),
            )
            assert net(images).shape == (2, options["num_classes"] or 640)
        else:
            torch.testing.assert_close(net(images), full(color))


def test_the_classifier_with_its_batch_norm_is_replaced():
    net = timm.create_model("micronet_m1", num_classes=7).eval()
    assert net(torch.randn(1, 3, 64, 64)).shape == (1, 7)  # a batch of one in evaluation
    net.reset_classifier(5)
    linear, norm, _ = net.get_classifier().linear
    assert linear.out_features == norm.num_features == net.num_classes == 5
    assert net.train()(torch.randn(2, 3, 64, 64)).shape == (2, 5)
    net.reset_classifier(0)
    assert net.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 960)


@pytest.mark.parametrize("name", NAMES)
def test_taps_are_the_last_maps_of_their_strides(name):
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    pyramid = timm.create_model(name, features_only=True).eval()
    pyramid.load_state_dict(
        {key.replace("features.", "features_", 1): value for key, value in net.state_dict().items()}, strict=False
    )
    channels = {
        "micronet_m0": [4, 8, 12, 32, 96],
        "micronet_m1": [6, 8, 16, 32, 96],
        "micronet_m2": [8, 12, 24, 64, 128],
        "micronet_m3": [12, 16, 24, 80, 144],
    }[name]
    images = torch.randn(1, 3, 67, 101)
    with torch.no_grad():
        maps = pyramid(images)
        torch.testing.assert_close(maps[-1], net.features[:-1](images))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, -(-67 // s), -(-101 // s)) for c, s in zip(channels, (2, 4, 8, 16, 32), strict=True)
    ]
    assert pyramid.feature_info.channels() == channels
    assert not any("classifier" in key or f"features_{len(net.features) - 1}." in key for key in pyramid.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_exports_with_any_batch(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=4, drop_rate=0.0)
    (net(torch.randn(4, 3, 64, 64)) * torch.randn(4, 4)).sum().backward()
    assert [key for key, p in net.named_parameters() if not p.grad.abs().sum() > 0] == []
    net.eval()
    randomize(net)
    program = torch.export.export(
        copy.deepcopy(net), (torch.randn(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    images = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images))


def test_initialization_is_that_of_the_released_code():
    torch.manual_seed(0)
    net = MicroNet(**micronet.VARIANTS["micronet_m3"])
    depthwise, pointwise = net.features[10].layers[3].conv[2], net.features[12].layers[0].conv[0]
    assert float(depthwise.weight.detach().std()) == pytest.approx((2 / (5 * 720)) ** 0.5, rel=0.05)
    assert float(pointwise.weight.detach().std()) == pytest.approx((2 / 864) ** 0.5, rel=0.05)
    linears = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert all(float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.2) for layer in linears)
    assert not any(layer.bias.any() for layer in linears)
