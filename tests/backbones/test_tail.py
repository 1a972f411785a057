"""Tap `projection`: the deepest map without the 1x1 convolution that ends MobileNetV3's blocks, also with weights."""

import pytest
import torch

from lightseg.backbones import create_backbone
from lightseg.model import create_model
from lightseg.profile.cost import count_params


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    [
        ("mobilenetv3_large", 160, 160 * 960 + 2 * 960),
        ("mobilenetv3_small", 96, 96 * 576 + 2 * 576),
        ("mobilenetv3_large_150d", 240, 240 * 1440 + 1440 * 1440 + 4 * 1440),  # two of them
        ("mobilenetv4_conv_small", 128, 128 * 960 + 2 * 960),
    ],
)
def test_the_tail_is_not_built(name, channels, parameters):
    last, projection = create_backbone(name).eval(), create_backbone(name, taps="projection").eval()
    assert projection.stages[-1] == (channels, 32) and projection.stages[:-1] == last.stages[:-1]
    assert count_params(last) - count_params(projection) == parameters
    projection.load_state_dict({key: last.state_dict()[key] for key in projection.state_dict()})
    images = torch.rand(1, 3, 64, 96)
    seen: list[torch.Tensor] = []
    blocks = last.net.blocks
    stage = next(i for i, part in reversed(list(enumerate(blocks))) if type(part[-1]).__name__ != "ConvBnAct")
    blocks[stage].register_forward_hook(lambda layer, inputs, output: seen.append(output))
    with torch.no_grad():
        maps, expected = projection(images), last(images)
    assert maps[-1].shape == (1, channels, 2, 3)
    torch.testing.assert_close(maps, [*expected[:-1], *seen])


@pytest.mark.parametrize("name", ["mobilenetv2_035", "efficientnetv2_b0", "shufflenetv2_x0_5", "squeezenet1_1"])
def test_other_nets_are_unchanged(name):
    last, projection = create_backbone(name), create_backbone(name, taps="projection")
    assert projection.stages == last.stages and list(projection.state_dict()) == list(last.state_dict())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated(output_stride):
    pyramid = create_backbone("mobilenetv3_small_050", taps="projection", output_stride=output_stride)
    assert pyramid.stages[-1] == (48, output_stride)


def test_weights_with_and_without_the_tail(tmp_path):
    """Those of the classifier, and those of a run whose head did without it."""
    whole = create_model("mobilenetv3_small_050", "cls", 3)
    torch.save(whole.backbone.net.state_dict(), tmp_path / "whole.pth")
    model = create_model("mobilenetv3_small_050", "seg", 3, head={"name": "mobileseg"})
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "run.ckpt")
    for file, source in (("whole.pth", whole), ("run.ckpt", model)):
        again = create_model(
            "mobilenetv3_small_050", "seg", 3, head={"name": "mobileseg"}, pretrained=str(tmp_path / file)
        )
        expected = source.backbone.net.state_dict()
        assert all(value.equal(expected[key]) for key, value in again.backbone.net.state_dict().items())
    assert all(value.equal(model.head.state_dict()[key]) for key, value in again.head.state_dict().items())
