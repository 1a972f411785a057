"""The nets here have what timm's have: intermediate maps, checkpointing, no pooling, the width of the last features."""

import pytest
import timm
import torch

import lightseg.backbones  # noqa: F401
from lightseg.errors import LightsegError

NETS = ["squeezenet1_1", "shufflenetv1_g3_x0_25", "shufflenetv2_x0_5", "micronet_m0", "fbnet_a", "fbnetv2_f0"]


@pytest.mark.parametrize("name", NETS)
def test_intermediate_maps_are_those_of_features_only(name):
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    pyramid = timm.create_model(name, features_only=True).eval()
    aliases = {key.replace(".", "_"): value for key, value in net.state_dict().items()}
    pyramid.load_state_dict({key: aliases[key.replace(".", "_")] for key in pyramid.state_dict()})
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = pyramid(images)
        last, maps = net.forward_intermediates(images)
        assert torch.equal(last, net.forward_features(images))
        assert [m.shape for m in maps] == [m.shape for m in expected]
        assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
        deepest, first = expected[-1], expected[0]
        (only,) = net.forward_intermediates(images, 1, intermediates_only=True)
        assert torch.equal(only, deepest)
        stopped, (only,) = net.forward_intermediates(images, [0], stop_early=True)
        assert torch.equal(only, first) and torch.equal(stopped, first)


@pytest.mark.parametrize("name", NETS)
def test_checkpointing_changes_no_gradient(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3, drop_rate=0.0)
    images = torch.randn(2, 3, 64, 64)
    gradients = []
    for enabled in (False, True):
        net.set_grad_checkpointing(enabled)
        net.zero_grad()
        net(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", NETS)
def test_without_pooling_it_returns_the_last_map_and_with_it_the_hidden_features(name):
    net = timm.create_model(name, num_classes=0, global_pool="").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(images), net.forward_features(images))
        net.reset_classifier(0, "avg")
        assert net(images).shape == (2, net.head_hidden_size)
        net.reset_classifier(7)
        assert net(images).shape == (2, 7)
    with pytest.raises(LightsegError, match="give num_classes=0"):
        net.reset_classifier(7, "")
