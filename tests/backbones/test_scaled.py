"""EfficientNet by width and depth: the published nets are points of it, and a name is checked before torch is there."""

import subprocess
import sys

import pytest
import timm
import torch

from lightseg.backbones import create_backbone, create_classifier
from lightseg.backbones.build import published_preprocessing
from lightseg.catalog.backbones import is_known, unknown_message
from lightseg.catalog.scaling import compound, scaled_name
from lightseg.errors import LightsegError
from lightseg.model import create_model

# EfficientNet's released models (tensorflow/tpu, models/official/efficientnet): width and depth
PUBLISHED = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}


@pytest.mark.parametrize(
    "letter",
    [letter if letter in ("b0", "b2") else pytest.param(letter, marks=pytest.mark.slow) for letter in PUBLISHED],
)
def test_the_published_nets_are_special_cases(letter):
    width, depth = PUBLISHED[letter]
    with torch.device("meta"):
        ours = create_classifier(scaled_name(width, depth)).net
        theirs = timm.create_model(f"tf_efficientnet_{letter}")
    shapes = [{name: tuple(value.shape) for name, value in net.state_dict().items()} for net in (ours, theirs)]
    assert list(shapes[0]) == list(shapes[1]) and shapes[0] == shapes[1]
    assert str(ours) == str(theirs)  # paddings, epsilons, activations


@pytest.mark.parametrize(("name", "timms"), [("w1.0_d1.0", "b0"), ("w1.1_d1.2", "b2")])
def test_equal_weights_give_equal_outputs(name, timms):
    torch.manual_seed(0)
    theirs = timm.create_model(f"tf_efficientnet_{timms}").eval()
    ours = create_classifier(f"efficientnet_{name}").net.eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 67, 101)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.slow
def test_a_weight_file_of_b2_loads_by_name(tmp_path):
    theirs = timm.create_model("tf_efficientnet_b2")
    torch.save(theirs.state_dict(), tmp_path / "b2.pth")
    ours = create_classifier("efficientnet_w1.1_d1.2", pretrained=tmp_path / "b2.pth").net
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_it_is_a_backbone_like_any_other():
    pyramid = create_backbone("efficientnet_w0.5_d0.5", output_stride=16, in_chans=1, drop_path_rate=0.1)
    maps = pyramid(torch.randn(2, 1, 67, 101))
    assert [m.shape[1] for m in maps] == [stage.channels for stage in pyramid.stages]
    assert pyramid.output_stride == 16 and pyramid.name == "efficientnet_w0.5_d0.5"
    assert len(pyramid.mean) == 1
    model = create_model("efficientnet_w0.5_d0.5", "seg", num_classes=4)
    assert model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[1] == 4


def test_its_images_are_evaluated_as_b0s():
    assert published_preprocessing("efficientnet_w1.1_d1.2") == published_preprocessing("efficientnet_b0")


def test_it_has_no_weights_of_its_own():
    with pytest.raises(LightsegError, match=r"no weights for efficientnet_w1.0_d1.0: use efficientnet_b0"):
        create_classifier("efficientnet_w1.0_d1.0", pretrained=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet_w0_d1.0", "width must be above 0 and at most 8, not 0"),
        ("efficientnet_w1.1_d8.5", "depth must be above 0 and at most 8, not 8.5"),
        ("efficientnet_w1.1", "efficientnet_w1.1_d1.2"),
        ("efficientnet_w-1.0_d1.0", "efficientnet_w1.1_d1.2"),
    ],
)
def test_scales_that_make_no_net_are_refused(name, said):
    assert not is_known(name)
    assert said in unknown_message(name) and "\n" not in unknown_message(name)
    with pytest.raises(LightsegError, match=said):
        create_backbone(name)


def test_names_and_scales():
    assert (scaled_name(1, 2), scaled_name(1.1, 1e-5)) == ("efficientnet_w1.0_d2.0", "efficientnet_w1.1_d0.00001")
    assert compound(0) == (1.0, 1.0, 224)
    assert compound(1) == (1.1, 1.2, 256)  # 257.6 pixels
    assert compound(2) == (1.21, 1.44, 296)  # 296.24 pixels


def test_names_are_checked_without_torch():
    code = (
        "import sys; from lightseg.catalog import backbones as catalog; "
        "assert catalog.is_known('efficientnet_w1.1_d1.2'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
