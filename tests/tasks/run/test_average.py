"""The moving average of weights, against its formula."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from tasks.run.callbacks import EMA


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight  # shared: averaged once


@pytest.mark.parametrize(("warmup", "decays"), [(True, (2 / 11, 3 / 12, 0.3)), (False, (0.3, 0.3, 0.3))])
def test_weights_and_buffers_are_averaged(warmup, decays):
    net, ema = Net(), EMA(0.3, warmup)
    ema.setup(None, net, "fit")  # type: ignore[arg-type]
    average: Any = ema._average_model
    places = {"weights": "first.weight", "statistics": "norm.running_mean"}
    expected: dict[str, torch.Tensor] = {}
    for step, decay in enumerate((0.0, *decays)):  # the first takes all of what is there
        with torch.no_grad():
            for tensor in (*net.parameters(), net.norm.running_mean, net.norm.num_batches_tracked):
                tensor.add_(step + 1)
        net.norm.running_var = torch.full((3,), float(step))  # another tensor in its place, as a layer may put there
        average.update_parameters(net)
        now = net.state_dict()
        for name in (*places.values(), "norm.running_var"):
            expected[name] = decay * expected.get(name, torch.zeros(())) + (1 - decay) * now[name]
            torch.testing.assert_close(average.module.state_dict()[name], expected[name])
        assert average.module.norm.num_batches_tracked == net.norm.num_batches_tracked
        assert average.module.second.weight is average.module.first.weight
        assert average.n_averaged == step + 1
    assert not torch.equal(expected["first.weight"], net.first.weight)
