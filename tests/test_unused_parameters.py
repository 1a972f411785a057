"""Parameters without a gradient, which DistributedDataParallel would wait for."""

import pytest
import torch
from torch import nn

from lightseg.model import create_model
from lightseg.unused_parameters import unused_parameters


@pytest.mark.parametrize("task", ["seg", pytest.param("det", marks=pytest.mark.slow)])
def test_they_are_those_without_a_gradient_after_a_real_step(task):
    model = create_model("hrnet_w18_small", task, 3)
    names = unused_parameters(model, (64, 64))
    assert names or task != "seg"
    outputs = model.train()(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    tensors = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs.values())
    sum(tensor.sum() for tensor in tensors if tensor.requires_grad).backward()
    assert names == [name for name, p in model.named_parameters() if p.grad is None]


def test_a_layer_that_is_not_called_is_unused_and_a_frozen_one_is_not_listed():
    model = create_model("mobilenetv3_small_050", "cls", 3).eval()
    assert unused_parameters(model, (64, 64)) == []
    assert not model.training
    model.extra = nn.Linear(2, 2, bias=False)
    assert unused_parameters(model, (64, 64)) == ["extra.weight"]
    model.extra.requires_grad_(False)
    assert unused_parameters(model, (64, 64)) == []
