"""Parameter groups, options that reach the optimiser, and learning rates over a run."""

import math

import pytest
import timm
import torch

from lightseg.errors import LightsegError
from lightseg.model import create_model
from tasks.run.optimization import build_optimizer, build_schedule, rates_of, takes_weight_decay
from tests.marks import slow_except

PLAIN = {
    "name": "adamw", "lr": 1e-2, "weight_decay": 0.05, "momentum": 0.9, "backbone_lr_mult": 1.0, "eps": None,
    "layer_decay": None, "fused": False,
}  # fmt: skip
SCHEDULE = {
    "epochs": 10, "name": "exponential", "power": 0.9, "milestones": [0.6, 0.9], "gamma": 0.97, "decay_epochs": 2.4,
    "min_lr": 0.0, "warmup_steps": 0,
}  # fmt: skip


def rates(model, **options) -> dict[str, float]:
    """Learning rate of every trained parameter by its name, each in exactly one group."""
    optimizer = build_optimizer(model, **{**PLAIN, **options})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [(names[id(p)], group["lr"]) for group in optimizer.param_groups for p in group["params"]]
    assert len(found) == len(dict(found)) == len(names)
    return dict(found)


@pytest.mark.parametrize("head", ["native", "linear"])
@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "shufflenetv2_x0_5", "micronet_m0", "efficientnetv2_b0"])
def test_layer_decay_grows_with_depth_to_one_at_the_head(name, head):
    model = create_model(name, "cls", 7, head={"name": head})
    found = rates(model, layer_decay=0.8)
    in_order = [found[key] for key in found if key.startswith("backbone.")]
    last = model.backbone.net.get_classifier() if head == "native" else model.head
    own = {id(p) for p in last.parameters()}
    by_depth = [found[key] for key, p in model.named_parameters() if id(p) not in own]
    assert by_depth == sorted(by_depth) and by_depth[0] < by_depth[-1] == pytest.approx(1e-2 * 0.8)
    for shallow, deep in zip(steps := sorted(set(by_depth)), steps[1:], strict=False):
        assert deep == pytest.approx(shallow / 0.8)
    assert len(steps) >= 5 and len(in_order) >= len(by_depth)
    assert {found[key] for key, p in model.named_parameters() if id(p) in own} == {1e-2}


@pytest.mark.parametrize("head", ["native", "linear"])
def test_the_backbones_rate_is_not_the_classifiers(head):
    found = rates(create_model("mobilenetv3_small_050", "cls", 7, head={"name": head}), backbone_lr_mult=0.1)
    classifier = [key for key in found if key.split(".")[-2] == "classifier"]
    assert len(classifier) == 2 and {found[key] for key in classifier} == {1e-2}
    others = [rate for key, rate in found.items() if key not in classifier]
    assert others == pytest.approx([1e-3] * len(others))


def test_decay_spares_biases_and_norms():
    model = create_model("mobilenetv3_small_050", "cls", 7)
    for layer_decay in (None, 0.9):
        for group in build_optimizer(model, **{**PLAIN, "layer_decay": layer_decay}).param_groups:
            assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.05}


@pytest.mark.parametrize(("name", "eps"), [("rmsproptf", 1e-3), ("adamw", 1e-6), ("lamb", 1e-5)])
def test_eps_reaches_the_optimiser(name, eps):
    model = create_model("mobilenetv3_small_050", "cls", 7)
    told = build_optimizer(model, **{**PLAIN, "name": name, "eps": eps, "fused": name == "adamw"})
    assert {group["eps"] for group in told.param_groups} == {eps}
    assert {group["eps"] for group in build_optimizer(model, **{**PLAIN, "name": name}).param_groups} != {eps}


@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_eps_where_there_is_none_is_refused(name):
    with pytest.raises(LightsegError, match=f"{name} takes no optimizer.eps"):
        build_optimizer(create_model("mobilenetv3_small_050", "cls", 7), **{**PLAIN, "name": name, "eps": 1e-3})


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("name", ["sgd", "rmsproptf"])
def test_the_papers_decay_is_3_per_cent_every_2_4_epochs(name, warmup):
    """100 steps an epoch, 12 epochs: 0.97, 0.97^2, ... after 240, 480, ... steps, constant between. The first follows
    the warm-up, as in timm."""
    optimizer = build_optimizer(create_model("mobilenetv3_small_050", "cls", 7), **{**PLAIN, "name": name})
    schedule = build_schedule(optimizer, 1200, **{**SCHEDULE, "epochs": 12, "warmup_steps": warmup})
    seen = []
    for step in range(1201):
        schedule.step_update(step)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen[:warmup] == pytest.approx([1e-2 * (step + 1) / 6 for step in range(warmup)])
    for times in range(5):
        inside = seen[warmup + 240 * times + 1 : warmup + 240 * (times + 1) - 1]
        assert inside == pytest.approx([1e-2 * 0.97**times] * len(inside), rel=1e-9)
    assert seen[1200] == pytest.approx(1e-2 * 0.97 ** (4 if warmup else 5))


def test_rates_of_groups_keep_their_proportion():
    optimizer = build_optimizer(create_model("mobilenetv3_small_050", "cls", 7), **{**PLAIN, "layer_decay": 0.7})
    before = torch.tensor([group["lr"] for group in optimizer.param_groups])
    schedule = build_schedule(optimizer, 100, **{**SCHEDULE, "name": "cosine"})
    schedule.step_update(50)
    now = torch.tensor([group["lr"] for group in optimizer.param_groups])
    assert torch.allclose(now / before, torch.full_like(now, 0.5))


@pytest.mark.parametrize(
    "name",
    slow_except(
        ["levit_128s", "tiny_vit_5m_224"],
        ["beit_base_patch16_224", "coat_lite_mini", "crossvit_9_240", "deit_tiny_distilled_patch16_224", "levit_128s",
         "efficientformer_l1", "hieradet_small", "maxvit_tiny_tf_224", "mvitv2_tiny", "naflexvit_base_patch16_gap",
         "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "tiny_vit_5m_224", "tnt_s_patch16_224"],
    ),
)  # fmt: skip
def test_weight_decay_leaves_out_what_timm_leaves_out(name):
    with torch.device("meta"):
        net = timm.create_model(name)
    listed = net.no_weight_decay()
    matrices = {key: p for key, p in net.named_parameters() if p.ndim > 1 and not key.endswith(".bias")}
    ours = {key for key, p in matrices.items() if not takes_weight_decay(key, p)}
    assert ours >= set(listed) & set(matrices) and ours
    assert not any("qkv" in key or "fc" in key or "conv" in key for key in ours)


def test_every_matrix_of_our_nets_decays():
    model = create_model("mobilenetv3_small_050", "seg", 19)
    assert all(takes_weight_decay(key, p) == (p.ndim > 1) for key, p in model.named_parameters())


@pytest.mark.parametrize("warmup", [0, 10, 70])
def test_milestones_are_at_their_step_with_any_warmup(warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = build_schedule(optimizer, 100, **{**SCHEDULE, "name": "step", "gamma": 0.1, "warmup_steps": warmup})
    rates = []
    for step in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step_update(step + 1)
    expected = [1.0] * 60 + [0.1] * 30 + [0.01] * 10
    assert rates[warmup:] == pytest.approx(expected[warmup:])
    assert rates[:warmup] == pytest.approx([(step + 1) / (warmup + 1) for step in range(warmup)])


@pytest.mark.parametrize("name", ["poly", "cosine", "step", "exponential", "constant"])
def test_without_warmup_steps_a_twentieth_of_the_run_warms_up_from_a_rate_above_0(name):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = build_schedule(optimizer, 80, **{**SCHEDULE, "name": name, "warmup_steps": None})
    rates = []
    for step in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step_update(step + 1)
    expected = {"poly": (1 - 4 / 80) ** 0.9, "cosine": 0.5 + 0.5 * math.cos(math.pi * 4 / 80)}.get(name, 1.0)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, expected])


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_the_shortest_runs_have_a_schedule(steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert build_schedule(optimizer, steps, **{**SCHEDULE, "name": "poly", "warmup_steps": None}) is not None
    assert optimizer.param_groups[0]["lr"] > 0


@pytest.mark.parametrize(("layer_decay", "count"), [(None, 2), (0.8, 8)])
def test_groups_have_names_and_rates(layer_decay, count):
    model = create_model("mobilenetv3_small_050", "cls", 7)
    optimizer = build_optimizer(model, **{**PLAIN, "layer_decay": layer_decay, "backbone_lr_mult": 0.1})
    rates, names = rates_of(optimizer), [group["name"] for group in optimizer.param_groups]
    assert len(set(names)) == len(names) and len(rates) >= count
    assert rates["lr/head"] == pytest.approx(1e-2)
    assert (rates["lr/backbone"] if layer_decay is None else rates["lr/backbone/0"] / 0.8 ** (len(rates) - 1)) == (
        pytest.approx(1e-3)
    )
