"""Costs of small layers, counted by hand; measuring does not change the model."""

from itertools import pairwise

import torch
from torch import nn

from lightseg.profile import count_madds, count_params, measure_latency, peak_memory, profile_model
from lightseg.profile.cost import count_madds_and_memory
from lightseg.profile.machine import processor


class SmallNet(nn.Module):
    """Takes uint8 images, like a `Model`: convolution 3 -> 8, depthwise with stride 2, linear 8 -> 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)
        self.register_buffer("scale", torch.tensor(255.0), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(images.float() / self.scale))
        return self.fc(self.dropout(self.depthwise(x)).mean((2, 3)))


PARAMS = 3 * 8 * 9 + 2 * 8 + 8 * 9 + 8 + 8 * 5 + 5
MADDS = 3 * 8 * 9 * 16 * 32 + 8 * 9 * 8 * 16 + 8 * 5  # of one 16 x 32 image


def test_counts_by_hand():
    assert count_params(SmallNet()) == PARAMS
    assert count_madds(SmallNet(), (1, 3, 16, 32), torch.uint8) == MADDS
    assert count_madds(SmallNet(), (4, 3, 16, 32), torch.uint8) == 4 * MADDS


def test_shared_weights_count_once_and_run_twice():
    layer = nn.Linear(10, 10, bias=False)
    assert (count_params(nn.Sequential(layer, layer)), count_madds(nn.Sequential(layer, layer), (1, 10))) == (100, 200)


def test_memory_is_the_peak_of_a_forward_pass():
    def chain(*channels: int) -> nn.Module:
        return nn.Sequential(*[nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(channels)])

    weights, pixel = 4 * (2 * 8 + 8 * 64 + 64 * 4 + 4 * 2), 4 * 16 * 16
    # the caller holds the input; at the peak the maps of 8 and 64 channels are live too
    expected = weights + pixel * (2 + 8 + 64)
    assert peak_memory(chain(2, 8, 64, 4, 2), (1, 2, 16, 16)) == expected


def test_a_single_pass_counts_both():
    """Of operations that are made of others too, as an activation on the meta device."""
    net, shape = (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Hardswish(), nn.Conv2d(8, 4, 1)),
        (2, 3, 16, 24),
    )
    assert count_madds_and_memory(net, shape) == (count_madds(net, shape), peak_memory(net, shape))


def test_measuring_does_not_change_the_model():
    torch.manual_seed(0)
    module = SmallNet().train()
    module.norm.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    cost = profile_model(module, (16, 32), threads=1, runs=3)
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == threads
    assert module.training and module.dropout.training and not module.norm.training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(p.device.type == "cpu" and p.requires_grad for p in module.parameters())
    assert (cost["params"], cost["madds"]) == (PARAMS, MADDS)
    assert cost["latency_ms"] >= cost["measured"]["latency_min_ms"] > 0
    assert cost["measured"]["runs"] == 3 and cost["measured"]["threads"] == 1
    assert cost["measured"]["input"] == "1x3x16x32 uint8" and cost["measured"]["processor"] == processor()


def test_slow_models_are_timed_fewer_times(monkeypatch):
    monkeypatch.setattr("lightseg.timing.BUDGET_S", 1e-9)
    assert measure_latency(nn.Linear(2, 2), (1, 2), runs=50)["runs"] == 1
