"""ShuffleNetV2 against torchvision's, and against the authors' released net, re-implemented here."""

import json

import pytest
import timm
import torch
from torch import nn
from torchvision import models as tv

from lightseg.backbones.shufflenetv2 import VARIANTS, from_megvii, interleave, is_megvii
from lightseg.catalog.backbones import COUNTED
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, count_params
from tests.marks import slow_except

TORCHVISION = {
    "0_5": (tv.shufflenet_v2_x0_5, tv.ShuffleNet_V2_X0_5_Weights),
    "1_0": (tv.shufflenet_v2_x1_0, tv.ShuffleNet_V2_X1_0_Weights),
    "1_5": (tv.shufflenet_v2_x1_5, tv.ShuffleNet_V2_X1_5_Weights),
    "2_0": (tv.shufflenet_v2_x2_0, tv.ShuffleNet_V2_X2_0_Weights),
}
# The paper's Tables 5 and 8: channels of stages 2, 3, 4 and conv5; M multiply-adds; M parameters of the released nets.
PUBLISHED = {
    "0_5": (48, 96, 192, 1024, 41, 1.4),
    "1_0": (116, 232, 464, 1024, 146, 2.3),
    "1_5": (176, 352, 704, 1024, 299, 3.5),
    "2_0": (244, 488, 976, 2048, 591, 7.4),
}
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def randomize(net: nn.Module) -> None:
    """Weights and statistics with which activations neither vanish nor explode, and none is 0 or 1."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", TORCHVISION)
def test_it_equals_torchvisions(width):
    torch.manual_seed(0)
    build, weights = TORCHVISION[width]
    theirs = build(weights=None).eval()
    randomize(theirs)
    ours = timm.create_model(f"shufflenetv2_x{width}").eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    pyramid = timm.create_model(f"shufflenetv2_x{width}", features_only=True).eval()
    assert not pyramid.load_state_dict(theirs.state_dict(), strict=False).missing_keys
    expected = []
    for stage in (theirs.conv1, theirs.maxpool, theirs.stage2, theirs.stage3, theirs.stage4):
        stage.register_forward_hook(lambda _, __, out: expected.append(out.clone()))
    images = torch.randn(2, 3, 67, 101)
    with torch.no_grad():
        logits = theirs(images)
        assert torch.equal(ours(images), logits)
        assert all(torch.equal(a, b) for a, b in zip(pyramid(images), expected, strict=True))
        images = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(ours.to(memory_format=torch.channels_last)(images), logits, rtol=1e-5, atol=1e-4)
    published = weights.IMAGENET1K_V1
    assert (ours.pretrained_cfg["url"], ours.pretrained_cfg["license"]) == (published.url, "bsd-3-clause")
    assert count_params(ours) == published.meta["num_params"]


@pytest.mark.parametrize("width", slow_except(["0_5"], PUBLISHED))
def test_gradients_equal_torchvisions(width):
    torch.manual_seed(0)
    theirs = TORCHVISION[width][0](weights=None).train()
    ours = timm.create_model(f"shufflenetv2_x{width}").train()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for net in (theirs, ours):
        (net(images) * torch.linspace(-1, 1, 1000)).sum().backward()
    for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert b.grad.abs().sum() > 0, key
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_interleave(layout):
    a, b = torch.randn(2, 10, 5, 7)[:, 5:].to(memory_format=layout), torch.randn(2, 5, 5, 7).to(memory_format=layout)
    joined = interleave(a, b)
    assert all(torch.equal(joined[:, i], (a, b)[i % 2][:, i // 2]) for i in range(10))
    assert joined.is_contiguous(memory_format=layout)


# --- the released net, from its description -----------------------------------------------------------------------


def layers(*channels_and_groups: tuple[int, int, int, int, bool]) -> nn.Sequential:
    """(input, output, kernel size, stride, ReLU) of each convolution; those of 3 x 3 are depthwise."""
    modules: list[nn.Module] = []
    for before, after, size, stride, relu in channels_and_groups:
        groups = before if size == 3 and before == after else 1
        modules += [nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
        modules += [nn.ReLU()] if relu else []
    return nn.Sequential(*modules)


class MegviiUnit(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        entering, middle = (before if stride == 2 else before // 2), after // 2
        self.branch_main = layers(
            (entering, middle, 1, 1, True), (middle, middle, 3, stride, False), (middle, after - entering, 1, 1, True)
        )
        if stride == 2:
            self.branch_proj = layers((before, before, 3, 2, False), (before, before, 1, 1, True))

    def forward(self, x):
        if hasattr(self, "branch_proj"):
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        even = [c for c in range(x.shape[1]) if c % 2 == 0]
        odd = [c for c in range(x.shape[1]) if c % 2 == 1]
        return torch.cat([x[:, even], self.branch_main(x[:, odd])], 1)


class Megvii(nn.Module):
    def __init__(self, width: str) -> None:
        super().__init__()
        self.first_conv = layers((3, 24, 3, 2, True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        *stages, last, _, _ = PUBLISHED[width]
        units, before = [], 24
        for channels, count in zip(stages, (4, 8, 4), strict=True):
            for i in range(count):
                units.append(MegviiUnit(before, channels, 2 if i == 0 else 1))
                before = channels
        self.features = nn.Sequential(*units)
        self.conv_last = layers((before, last, 1, 1, True))
        self.classifier = nn.Sequential(nn.Linear(last, 1000, bias=False))

    def forward(self, x):
        """Returns the logits and the maps after every unit."""
        x = self.maxpool(self.first_conv(x))
        maps = []
        for unit in self.features:
            x = unit(x)
            maps.append(x)
        return self.classifier(self.conv_last(x).mean((2, 3))), maps


@pytest.mark.parametrize("width", slow_except(["0_5"], PUBLISHED))
def test_it_equals_the_released_net(width):
    torch.manual_seed(0)
    theirs = Megvii(width).eval()
    randomize(theirs)
    state = theirs.state_dict()
    assert is_megvii(state)
    ours = timm.create_model(f"shufflenetv2_x{width}_megvii").eval()
    ours.load_state_dict(from_megvii(state))
    pyramid = timm.create_model(f"shufflenetv2_x{width}_megvii", features_only=True).eval()
    assert not pyramid.load_state_dict(from_megvii(state), strict=False).missing_keys
    images = torch.randn(2, 3, 67, 101)
    with torch.no_grad():
        logits, maps = theirs(images)
        close(ours(images), logits)
        for ours_map, expected in zip(pyramid(images)[2:], (maps[3], maps[11], maps[15]), strict=True):
            close(ours_map, expected)
        torch.testing.assert_close(
            ours.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)),
            logits,
            rtol=1e-5,
            atol=1e-4,
        )
    assert count_params(ours) == count_params(theirs) + 1000  # the classifier's bias
    madds = count_madds(theirs, (1, 3, 224, 224))
    assert count_madds(ours, (1, 3, 224, 224)) == madds
    assert madds / 1e6 == pytest.approx(PUBLISHED[width][4], abs=0.55)
    assert count_params(theirs) / 1e6 == pytest.approx(PUBLISHED[width][5], abs=0.05)


def test_timm_loads_a_released_file(tmp_path):
    theirs = Megvii("1_0").eval()
    randomize(theirs)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    file = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(tmp_path / "w.pth")}}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits, maps = theirs(images)
        close(timm.create_model("shufflenetv2_x1_0_megvii", **file).eval()(images), logits)
        pyramid = timm.create_model("shufflenetv2_x1_0_megvii", features_only=True, **file).eval()
        close(pyramid(images)[-1], maps[-1])
    # 24 + 92 channels do not become 58 + 58: refused, and the message says what fits.
    with pytest.raises(LightsegError, match="_megvii"):
        timm.create_model("shufflenetv2_x1_0", **file)


def test_a_file_in_torchvisions_layout_is_not_converted(tmp_path):
    theirs = tv.shufflenet_v2_x0_5(weights=None).eval()
    randomize(theirs)
    assert not is_megvii(theirs.state_dict())
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    file = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(tmp_path / "w.pth")}}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(timm.create_model("shufflenetv2_x0_5", **file).eval()(images), theirs(images))
        ten = timm.create_model("shufflenetv2_x0_5", num_classes=10, in_chans=1, **file).eval()
    assert torch.equal(ten.conv5[0].weight, theirs.conv5[0].weight)


@pytest.mark.parametrize("width", VARIANTS)
def test_table_5(width):
    for name in (f"shufflenetv2_x{width}", f"shufflenetv2_x{width}_megvii"):
        net = timm.create_model(name).eval()
        *stages, last, madds, params = PUBLISHED[width]
        shapes = []
        for layer in (net.conv1, net.maxpool, net.stage2, net.stage3, net.stage4, net.conv5):
            layer.register_forward_hook(lambda _, __, out, shapes=shapes: shapes.append(tuple(out.shape[1:])))
        with torch.no_grad():
            net(torch.zeros(1, 3, 224, 224))
        sizes = (112, 56, 28, 14, 7, 7)
        assert shapes == [(c, s, s) for c, s in zip((24, 24, *stages, last), sizes, strict=True)]
        assert [len(stage) for stage in (net.stage2, net.stage3, net.stage4)] == [4, 8, 4]
        # torchvision's first unit makes its net up to 1.3 % smaller than the paper's.
        counts = json.loads(COUNTED.read_text(encoding="utf-8"))[name]  # as counted: tests/catalog/test_table.py
        assert counts["madds"] / 1e6 == pytest.approx(madds, rel=0.014)
        assert counts["params"] / 1e6 == pytest.approx(params, abs=0.05)


@pytest.mark.parametrize("name", ["shufflenetv2_x0_5", "shufflenetv2_x0_5_megvii"])
def test_the_interface_of_timm(name):
    pyramid = timm.create_model(name, features_only=True, in_chans=1).eval()
    maps = pyramid(torch.rand(2, 1, 67, 101))
    sizes = [(34, 51), (17, 26), (9, 13), (5, 7), (3, 4)]
    channels = pyramid.feature_info.channels()
    assert [tuple(m.shape[1:]) for m in maps] == [(c, *s) for c, s in zip(channels, sizes, strict=True)]
    assert pyramid.feature_info.reduction() == [2, 4, 8, 16, 32]
    for stride in (8, 16):
        dense = timm.create_model(name, features_only=True, output_stride=stride)
        assert [64 // m.shape[2] for m in dense(torch.rand(2, 3, 64, 64))] == [
            min(s, stride) for s in (2, 4, 8, 16, 32)
        ]

    net = timm.create_model(name, num_classes=10, drop_rate=0.5).train()
    images = torch.rand(2, 3, 67, 101)
    for layout in LAYOUTS:
        net.zero_grad()
        net.train()
        images = images.to(memory_format=layout)
        (net(images) * torch.arange(10.0)).sum().backward()
        assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    net.eval()
    pooled = net.forward_head(net.forward_features(images), pre_logits=True)
    assert pooled.shape == (2, net.num_features)
    assert net.get_classifier().weight.shape == (10, net.num_features)
    net.reset_classifier(0)
    assert torch.equal(net(images), pooled)
    net.reset_classifier(4)
    assert net(images).shape == (2, 4)
