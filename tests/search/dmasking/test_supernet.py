"""With all weight on a single choice of each decision, the super-network computes the net of these choices."""

import random

import pytest
import torch

from lightseg.backbones import create_backbone
from lightseg.backbones.supernet.gumbel import decisions, sample_choices
from lightseg.backbones.supernet.layers import ConvBN
from lightseg.backbones.supernet.supernet import create_supernet, subsample, unpool
from lightseg.catalog.spaces import parse_space, read_space, shipped
from lightseg.model import create_model
from lightseg.search.dmasking.derive import copy_weights, derive_arch, derive_model
from tests.search.tiny_space import TINY, set_choices

SPACE = parse_space(TINY, "tiny.yaml")
SIDE = 96
# kinds of decisions; each takes all of its choices in turn, with random choices of the others
KINDS = ("stem_out", "stem_act", "out", "expansion", "kernel", "use_se", "act", "op", "input_size")


def supernet(space=SPACE, output_stride=32):
    """A super-network in float64, with random batch norms."""
    torch.manual_seed(0)
    pyramid = create_supernet(space, output_stride=output_stride).double()
    for module in pyramid.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return pyramid


def assert_same(pyramid, choices, output_stride=32):
    """Compare in evaluation and in training mode: masks do not change the statistics of batch norm."""
    set_choices(pyramid.net, choices)
    derived = create_backbone(derive_arch(pyramid.net, choices), output_stride=output_stride).double()
    copy_weights(pyramid, derived, choices)
    images = torch.randn(2, 3, SIDE, SIDE + 32, generator=torch.Generator().manual_seed(1)).double()
    sizes = pyramid.net.input_size.choices
    small = subsample(images, sizes[choices.get("input_size", 0)] / sizes[-1])
    with torch.no_grad():
        for mode in (False, True):
            ours, theirs = pyramid.train(mode)(images), derived.train(mode)(small)
            assert len(ours) == len(theirs)
            for wide, narrow, stage in zip(ours, theirs, derived.stages, strict=True):
                if mode:  # maps of all sizes are summed on the grid of the largest
                    narrow = unpool(narrow, wide.shape[-2:])
                assert narrow.shape[1] == stage.channels and wide.shape[-2:] == narrow.shape[-2:]
                torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, rtol=1e-7, atol=1e-7)
                assert not wide[:, narrow.shape[1] :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_choice_equals_its_net(kind):
    pyramid, dice = supernet(), random.Random(KINDS.index(kind))
    all_decisions = decisions(pyramid.net)
    of_kind = [name for name in all_decisions if name.rpartition(".")[2] == kind]
    assert of_kind
    for name in of_kind[:2]:
        for index in range(len(all_decisions[name])):
            rest = {other: dice.randrange(len(decision)) for other, decision in all_decisions.items()}
            if kind not in ("op", "out") and f"{name.rpartition('.')[0]}.op" in rest:
                rest[f"{name.rpartition('.')[0]}.op"] = 0  # or the block of the choice would be left out
            assert_same(pyramid, {**rest, name: index})


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_nets_are_equal(output_stride):
    pyramid, dice = supernet(output_stride=output_stride), random.Random(3)
    for _ in range(2):
        assert_same(pyramid, {n: dice.randrange(len(d)) for n, d in decisions(pyramid.net).items()}, output_stride)


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_models_with_a_head_are_equal(task):
    """From images to predictions; the head loses its weights for missing channels."""
    head = {"name": "linear"} if task == "cls" else {}
    model = create_model("tiny", task, 5, head=head, space=TINY).eval()
    choices = {name: len(decision) // 2 for name, decision in decisions(model.backbone.net).items()}
    set_choices(model.backbone.net, choices)
    derived = derive_model(model, choices)
    assert derived.backbone.ratio == 64 / 96 and derived.spec["arch"] and "space" not in derived.spec
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model(images), derived(images), rtol=1e-5, atol=1e-5)


def test_checkpointing_changes_neither_gradients_nor_running_statistics():
    """Two sizes are summed, and the first pass is recomputed in backward."""
    pyramid = supernet().train()
    net = pyramid.net
    sample_choices(net, 1.0, torch.Generator().manual_seed(5))
    images = torch.randn(2, 3, SIDE, SIDE).double()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    sum(level.square().sum() for level in pyramid(images)).backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    after = {key: value.clone() for key, value in net.state_dict().items()}
    assert int(after["stem.bn.num_batches_tracked"] - before["stem.bn.num_batches_tracked"]) == 2  # two sizes
    net.load_state_dict(before)
    net.zero_grad()
    weights, chosen = net.input_size.sampled.topk(2)
    total = [0.0] * len(pyramid.stages)
    full = pyramid.stages
    for weight, index in zip(weights / weights.sum(), chosen.tolist(), strict=True):
        maps = net.features(subsample(images, net.input_size.choices[index] / 96))
        for i, level in enumerate(maps):
            total[i] = total[i] + weight * unpool(level, [-(-SIDE // full[i].stride)] * 2)
    sum(level.square().sum() for level in total).backward()
    for name, parameter in net.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after, net.state_dict())


def test_unpooling_is_the_inverse_of_subsampling():
    x = torch.arange(1, 36.0).view(1, 1, 5, 7)
    small = subsample(x, 0.6)
    assert small.shape[-2:] == (3, 4)
    spread = unpool(small, (5, 7))
    assert torch.equal(spread[spread != 0], small.flatten()) and torch.equal(spread[spread != 0], x[spread != 0])


def test_every_decision_gets_a_gradient():
    pyramid = supernet().train()
    alphas = {name: decision.alpha.requires_grad_(True) for name, decision in decisions(pyramid.net).items()}
    sample_choices(pyramid.net, 1.0, torch.Generator().manual_seed(0))
    sum(level.square().sum() for level in pyramid(torch.randn(2, 3, SIDE, SIDE).double())).backward()
    for name, alpha in alphas.items():
        assert alpha.grad is not None and alpha.grad.abs().max() > 0, name


def test_shipped_spaces_build():
    assert {"dmasking_fbnetv2_f", "dmasking_fbnetv2_l", "dmasking_fbnetv2_p", "dmasking_mini"} <= set(shipped())
    for name in shipped():
        assert read_space(name).nets() > 1e15
    assert [stage.stride for stage in create_supernet(read_space("dmasking_mini")).stages] == [2, 4, 8, 16, 32]


def test_masks_are_those_of_float32_under_autocast():
    torch.manual_seed(0)
    net = create_supernet(SPACE).train()
    masks = []
    for layer in (module for module in net.modules() if isinstance(module, ConvBN)):
        layer.register_forward_pre_hook(lambda layer, inputs: masks.extend(inputs[1:]))
    for enabled in (False, True):
        sample_choices(net.net, 2.0, torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            net(torch.zeros(2, 3, SIDE, SIDE))
    plain, mixed = (
        [mask for mask in part if mask is not None] for part in (masks[: len(masks) // 2], masks[len(masks) // 2 :])
    )
    assert plain and all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))
