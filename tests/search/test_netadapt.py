"""NetAdapt's arithmetic: what may be cut, what it costs, which channels stay, and what is chosen."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, IRPoolHead, PoolHead, Skip, Stem
from lightseg.errors import LightsegError
from lightseg.model import create_model
from lightseg.profile import count_madds
from lightseg.search.netadapt.channel_graph import adjustable, resized, smallest, wiring
from lightseg.search.netadapt.channel_selection import Axes, arch_of, built, sizes, table_model, truncated
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
    """With batch norms of which no channel is like another."""
    torch.manual_seed(0)
    spec = {"backbone": arch.name, "task": task, "num_classes": 5, "output_stride": 16 if task == "seg" else 32}
    model = built({**create_model("mobilenetv3_small", **{k: v for k, v in spec.items() if k != "backbone"}).spec,
                   **options}, arch)  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.8)
            module.running_mean.uniform_(-0.2, 0.8)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def test_widths_are_expansions_and_bottlenecks_with_what_residuals_join():
    found = wiring(SMALL)
    assert found.sizes == {
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
    narrow = resized(SMALL, {"stage 2, block 1: bottleneck": 16})
    assert narrow.stages[1] == (Block(3, 48, 16, 2), Block(3, 72, 16), Skip(16))
    assert resized(SMALL, {"stem": 8}).stages[0] == (Block(3, 8, 8, se=True),) and "stem" in adjustable(SMALL)
    plain = replace(SMALL, stages=((Block(3, 16, 24, 2),), *SMALL.stages[2:]))
    assert "stem" not in adjustable(plain)  # no residual joins it


def test_a_width_that_would_change_the_layers_is_refused():
    assert resized(SMALL, {"stage 3, block 1: bottleneck": 48}) is None  # the skip that follows would keep its input
    assert resized(SMALL, {"stage 2, block 2: expansion": 24}) is None  # it would expand nothing
    grouped = replace(SMALL, stages=((Block(3, 16, 16, groups=2),), *SMALL.stages[1:]))
    assert "stem" not in adjustable(grouped)
    assert wiring(smallest(SMALL)).blocks == wiring(SMALL).blocks and max(adjustable(smallest(SMALL)).values()) <= 16


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_costs_are_those_of_nets_that_are_built(task):
    model = model_of(task=task, **({"head": {"name": "native"}} if task == "cls" else {}))
    cost = Madds(model, SIZE)
    assert cost(SMALL) == count_madds(model, (1, 3, *SIZE), torch.uint8)
    draw = random.Random(0)
    for _ in range(4):
        sizes = {label: draw.randrange(8, size + 1, 8) for label, size in adjustable(SMALL).items()}
        arch = resized(SMALL, {label: size - 1 for label, size in sizes.items()})  # unlike any other: never a residual
        if arch is not None:
            assert cost(arch) == count_madds(built(model.spec, arch), (1, 3, *SIZE), torch.uint8)


def test_each_proposal_lowers_the_cost_by_delta_and_is_the_widest_that_does():
    cost = Madds(model_of(), SIZE)
    now, delta = cost(SMALL), 0.04 * cost(SMALL)
    found = proposals(SMALL, cost, delta, 0.0)
    assert len(found) >= 4 and [one.what for one in found] == [
        w for w in adjustable(SMALL) if w in {o.what for o in found}
    ]
    for one in found:
        assert one.cost == cost(one.arch) <= now - delta
        wider = [resized(SMALL, {one.what: size}) for size in range(one.after + 8, one.before, 8)]
        assert all(cost(arch) > now - delta for arch in wider if arch is not None)
    # the last step need not fall by a whole delta; and where no width gives that much, each gives what it can
    near = proposals(SMALL, cost, delta, 0.99 * now)
    assert max(one.cost for one in near) > now - delta and all(one.cost <= 0.99 * now for one in near)
    most = proposals(SMALL, cost, 0.9 * now, 0.0)
    assert {one.what: one.after for one in most}["stage 4, block 2: 1x1 convolution"] == 8


def test_the_choice_is_accuracy_over_cost():
    before = (0.50, 100.0)
    found = [(0.49, 98.0), (0.48, 90.0), (0.47, 97.0), (0.48, 90.0)]
    assert ratio(before, found[0]) == pytest.approx(-0.005) and ratio(before, found[1]) == pytest.approx(-0.002)
    assert choose(before, found) == 1
    assert choose(before, [(0.52, 90.0), (0.51, 99.0)]) == 1  # accuracy gained for little cost


def test_channels_with_the_largest_filters_stay():
    model = model_of()
    model.backbone.net.stages_1[1].expand.conv.weight.data[5] *= 100  # of 72
    model.backbone.net.stages_1[1].expand.bn.weight.data[7] = 1e3  # large once the batch norm is folded in
    arch = resized(SMALL, {"stage 2, block 2: expansion": 8})
    small = truncated(model, arch)
    ours, theirs = small.backbone.net.stages_1[1], model.backbone.net.stages_1[1]
    filters, norm = theirs.expand.conv.weight, theirs.expand.bn
    power = filters.square().sum((1, 2, 3)) * norm.weight.square() / (norm.running_var + norm.eps)
    kept = power.argsort(descending=True)[:8].sort().values
    assert {5, 7} <= set(kept.tolist())
    assert torch.equal(ours.expand.conv.weight, theirs.expand.conv.weight[kept])
    assert torch.equal(ours.depthwise.bn.running_mean, theirs.depthwise.bn.running_mean[kept])
    assert torch.equal(ours.project.conv.weight, theirs.project.conv.weight[:, kept])


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_cutting_channels_that_are_zero_changes_no_answer(task):
    """Every kind of width at once, the head's inputs too: what is cut has filters of zero and adds nothing."""
    model = model_of(task=task, **({"head": {"name": "native"}} if task == "cls" else {}))
    axes = Axes(model)
    wanted = {label: size - 8 for label, size in adjustable(SMALL).items() if size > 16}
    arch = resized(SMALL, wanted)
    after, state = sizes(arch), model.state_dict()
    for key, tensor in state.items():
        for dim, label in enumerate(axes.of(key)[: tensor.ndim]):
            if label and after[label] < sizes(SMALL)[label] and dim == 0 and not key.endswith("running_var"):
                tensor[after[label] :] = 0.0  # the last channels: batch norm leaves them at zero
    small = truncated(model, arch, axes)
    assert small.spec["arch"] != model.spec["arch"] and arch_of(small) == arch
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(small(images), model(images), atol=1e-4, rtol=1e-4)


def test_timms_model_becomes_a_table_and_answers_alike():
    torch.manual_seed(0)
    model = create_model("mobilenetv3_small", "seg", 4).eval()
    table = table_model(model)
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(table(images), model(images), atol=1e-5, rtol=1e-5)
    assert table_model(table) is table


def test_a_target_that_no_net_reaches_says_what_can_be():
    cost = Madds(model_of(), SIZE)
    least = cost(smallest(SMALL)) / cost(SMALL)
    check_target(SMALL, least, cost, "multiply-adds")
    with pytest.raises(
        LightsegError, match=rf"search.target=0.01 cannot be reached: .* has {least:.3f} of the multiply"
    ):
        check_target(SMALL, 0.01, cost, "multiply-adds")


def test_children_cost_what_they_may():
    cost = Madds(model_of(), SIZE)
    whole = cost(SMALL)
    found = [child(SMALL, SMALL, cost, 0.6 * whole, 0.05 * whole, random.Random(seed)) for seed in range(5)]
    assert all(0.55 * whole <= cost(arch) <= 0.6 * whole for arch in found) and len(set(found)) > 1
    assert found[0] == child(SMALL, SMALL, cost, 0.6 * whole, 0.05 * whole, random.Random(0))
    for arch in found:
        assert all(size <= adjustable(SMALL)[label] for label, size in adjustable(arch).items())


def test_latency_is_measured_once_and_kept_in_its_table(tmp_path, monkeypatch):
    model, table = model_of(), tmp_path / "latency.json"
    first = Latency(model, SIZE, table)
    whole = first(SMALL)
    assert whole > 0 and table.is_file()
    monkeypatch.setattr("lightseg.search.netadapt.cost.measure_latency", lambda *a, **k: pytest.fail("measured again"))
    again = Latency(model, SIZE, table)
    assert again(SMALL) == whole
    entries = len(again.entries)
    monkeypatch.setattr("lightseg.search.netadapt.cost.measure_latency", lambda *a, **k: {"latency_ms": 0.0})
    assert again(resized(SMALL, {"stage 2, block 2: expansion": 8})) < whole and len(again.entries) == entries + 1
    table.write_text(table.read_text().replace('"latency_ms"', '"madds"'))
    with pytest.raises(LightsegError, match="is of metric madds, not latency_ms"):
        Latency(model, SIZE, table)


def test_other_heads_of_a_table():
    for head in (ConvHead(64), IRPoolHead(48, 64)):
        arch = replace(SMALL, head=head)
        model = model_of(arch, "cls", head={"name": "native"})
        assert Madds(model, SIZE)(arch) == count_madds(model, (1, 3, *SIZE), torch.uint8)
        narrow = resized(arch, {"stage 4, block 2: 1x1 convolution": 40})
        assert truncated(model, narrow).backbone.net.head.conv.weight.shape[1] == 40
