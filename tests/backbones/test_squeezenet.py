"""SqueezeNet against torchvision, its bypasses against plain convolutions, and the published sizes."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from lightseg.backbones.squeezenet import BypassFire, Fire

NAMES = ["squeezenet1_0", "squeezenet1_1", "squeezenet1_0_simple_bypass", "squeezenet1_0_complex_bypass"]


def with_biases(net: nn.Module) -> nn.Module:
    """Biases are 0 at first, and would hide a lost one."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.bias, 0, 0.1)
    return net.eval()


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
@pytest.mark.parametrize("size", [(224, 224), (67, 101)])
def test_logits_are_torchvisions_to_the_bit(name, size):
    torch.manual_seed(0)
    theirs, ours = with_biases(models.get_model(name, weights=None)), timm.create_model(name).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_initialization_and_weights_are_torchvisions(name):
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None)
    ours = timm.create_model(name)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert float(a.detach().std()) == pytest.approx(float(b.detach().std()), rel=0.1)
    weights = models.get_model_weights(name).IMAGENET1K_V1
    assert (ours.pretrained_cfg["url"], ours.pretrained_cfg["license"]) == (weights.url, "bsd-3-clause")
    assert list(ours.pretrained_cfg["mean"]) == weights.transforms().mean


def bypassed(state: dict[str, torch.Tensor], x: torch.Tensor, kind: str) -> torch.Tensor:
    """SqueezeNet 1.0 with a bypass by plain convolutions: logits."""

    def conv(x, path, **options):
        return F.conv2d(x, state[f"{path}.weight"], state[f"{path}.bias"], **options)

    x = F.relu(conv(x, "features.0", stride=2))
    for fire, index in zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True):
        if fire in (2, 5, 9):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        path = f"features.{index}"
        s = F.relu(conv(x, f"{path}.squeeze"))
        out = torch.cat([F.relu(conv(s, f"{path}.expand1x1")), F.relu(conv(s, f"{path}.expand3x3", padding=1))], 1)
        if fire in (3, 5, 7, 9):
            out = out + x
        elif kind == "complex":
            out = out + conv(x, f"{path}.bypass")
        x = out
    return F.relu(conv(x, "classifier.1")).mean((2, 3))


@pytest.mark.parametrize("kind", ["simple", "complex"])
def test_a_bypass_equals_plain_convolutions(kind):
    torch.manual_seed(0)
    net = with_biases(timm.create_model(f"squeezenet1_0_{kind}_bypass"))
    images = torch.randn(2, 3, 97, 131)
    with torch.no_grad():
        logits, plain = net(images), bypassed(net.state_dict(), images, kind)
        torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)
        other = timm.create_model("squeezenet1_0").eval()  # the same tensors without bypass give something else
        other.load_state_dict({key: net.state_dict()[key] for key in other.state_dict()})
        assert (other(images) - plain).abs().max() > 0.01


def test_a_bypass_adds_its_convolutions_alone():
    plain, simple, complex_ = (
        set(timm.create_model(name).state_dict())
        for name in ("squeezenet1_0", "squeezenet1_0_simple_bypass", "squeezenet1_0_complex_bypass")
    )
    assert plain == simple
    extra = {f"features.{i}.bypass.{part}" for i in (3, 5, 8, 10) for part in ("weight", "bias")}
    assert complex_ - plain == extra and plain < complex_
    assert not any(isinstance(layer, BypassFire) for layer in timm.create_model("squeezenet1_0").modules())
    assert sum(isinstance(layer, Fire) for layer in timm.create_model("squeezenet1_1").modules()) == 8


@pytest.mark.parametrize(
    ("name", "params", "madds"),
    [
        ("squeezenet1_0", 1.248, 818.9),
        ("squeezenet1_1", 1.235, 349.2),
        ("squeezenet1_0_simple_bypass", 1.248, 818.9),
        ("squeezenet1_0_complex_bypass", 1.590, 1165.3),
    ],
)
def test_published_parameters_and_multiply_adds(name, params, madds):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net = timm.create_model(name).eval()
        assert net(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 3) == params
    assert round(counter.get_total_flops() / 2e6, 1) == madds


@pytest.mark.parametrize("name", NAMES)
def test_four_taps_end_at_stride_16(name):
    torch.manual_seed(0)
    net = with_biases(timm.create_model(name))
    pyramid = timm.create_model(name, features_only=True).eval()
    pyramid.load_state_dict(
        {key.replace(".", "_", 1): value for key, value in net.features.state_dict(prefix="features.").items()}
    )
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = pyramid(images)
        expected = [net.features[: int(level["module"].split(".")[1]) + 1](images) for level in net.feature_info]
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    fires = {"squeezenet1_1": ((64, 111), (128, 55), (256, 27), (512, 13))}
    sizes = fires.get(name, ((96, 109), (256, 54), (512, 27), (512, 13)))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in sizes]
    assert (pyramid.feature_info.channels(), pyramid.feature_info.reduction()) == ([c for c, _ in sizes], [2, 4, 8, 16])
    dilated = timm.create_model(name, features_only=True, output_stride=8, in_chans=1)
    assert dilated.feature_info.reduction() == [2, 4, 8, 8]
    assert dilated(torch.randn(1, 1, 67, 101))[-1].shape[1] == 512


def test_the_classifier_is_replaced_or_left_out():
    net = timm.create_model("squeezenet1_0_complex_bypass", num_classes=7).eval()
    images = torch.randn(1, 3, 67, 101)
    with torch.no_grad():
        assert net(images).shape == (1, 7)
        net.reset_classifier(5)
        assert net.get_classifier().out_channels == net.num_classes == net(images).shape[1] == 5
        pooled = net.forward_features(images).mean((2, 3))
        assert torch.equal(net.forward_head(net.forward_features(images), pre_logits=True), pooled)
        net.reset_classifier(0)
        assert torch.equal(net(images), pooled) and pooled.shape == (1, 512)
        assert timm.create_model("squeezenet1_1", num_classes=0)(images).shape == (1, 512)


@pytest.mark.parametrize("options", [{"num_classes": 10}, {"in_chans": 1}, {"features_only": True}])
def test_torchvisions_file_loads(options, tmp_path):
    theirs = with_biases(models.squeezenet1_1(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "tv.pth")
    overlay = {"file": str(tmp_path / "tv.pth")}
    net = timm.create_model("squeezenet1_1", pretrained=True, pretrained_cfg_overlay=overlay, **options).eval()
    images = torch.randn(2, 1, 64, 64) if "in_chans" in options else torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.features(images.expand(-1, 3, -1, -1))
        last = net(images)[-1] if "features_only" in options else net.forward_features(images)
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_1", "squeezenet1_0_complex_bypass"])
def test_it_trains_and_exports_with_any_batch(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=4)
    with_biases(net).train()
    nn.init.ones_(net.classifier[1].bias)  # its ReLU lets every class through
    (net(torch.randn(2, 3, 64, 64)) * torch.randn(2, 4)).sum().backward()
    assert [key for key, p in net.named_parameters() if not p.grad.abs().sum() > 0] == []
    net.eval()
    program = torch.export.export(
        copy.deepcopy(net), (torch.randn(2, 3, 67, 101),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    images = torch.randn(5, 3, 67, 101)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images))
