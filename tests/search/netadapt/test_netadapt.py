"""NetAdapt: widths, costs, channel selection, proposals and the choice among them."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, IRPoolHead, PoolHead, Skip, Stem
from lightseg.errors import LightsegError
from lightseg.model import create_model
from lightseg.profile import count_madds
from lightseg.search.netadapt.channel_graph import adjustable_widths, narrowest, trace_channels, with_widths
from lightseg.search.netadapt.channel_selection import (
    Axes,
    arch_of,
    build_model,
    select_channels,
    sizes,
    to_block_table,
)
from lightseg.search.netadapt.cost import Latency, Madds
from lightseg.search.netadapt.proposals import check_target, child, choose, proposals, ratio

SMALL = Arch(
    "small",
    Stem(16, "hswish"),
    (
        (Block(3, 16, 16, se=True),),  # joined to the stem by its residual
        (Block(3, 48, 24, 2), Block(3, 72, 24), Skip(24)),
        (Block(5, 96, 40, 2, True, "hswish"), Block(5, 120, 40, 1, True, "hswish"), Skip(48)),
        (Block(5, 144, 56, 2), Conv(96, act="hswish")),
    ),
    PoolHead(64),
    input_size=64,
    se_relu=True,
)
SIZE = (64, 96)


def model_of(arch: Arch = SMALL, task: str = "seg", **options):
    """A model with random batch norms, so that all channels differ."""
    torch.manual_seed(0)
    spec = {"backbone": arch.name, "task": task, "num_classes": 5, "output_stride": 16 if task == "seg" else 32}
    model = build_model({**create_model("mobilenetv3_small", **{k: v for k, v in spec.items() if k != "backbone"}).spec,
                   **options}, arch)  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.8)
            module.running_mean.uniform_(-0.2, 0.8)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def test_widths_are_expansions_and_bottlenecks_joined_by_residuals():
    graph = trace_channels(SMALL)
    assert graph.sizes == {
        "stem": 16,
        "stage 2, block 1: expansion": 48,
        "stage 2, block 1: bottleneck": 24,
        "stage 2, block 2: expansion": 72,
        "stage 3, block 1: expansion": 96,
        "stage 3, block 1: bottleneck": 40,
        "stage 3, block 2: expansion": 120,
        "stage 3, block 3: bottleneck": 48,
        "stage 4, block 1: expansion": 144,
        "stage 4, block 1: bottleneck": 56,
        "stage 4, block 2: 1x1 convolution": 96,
    }
    narrow = with_widths(SMALL, {"stage 2, block 1: bottleneck": 16})
    assert narrow.stages[1] == (Block(3, 48, 16, 2), Block(3, 72, 16), Skip(16))
    assert with_widths(SMALL, {"stem": 8}).stages[0] == (Block(3, 8, 8, se=True),)
    assert "stem" in adjustable_widths(SMALL)
    plain = replace(SMALL, stages=((Block(3, 16, 24, 2),), *SMALL.stages[2:]))
    assert "stem" not in adjustable_widths(plain)  # no residual joins it


def test_a_width_that_would_change_the_layers_is_refused():
    assert with_widths(SMALL, {"stage 3, block 1: bottleneck": 48}) is None  # the next skip would become an identity
    assert with_widths(SMALL, {"stage 2, block 2: expansion": 24}) is None  # it would expand nothing
    grouped = replace(SMALL, stages=((Block(3, 16, 16, groups=2),), *SMALL.stages[1:]))
    assert "stem" not in adjustable_widths(grouped)
    assert trace_channels(narrowest(SMALL)).blocks == trace_channels(SMALL).blocks
    assert max(adjustable_widths(narrowest(SMALL)).values()) <= 16


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_costs_equal_the_counts_of_the_nets(task):
    model = model_of(task=task, **({"head": {"name": "native"}} if task == "cls" else {}))
    cost = Madds(model, SIZE)
    assert cost(SMALL) == count_madds(model, (1, 3, *SIZE), torch.uint8)
    rng = random.Random(0)
    for _ in range(4):
        sizes = {label: rng.randrange(8, size + 1, 8) for label, size in adjustable_widths(SMALL).items()}
        arch = with_widths(SMALL, {label: size - 1 for label, size in sizes.items()})  # no new residual
        if arch is not None:
            assert cost(arch) == count_madds(build_model(model.spec, arch), (1, 3, *SIZE), torch.uint8)


def test_each_proposal_reduces_the_cost_by_delta_and_is_the_widest_to_do_so():
    cost = Madds(model_of(), SIZE)
    now, delta = cost(SMALL), 0.04 * cost(SMALL)
    all_proposals = proposals(SMALL, cost, delta, 0.0)
    labels = [proposal.label for proposal in all_proposals]
    assert len(labels) >= 4 and labels == [label for label in adjustable_widths(SMALL) if label in labels]
    for proposal in all_proposals:
        assert proposal.cost == cost(proposal.arch) <= now - delta
        wider = [with_widths(SMALL, {proposal.label: size}) for size in range(proposal.after + 8, proposal.before, 8)]
        assert all(cost(arch) > now - delta for arch in wider if arch is not None)
    # the last step may fall by less than delta; where no width reaches delta, each is reduced as far as possible
    near = proposals(SMALL, cost, delta, 0.99 * now)
    assert max(proposal.cost for proposal in near) > now - delta
    assert all(proposal.cost <= 0.99 * now for proposal in near)
    furthest = proposals(SMALL, cost, 0.9 * now, 0.0)
    assert {proposal.label: proposal.after for proposal in furthest}["stage 4, block 2: 1x1 convolution"] == 8


def test_the_choice_is_accuracy_over_cost():
    before = (0.50, 100.0)
    candidates = [(0.49, 98.0), (0.48, 90.0), (0.47, 97.0), (0.48, 90.0)]
    assert [ratio(before, candidate) for candidate in candidates[:2]] == pytest.approx([-0.005, -0.002])
    assert choose(before, candidates) == 1
    assert choose(before, [(0.52, 90.0), (0.51, 99.0)]) == 1  # accuracy gained for little cost


def test_channels_with_the_largest_filters_are_kept():
    model = model_of()
    model.backbone.net.stages_1[1].expand.conv.weight.data[5] *= 100  # of 72
    model.backbone.net.stages_1[1].expand.bn.weight.data[7] = 1e3  # large once the batch norm is folded in
    arch = with_widths(SMALL, {"stage 2, block 2: expansion": 8})
    small = select_channels(model, arch)
    ours, theirs = small.backbone.net.stages_1[1], model.backbone.net.stages_1[1]
    filters, norm = theirs.expand.conv.weight, theirs.expand.bn
    power = filters.square().sum((1, 2, 3)) * norm.weight.square() / (norm.running_var + norm.eps)
    kept = power.argsort(descending=True)[:8].sort().values
    assert {5, 7} <= set(kept.tolist())
    assert torch.equal(ours.expand.conv.weight, theirs.expand.conv.weight[kept])
    assert torch.equal(ours.depthwise.bn.running_mean, theirs.depthwise.bn.running_mean[kept])
    assert torch.equal(ours.project.conv.weight, theirs.project.conv.weight[:, kept])


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_removing_zero_channels_does_not_change_predictions(task):
    """All kinds of widths at once, with the head's inputs. The removed channels have filters of zero."""
    model = model_of(task=task, **({"head": {"name": "native"}} if task == "cls" else {}))
    axes = Axes(model)
    narrower = {label: size - 8 for label, size in adjustable_widths(SMALL).items() if size > 16}
    arch = with_widths(SMALL, narrower)
    after, state = sizes(arch), model.state_dict()
    for key, tensor in state.items():
        for dim, label in enumerate(axes.of(key)[: tensor.ndim]):
            if label and after[label] < sizes(SMALL)[label] and dim == 0 and not key.endswith("running_var"):
                tensor[after[label] :] = 0.0  # the last channels; batch norm keeps them at zero
    small = select_channels(model, arch, axes)
    assert small.spec["arch"] != model.spec["arch"] and arch_of(small) == arch
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(small(images), model(images), atol=1e-4, rtol=1e-4)


def test_the_block_table_of_timms_model_gives_equal_predictions():
    torch.manual_seed(0)
    model = create_model("mobilenetv3_small", "seg", 4).eval()
    table = to_block_table(model)
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(table(images), model(images), atol=1e-5, rtol=1e-5)
    assert to_block_table(table) is table


def test_an_unreachable_target_is_an_error_with_the_minimum():
    cost = Madds(model_of(), SIZE)
    min_fraction = cost(narrowest(SMALL)) / cost(SMALL)
    check_target(SMALL, min_fraction, cost, "multiply-adds")
    with pytest.raises(
        LightsegError, match=rf"search.target=0.01 cannot be reached: .* has {min_fraction:.3f} of the multiply"
    ):
        check_target(SMALL, 0.01, cost, "multiply-adds")


def test_costs_of_children_are_within_delta_below_the_target():
    cost = Madds(model_of(), SIZE)
    full = cost(SMALL)
    children = [child(SMALL, SMALL, cost, 0.6 * full, 0.05 * full, random.Random(seed)) for seed in range(5)]
    assert all(0.55 * full <= cost(arch) <= 0.6 * full for arch in children) and len(set(children)) > 1
    assert children[0] == child(SMALL, SMALL, cost, 0.6 * full, 0.05 * full, random.Random(0))
    for arch in children:
        assert all(size <= adjustable_widths(SMALL)[label] for label, size in adjustable_widths(arch).items())


def test_latency_is_measured_once_and_saved_in_the_table(tmp_path, monkeypatch):
    model, table = model_of(), tmp_path / "latency.json"
    first = Latency(model, SIZE, table)
    full = first(SMALL)
    assert full > 0 and table.is_file()
    monkeypatch.setattr("lightseg.search.netadapt.cost.measure_latency", lambda *a, **k: pytest.fail("measured again"))
    again = Latency(model, SIZE, table)
    assert again(SMALL) == full
    entries = len(again.entries)
    monkeypatch.setattr("lightseg.search.netadapt.cost.measure_latency", lambda *a, **k: {"latency_ms": 0.0})
    assert again(with_widths(SMALL, {"stage 2, block 2: expansion": 8})) < full and len(again.entries) == entries + 1
    table.write_text(table.read_text().replace('"latency_ms"', '"madds"'))
    with pytest.raises(LightsegError, match="is of metric madds, not latency_ms"):
        Latency(model, SIZE, table)


def test_other_heads_of_a_table():
    for head in (ConvHead(64), IRPoolHead(48, 64)):
        arch = replace(SMALL, head=head)
        model = model_of(arch, "cls", head={"name": "native"})
        assert Madds(model, SIZE)(arch) == count_madds(model, (1, 3, *SIZE), torch.uint8)
        narrow = with_widths(arch, {"stage 4, block 2: 1x1 convolution": 40})
        assert select_channels(model, narrow).backbone.net.head.conv.weight.shape[1] == 40
