"""Costs by layer: by hand on small layers, against the counts of the catalog, and their sums."""

import json

import pytest
import timm
import torch
from torch import nn

from lightseg.catalog.backbones import CATALOG, COUNTED
from lightseg.model import create_model
from lightseg.profile import count_madds, count_params, count_shift_max
from lightseg.profile.layers import Layer, count_modules, time_layers
from lightseg.profile.stages import SUMMED, sum_stages
from tests.marks import slow_except

COUNTS = json.loads(COUNTED.read_text(encoding="utf-8"))
ROWS = [  # several of each family
    "mobilenetv1", "mobilenetv1_075", "mobilenetv1_050", "mobilenetv1_025", "mobilenetv2", "mobilenetv2_035",
    "mobilenetv2_140", "mobilenetv3_large", "mobilenetv3_large_075", "mobilenetv3_small", "mobilenetv3_small_050",
    "shufflenetv1_g1_x0_5", "shufflenetv1_g3_x1_0", "shufflenetv1_g8_x2_0", "shufflenetv2_x0_5", "shufflenetv2_x1_0",
    "shufflenetv2_x1_5", "mnasnet_a1", "efficientnet_b0", "efficientnet_lite0", "fbnet_a",
    "fbnetv2_f0", "fbnetv2_f1", "fbnetv2_f2", "micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3",
    "squeezenet1_0", "squeezenet1_1", "xception",
]  # fmt: skip
FAST = ("mobilenetv3_small_050", "shufflenetv2_x0_5", "micronet_m0", "squeezenet1_1")


def count_layers(module: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """The modules that compute or have parameters, in the order of execution."""
    return [layer for layer in count_modules(module, shape).values() if layer.computes or layer.params]


def costs_of(module: nn.Module, *shape: int) -> tuple[int, int, int]:
    (layer,) = count_layers(module, shape)
    return layer.madds, layer.activations, layer.mac


@pytest.mark.parametrize("name", slow_except(FAST, ROWS))
def test_layers_add_up_to_the_counts_of_the_catalog(name):
    row = CATALOG[name]
    with torch.device("meta"):
        net = timm.create_model(row.timm_name)
    layers = count_layers(net, (1, 3, row.resolution, row.resolution))
    assert sum(layer.params for layer in layers) == COUNTS[name]["params"]
    assert sum(layer.madds for layer in layers) == COUNTS[name]["madds"]
    with_shift_max = sum(layer.madds + layer.shift_max for layer in layers)
    assert with_shift_max == COUNTS[name].get("madds_shift_max", COUNTS[name]["madds"])


def test_at_least_thirty_rows_of_every_family():
    assert len(set(ROWS)) >= 30
    assert {CATALOG[name].family for name in ROWS} | {"efficientnetv2"} == {row.family for row in CATALOG.values()}


def test_memory_access_cost_by_hand():
    h, w = 6, 10
    # hw(c1 + c2) + k²c1c2/g; the bias is not counted
    assert costs_of(nn.Conv2d(4, 12, 1), 1, 4, h, w) == (h * w * 48, h * w * 12, h * w * (4 + 12) + 48)
    grouped = nn.Conv2d(4, 12, 3, padding=1, groups=2, bias=False)
    assert costs_of(grouped, 1, 4, h, w) == (h * w * 9 * 24, h * w * 12, h * w * (4 + 12) + 9 * 24)
    depthwise = nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8)
    out = 3 * 5  # positions of the output
    assert costs_of(depthwise, 1, 8, h, w) == (out * 25 * 8, out * 8, h * w * 8 + out * 8 + 25 * 8)
    assert costs_of(nn.Linear(7, 3), 2, 7) == (2 * 21, 2 * 3, 2 * (7 + 3) + 21)
    # two images read the weights once
    assert costs_of(nn.Conv2d(4, 12, 1), 2, 4, h, w) == (2 * h * w * 48, 2 * h * w * 12, 2 * h * w * 16 + 48)


def test_equal_channels_have_the_lowest_memory_access_cost():
    """The first guideline: for equal multiply-adds, hw(c1 + c2) + c1c2 is lowest where c1 = c2."""
    costs = [costs_of(nn.Conv2d(c, 4096 // c, 1), 1, c, 56, 56) for c in (64, 32, 16, 8)]
    assert len({madds for madds, _, _ in costs}) == 1
    assert [mac for _, _, mac in costs] == sorted(mac for _, _, mac in costs)


class Residual(nn.Module):
    """A convolution that runs twice, weights of two modules, and a matrix product outside of its children."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1, bias=False)
        self.tied = nn.Conv2d(4, 4, 1, bias=False)
        self.tied.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(3, 2)

    def forward(self, x):
        y = self.norm(self.conv(self.conv(x))) + self.tied(x)
        return y.flatten(2) @ y.flatten(2).transpose(1, 2)


def test_an_operation_counts_for_its_innermost_module():
    net = Residual()
    layers = {layer.name: layer for layer in count_layers(net, (1, 4, 5, 5))}
    assert {name: layer.madds for name, layer in layers.items()} == {
        "conv": 2 * 25 * 16, "tied": 25 * 16, "norm": 0, "": 4 * 25 * 4, "unused": 0,
    }  # fmt: skip
    assert {name: layer.params for name, layer in layers.items()} == {
        "conv": 16, "tied": 0, "norm": 8, "": 0, "unused": 8,
    }  # fmt: skip
    assert list(layers) == ["conv", "norm", "tied", "", "unused"]
    assert sum(layer.madds for layer in layers.values()) == count_madds(net, (1, 4, 5, 5))
    assert sum(layer.params for layer in layers.values()) == count_params(net)
    assert layers[""].mac == 2 * 4 * 25 + 16 and layers[""].output == [1, 4, 4]


@pytest.mark.parametrize(
    ("name", "task", "size"),
    [
        ("mobilenetv3_small_050", "seg", (64, 128)),
        ("shufflenetv2_x0_5", "det", (320, 320)),
        ("micronet_m0", "cls", (224, 224)),
    ],
)
def test_stages_and_layers_add_up_to_the_model(name, task, size):
    with torch.device("meta"):
        model = create_model(name, task, 7)
    modules = count_modules(model, (1, 3, *size), torch.uint8)
    stages = sum_stages(model, modules, size[0])
    for key in SUMMED:
        assert sum(stage[key] for stage in stages) == sum(getattr(layer, key) for layer in modules.values()), key
    assert sum(stage["params"] for stage in stages) == count_params(model)
    assert sum(stage["madds"] for stage in stages) == count_madds(model, (1, 3, *size), torch.uint8)
    if name == "micronet_m0":
        assert sum(stage["shift_max"] for stage in stages) == count_shift_max(model, (1, 3, *size), torch.uint8) > 0
    strides = [stage["stride"] for stage in stages if stage["stage"].startswith("stride")]
    assert strides == sorted(set(strides)) and strides[:3] == [2, 4, 8]


def test_attention_is_counted():
    with torch.device("meta"):
        net = timm.create_model("vit_tiny_patch16_224", img_size=64)
    layers = count_layers(net, (1, 3, 64, 64))
    assert sum(layer.madds for layer in layers) == count_madds(net, (1, 3, 64, 64))
    assert sum(layer.params for layer in layers) == count_params(net)


def test_every_module_is_timed_and_the_model_not_changed():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())).train()
    times = time_layers(net, torch.rand(1, 3, 8, 8), runs=2)
    assert list(times) == ["", "0", "1", "1.0", "1.1"] and all(ms > 0 for ms in times.values())
    assert net.training and net[1][0].num_batches_tracked == 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_failed_forward_leaves_no_hooks():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(RuntimeError):
        count_layers(net, (1, 5, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
