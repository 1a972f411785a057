"""Weight files: every usual wrapping is read, the file of another net is an error, nothing is loaded in part."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from lightseg.backbones import create_backbone
from lightseg.backbones.weights import match_in_order
from lightseg.catalog.backbones import CATALOG
from lightseg.errors import LightsegError

SMALL = "mobilenetv3_small_050"


def timm_state(name: str) -> dict[str, torch.Tensor]:
    """The state of timm's classification net, with weights that differ from any initial ones."""
    state = timm.create_model(CATALOG[name].timm_name if name in CATALOG else name).state_dict()
    return {key: torch.rand_like(value) if value.is_floating_point() else value + 7 for key, value in state.items()}


@pytest.mark.parametrize("name", [SMALL, "efficientnet_lite0", "xception", "resnet18"])
def test_timms_own_layout(name, tmp_path):
    state = timm_state(name)
    save_file(state, tmp_path / "w.safetensors")
    loaded = create_backbone(name, pretrained=str(tmp_path / "w.safetensors")).net.state_dict()
    values = list(state.values())
    assert all(torch.equal(a, b) for a, b in zip(loaded.values(), values, strict=False))  # the classifier comes last
    assert len(values) - len(loaded) <= 8


WRAPPINGS = {
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "args": {"lr": 0.1}},
    "DataParallel": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "old batch norm": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    "a run": lambda state: {
        "state_dict": {
            "model.mean": torch.ones(3),
            **{f"model.backbone.net.{key}": value for key, value in state.items()},
        }
    },
}


def test_wrappings(tmp_path):
    pyramid = create_backbone(SMALL)
    state = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in pyramid.net.state_dict().items()}
    for wrapping, wrap in WRAPPINGS.items():
        torch.save(wrap(state), tmp_path / "w.pth")
        loaded = create_backbone(SMALL, pretrained=tmp_path / "w.pth").net.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items()), wrapping


@pytest.mark.parametrize("in_chans", [1, 4])
def test_other_input_channels(in_chans, tmp_path):
    state = timm_state(SMALL)
    torch.save(state, tmp_path / "w.pth")
    pyramid = create_backbone(SMALL, pretrained=tmp_path / "w.pth", in_chans=in_chans)
    rgb, ours = state["conv_stem.weight"], pyramid.net.conv_stem.weight
    expected = rgb.sum(1, keepdim=True) if in_chans == 1 else torch.cat([rgb, rgb[:, :1]], 1) * 3 / 4
    torch.testing.assert_close(ours.detach(), expected)


@pytest.mark.parametrize(
    ("of", "into", "why"),
    [
        ("mobilenetv3_small_075", SMALL, r"blocks.0.0.conv_pw.weight \(16, 16, 1, 1\) where .*, .* and \d+ more"),
        ("efficientnet_b1", "efficientnet_b0", "the net has no blocks."),  # deeper: it has all of b0's tensors
        ("efficientnet_b0", "efficientnet_b1", "it lacks blocks."),
        ("resnet18", "mobilenetv3_small", "it lacks conv_stem.weight"),
    ],
)
def test_the_file_of_another_net_is_an_error(of, into, why, tmp_path):
    torch.save(timm_state(of), tmp_path / "w.pth")
    with pytest.raises(LightsegError, match=f"w.pth does not hold weights of {into}: .*{why}"):
        create_backbone(into, pretrained=tmp_path / "w.pth")


def test_a_file_in_order_is_matched_by_kind_and_shape():
    target = {
        "conv.weight": torch.zeros(4, 3, 1, 1),
        "bn.weight": torch.zeros(4),
        "bn.num_batches_tracked": torch.tensor(0),
    }
    source = {"0.weight": torch.ones(4, 3, 1, 1), "1.weight": torch.ones(4), "fc.weight": torch.ones(10, 4)}
    assert match_in_order(source, target).keys() == {"conv.weight", "bn.weight"}
    for wrong, why in (
        ({"0.weight": torch.ones(4, 3, 1, 1)}, "has 1 tensors and the net 2, from bn.weight on"),
        ({"0.weight": torch.ones(4, 3, 1, 1), "0.bias": torch.ones(4)}, "where the net has bn.weight, it has 0.bias"),
        (
            {"0.weight": torch.ones(4, 3, 3, 3), "1.weight": torch.ones(4)},
            r"it has 0.weight \(4, 3, 3, 3\) where the net has \(4, 3, 1, 1\)",
        ),
    ):
        with pytest.raises(LightsegError, match=why):
            match_in_order(wrong, target)
