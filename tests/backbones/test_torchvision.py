"""torchvision's LR-ASPP backbone is an independent reference for dilation, taps and the conversion of weights."""

import pytest
import torch
from torchvision import models

from lightseg.backbones import create_backbone
from lightseg.backbones.weights import match_in_order


def randomise_statistics(module: torch.nn.Module) -> None:
    """Batch norm with other numbers than 0 and 1, without which a wrong epsilon or a swapped tensor could pass."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.normal_(layer.bias)


@pytest.mark.parametrize("size", [(64, 96), (97, 131)])
def test_mobilenetv3_large_equals_torchvision_to_the_bit(size):
    torch.manual_seed(0)
    reference = models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=19
    ).eval()
    randomise_statistics(reference)
    ours = create_backbone("mobilenetv3_large", output_stride=16, taps="first", dilate_strided=True, bn_eps=1e-3).eval()
    ours.net.load_state_dict(match_in_order(reference.state_dict(), ours.net.state_dict()), strict=False)
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        expected, maps = reference.backbone(images), ours(images)
    assert [s.channels for s in ours.stages] == [16, 24, 40, 80, 960]
    assert torch.equal(maps[2], expected["low"])
    assert torch.equal(maps[4], expected["high"])


def test_each_of_the_three_differences_matters():
    torch.manual_seed(0)
    reference = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    randomise_statistics(reference)
    images = torch.rand(1, 3, 64, 64)
    options = {"taps": "first", "dilate_strided": True, "bn_eps": 1e-3}
    for changed in ({"taps": "last"}, {"dilate_strided": False}, {"bn_eps": None}):
        ours = create_backbone("mobilenetv3_large", output_stride=16, **{**options, **changed}).eval()
        ours.net.load_state_dict(match_in_order(reference.state_dict(), ours.net.state_dict()), strict=False)
        with torch.no_grad():
            expected, maps = reference.backbone(images), ours(images)
        assert not (torch.equal(maps[2], expected["low"]) and torch.equal(maps[4], expected["high"])), changed


def test_a_torchvision_classifier_file_loads(tmp_path, caplog):
    reference = models.mobilenet_v3_small(weights=None).eval()
    randomise_statistics(reference)
    torch.save(reference.state_dict(), tmp_path / "tv.pth")
    ours = create_backbone("mobilenetv3_small", pretrained=tmp_path / "tv.pth", bn_eps=1e-3).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images)[-1], reference.features(images))
    assert "matched to mobilenetv3_small by order" in caplog.text
