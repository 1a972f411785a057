"""timm's inverted-residual nets as tables of blocks: the same maps and logits with the same weights."""

import pytest
import timm
import torch
from torch import nn

from lightseg.backbones import create_backbone
from lightseg.backbones.block_table import block_table, main, timm_keys
from lightseg.backbones.fbnet import fbnet_from_arch
from lightseg.catalog.arch import Block, Conv, PoolHead, levels
from lightseg.catalog.arch_yaml import read_arch, write_arch
from lightseg.catalog.backbones import CATALOG
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, count_params
from lightseg.search.arch_space import scale_arch

NETS = ("mobilenetv3_small", "mobilenetv2")
MORE = ("mobilenetv3_large", "mobilenetv3_small_050", "mobilenetv3_large_reduced", "mnasnet_b1_050")


def randomized_norms(net: nn.Module) -> nn.Module:
    """Batch norms as after a training, so that none of their tensors can be left out."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.2), (module.running_mean, -0.2)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


@pytest.mark.parametrize("name", [*NETS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_the_table_computes_the_same_as_timms_net(name, tmp_path):
    torch.manual_seed(0)
    arch = block_table(name)
    write_arch(arch, tmp_path / "arch.yaml")
    assert read_arch(tmp_path / "arch.yaml") == arch
    theirs = randomized_norms(timm.create_model(CATALOG[name].timm_name, num_classes=7))
    ours = fbnet_from_arch(arch, num_classes=7).eval()
    state = theirs.state_dict()
    target = ours.state_dict()
    ours.load_state_dict(
        {k: state[n].reshape(target[k].shape) for k, n in timm_keys(target, arch, with_classifier=True).items()}
    )
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)
    shape = (1, 3, 64, 64)
    assert count_params(ours) == count_params(theirs) and count_madds(ours, shape) == count_madds(theirs, shape)
    # and as a pyramid, dilated
    theirs_maps = create_backbone(name, output_stride=16)
    ours_maps = create_backbone(arch, output_stride=16)
    assert ours_maps.stages == theirs_maps.stages
    assert (ours_maps.mean, ours_maps.std) == (theirs_maps.mean, theirs_maps.std)
    target = ours_maps.net.state_dict()
    ours_maps.net.load_state_dict({k: state[n] for k, n in timm_keys(target, arch, with_classifier=False).items()})
    theirs_maps.net.load_state_dict({k: state[k] for k in theirs_maps.net.state_dict()})
    with torch.no_grad():
        for ours_map, theirs_map in zip(ours_maps.eval()(images), theirs_maps.eval()(images), strict=True):
            torch.testing.assert_close(ours_map, theirs_map, atol=1e-5, rtol=1e-5)


def test_mobilenetv3_small_is_the_table_of_the_paper():
    arch = block_table("mobilenetv3_small")
    assert arch.stages[0] == (Block(3, 16, 16, 2, True),)
    assert arch.stages[2] == (
        Block(5, 96, 40, 2, True, "hswish"),
        Block(5, 240, 40, 1, True, "hswish"),
        Block(5, 240, 40, 1, True, "hswish"),
    )
    assert arch.stages[5] == (Conv(576, act="hswish"),) and arch.head == PoolHead(1024) and arch.se_relu
    assert [(level.channels, level.stride) for level in levels(arch)] == [
        (16, 2),
        (16, 4),
        (24, 8),
        (48, 16),
        (576, 32),
    ]


def test_a_net_of_an_arch_is_its_own_table():
    assert block_table("fbnet_c").name == "fbnet_c"


REFUSED = {
    "micronet_m3": "its body is not a stem and blocks",
    "mobilenetv1": "its blocks have an activation after the last convolution",
    "mnasnet_a1": "its squeeze-and-excitation is not that of MobileNetV3",
    "mobilenetv3_large_075": "it has TensorFlow's padding",
    "fbnetc_100": "its blocks keep a 1x1 convolution without expansion",
    "efficientnet_b0": "it has TensorFlow's padding",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_nets_are_an_error_of_one_line(name):
    with pytest.raises(LightsegError, match=f"^backbone {name} is no inverted-residual net .*{REFUSED[name]}") as error:
        block_table(name)
    assert "\n" not in str(error.value)


def test_a_table_is_printed_for_a_base_of_searches(tmp_path, capsys):
    assert main(["mobilenetv3_small"]) == 0
    (tmp_path / "small.yaml").write_text(capsys.readouterr().out)
    base = read_arch(tmp_path / "small.yaml")
    assert base == block_table("mobilenetv3_small")
    made = scale_arch(base, {"arch.width": 0.75, "arch.depth": 1.5, "arch.kernel": 3, "arch.expansion": 0.5})
    pyramid = create_backbone(made, output_stride=16).eval()
    with torch.no_grad():
        maps = pyramid(torch.zeros(1, 3, 64, 64))
    assert [(m.shape[1], 64 // m.shape[2]) for m in maps] == [tuple(stage) for stage in pyramid.stages]
    assert main(["micronet_m3"]) == 2 and capsys.readouterr().err.count("\n") == 1
