"""Magnitude pruning against a sort, alone and in training."""

import pytest
import torch
from torch import nn

from lightseg.compress.pruning import keep_pruned, layer_weights, prune, share_of_zeros
from lightseg.errors import LightsegError


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.LazyLinear(5)
    )


@pytest.fixture
def built(net: nn.Sequential) -> nn.Sequential:
    net(torch.rand(2, 3, 9, 9))
    return net


def test_each_layer_loses_its_smallest_weights(built):
    before = {name: weight.detach().clone() for name, weight in layer_weights(built).items()}
    untouched = {key: value.clone() for key, value in built.state_dict().items() if key not in before}
    assert list(before) == ["0.weight", "3.weight", "5.weight"]
    masks = prune(built, 0.67)
    for name, weight in layer_weights(built).items():
        count = round(0.67 * weight.numel())
        threshold = before[name].abs().flatten().sort().values[count]
        assert torch.equal(masks[name], before[name].abs() >= threshold)
        assert torch.equal(weight, before[name] * (before[name].abs() >= threshold))
        assert int((weight == 0).sum()) == count
    for key, value in untouched.items():
        assert torch.equal(built.state_dict()[key], value), key


def test_global_scope_has_a_threshold_relative_to_the_deviation_of_a_layer(built):
    with torch.no_grad():
        built[0].weight.mul_(10)  # the scale of a layer has no effect
        built[3].weight[:4] *= 0.01  # half of the weights of a layer are small
    relative = {name: w.detach().abs() / w.detach().square().mean().sqrt() for name, w in layer_weights(built).items()}
    ordered = torch.cat([values.flatten() for values in relative.values()]).sort().values
    threshold = ordered[round(0.5 * len(ordered))]
    masks = prune(built, 0.5, "global")
    assert all(torch.equal(mask, relative[name] >= threshold) for name, mask in masks.items())
    assert share_of_zeros(built) == pytest.approx(0.5, abs=1 / len(ordered))
    assert not masks["3.weight"][:4].any() and masks["0.weight"].float().mean() > 0.4


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruning_is_idempotent(built, scope):
    first = prune(built, 0.6, scope)
    again = prune(built, 0.6, scope)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_pruned_weights_stay_zero_in_training(built, optimizer):
    masks = prune(built, 0.67)
    kept = {name: weight.detach().clone() for name, weight in layer_weights(built).items()}
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    steps = getattr(torch.optim, optimizer)(built.parameters(), lr=1e-2, weight_decay=0.1, **options)
    for _ in range(5):
        loss = built(torch.rand(4, 3, 9, 9)).square().sum()
        steps.zero_grad()
        loss.backward()
        steps.step()
        keep_pruned(built, masks)
    for name, weight in layer_weights(built).items():
        assert not weight[~masks[name]].any()
        assert (weight[masks[name]] != kept[name][masks[name]]).float().mean() > 0.9, "the others are trained"


@pytest.mark.parametrize(
    ("sparsity", "scope", "message"),
    [
        (1.0, "layer", "from 0 to below 1"),
        (-0.1, "layer", "from 0 to below 1"),
        (float("nan"), "layer", "from 0 to below 1"),
        (0.5, "layers", "did you mean layer?"),
        (0.9999, "layer", "leaves no weights of 0.weight"),
    ],
)
def test_invalid_arguments_are_an_error_and_change_nothing(built, sparsity, scope, message):
    before = built[0].weight.detach().clone()
    with pytest.raises(LightsegError, match=message.replace("?", r"\?")):
        prune(built, sparsity, scope)
    assert torch.equal(built[0].weight, before)
