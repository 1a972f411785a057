"""Costs of the nets of a super-network, against the counts of the nets."""

import json
import random
from itertools import product

import pytest
import torch

from lightseg.backbones import create_backbone
from lightseg.backbones.supernet.gumbel import decisions, sample_choices
from lightseg.backbones.supernet.supernet import create_supernet
from lightseg.catalog.spaces import parse_space
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, count_params
from lightseg.search.dmasking import latency_table
from lightseg.search.dmasking.cost import Costs
from lightseg.search.dmasking.derive import choose, derive_arch
from tests.search.tiny_space import TINY, set_choices

SIZE = (96, 160)


def net_of(text=TINY, output_stride=32):
    return create_supernet(parse_space(text, "tiny.yaml"), output_stride=output_stride).net


@pytest.mark.parametrize("output_stride", [16, 32])
def test_one_hot_costs_equal_the_counts_of_the_net(output_stride):
    net, dice = net_of(output_stride=output_stride), random.Random(0)
    madds, params = (Costs(net, SIZE, metric) for metric in ("madds", "params"))
    for _ in range(3):
        choices = {name: dice.randrange(len(decision)) for name, decision in decisions(net).items()}
        set_choices(net, choices)
        backbone = create_backbone(arch := derive_arch(net, choices), output_stride=output_stride)
        shape = (1, 3, *(round(side * arch.input_size / 96) for side in SIZE))
        assert madds.cost_of(choices) == pytest.approx(count_madds(backbone, shape), rel=1e-6)
        assert params.cost_of(choices) == pytest.approx(count_params(backbone), rel=1e-6)
        for costs in (madds, params):
            assert float(costs.expected()) == pytest.approx(costs.cost_of(choices), rel=1e-6)


SMALL = """\
name: small
divisor: 4
input_sizes: [64, 96]
stem: {out: [4, 8]}
stages:
- - {out: [8, 12], expand: [1, 2], stride: 2}
  - {out: [8, 12], expand: [1, 3], kernel: [3, 5], skip: true}
head: {kind: conv, out: 32}
"""


def test_expected_cost_and_extremes_equal_those_over_all_nets():
    net = net_of(SMALL).train()
    sample_choices(net, 1.0, torch.Generator().manual_seed(0))
    costs, named = Costs(net, SIZE, "madds"), decisions(net)
    mean, all_costs = 0.0, []
    for indexes in product(*(range(len(decision)) for decision in named.values())):
        weights = [float(decision.sampled[i]) for decision, i in zip(named.values(), indexes, strict=True)]
        all_costs.append(costs.cost_of(dict(zip(named, indexes, strict=True))))
        mean += float(torch.tensor(weights).double().prod()) * all_costs[-1]
    assert float(costs.expected()) == pytest.approx(mean, rel=1e-5)
    assert costs.extremes() == pytest.approx((min(all_costs), max(all_costs)), rel=1e-6)


def test_the_chosen_net_is_the_likeliest_or_within_the_target():
    net, dice = net_of(), random.Random(0)
    for decision in decisions(net).values():  # a clear likeliest choice, the others differ little
        likely = dice.randrange(len(decision))
        decision.alpha.copy_(torch.tensor([3.0 * (i == likely) + dice.random() for i in range(len(decision))]))
    costs = Costs(net, SIZE, "madds")
    likeliest = {name: decision.index for name, decision in decisions(net).items()}
    assert choose(net, costs, 1e12) == likeliest
    cheapest, _ = costs.extremes()
    for target in (0.8 * costs.cost_of(likeliest), 0.5 * costs.cost_of(likeliest)):
        assert cheapest < costs.cost_of(choose(net, costs, target)) <= target
    changed = {
        name for name, index in choose(net, costs, 0.9 * costs.cost_of(likeliest)).items() if likeliest[name] != index
    }
    assert 0 < len(changed) < len(likeliest) / 2  # other decisions are unchanged
    for decision in decisions(net).values():
        decision.alpha.zero_()
    target = 3 * costs.cost_of({})  # of the first choices; all are equally likely
    assert 0.9 * target < costs.cost_of(choose(net, costs, target)) <= target


def test_a_target_below_the_space_is_an_error_with_its_range():
    costs = Costs(net_of(), SIZE, "madds")
    cheapest, dearest = costs.extremes()
    with pytest.raises(LightsegError) as error:
        costs.check_target(cheapest * 0.99, "tiny")
    assert f"{cheapest / 1e6:.3f} M" in str(error.value) and f"{dearest / 1e6:.3f} M" in str(error.value)
    costs.check_target(cheapest * 1.01, "tiny")


def test_latency_is_measured_once_and_saved(tmp_path, monkeypatch):
    """Latency is replaced by multiply-adds, which the table must then reproduce."""
    monkeypatch.setattr(latency_table, "measure_latency", lambda m, shape, runs: {"latency_ms": count_madds(m, shape)})
    net, path = net_of(SMALL), tmp_path / "table.json"
    table = latency_table.read_or_measure(net, SIZE, path)
    ms, madds = Costs(net, SIZE, "latency_ms", table), Costs(net, SIZE, "madds")
    dice = random.Random(1)
    for _ in range(5):
        choices = {name: dice.randrange(len(decision)) for name, decision in decisions(net).items()}
        assert ms.cost_of(choices) == pytest.approx(madds.cost_of(choices), rel=1e-4)
    monkeypatch.setattr(latency_table, "measure", None)
    again = Costs(net, SIZE, "latency_ms", latency_table.read_or_measure(net, SIZE, path))
    assert again.cost_of(choices) == ms.cost_of(choices)
    for size, text, message in (((64, 64), SMALL, "96x160"), (SIZE, SMALL.replace("12", "16"), "not small")):
        with pytest.raises(LightsegError, match=message):
            latency_table.read_or_measure(net_of(text), size, path)
    content = json.loads(path.read_text())
    for broken, message in (
        ({**content, "metric": "madds"}, "is of metric madds, not latency_ms"),
        ({**content, "entries": {}}, "damaged"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(LightsegError, match=message):
            latency_table.read_or_measure(net, SIZE, path)


def test_measured_latencies_are_positive(tmp_path, monkeypatch):
    monkeypatch.setattr(latency_table, "RUNS", 1)
    net = net_of(SMALL)
    costs = Costs(net, SIZE, "latency_ms", latency_table.read_or_measure(net, SIZE, tmp_path / "ms.json"))
    assert 0 < costs.extremes()[0] <= costs.extremes()[1]
