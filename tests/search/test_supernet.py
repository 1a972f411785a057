"""With all weight on one choice of each decision the super-network is the net of those choices."""

import random

import pytest
import torch

from lightseg.backbones import create_backbone
from lightseg.backbones.supernet.gumbel import decisions, draw
from lightseg.backbones.supernet.supernet import create_supernet, subsample, unpool
from lightseg.catalog.spaces import parse_space, read_space, shipped
from lightseg.model import create_model
from lightseg.search.dmasking.derive import copy_weights, found_arch, found_model
from tests.search.tiny_space import TINY, set_choices

SPACE = parse_space(TINY, "tiny.yaml")
SIDE = 96
# decisions by what they decide; each is moved through all of its choices, the others standing at a random one
KINDS = ("stem_out", "stem_act", "out", "expansion", "kernel", "use_se", "act", "op", "input_size")


def supernet(space=SPACE, output_stride=32):
    """In float64, with batch norms as no initialisation leaves them."""
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
    """In evaluation, and in training: batch norm looks at each channel alone, so masks change no statistics."""
    set_choices(pyramid.net, choices)
    found = create_backbone(found_arch(pyramid.net, choices), output_stride=output_stride).double()
    copy_weights(pyramid, found, choices)
    images = torch.randn(2, 3, SIDE, SIDE + 32, generator=torch.Generator().manual_seed(1)).double()
    sizes = pyramid.net.input_size.choices
    small = subsample(images, sizes[choices.get("input_size", 0)] / sizes[-1])
    with torch.no_grad():
        for mode in (False, True):
            ours, theirs = pyramid.train(mode)(images), found.train(mode)(small)
            assert len(ours) == len(theirs)
            for wide, narrow, stage in zip(ours, theirs, found.stages, strict=True):
                if mode:  # maps of all sizes are summed on the grid of the largest
                    narrow = unpool(narrow, wide.shape[-2:])
                assert narrow.shape[1] == stage.channels and wide.shape[-2:] == narrow.shape[-2:]
                torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, rtol=1e-7, atol=1e-7)
                assert not wide[:, narrow.shape[1] :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_choice_computes_what_the_net_of_it_computes(kind):
    pyramid, dice = supernet(), random.Random(KINDS.index(kind))
    all_of_them = decisions(pyramid.net)
    of_kind = [name for name in all_of_them if name.rpartition(".")[2] == kind]
    assert of_kind
    for name in of_kind[:2]:
        for index in range(len(all_of_them[name])):
            rest = {other: dice.randrange(len(one)) for other, one in all_of_them.items()}
            if kind not in ("op", "out") and f"{name.rpartition('.')[0]}.op" in rest:
                rest[f"{name.rpartition('.')[0]}.op"] = 0  # or the block of this choice would be left out
            assert_same(pyramid, {**rest, name: index})


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_too(output_stride):
    pyramid, dice = supernet(output_stride=output_stride), random.Random(3)
    for _ in range(2):
        assert_same(pyramid, {n: dice.randrange(len(d)) for n, d in decisions(pyramid.net).items()}, output_stride)


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_under_a_head_too(task):
    """Image in, answer out: the head's weights for channels that are not there go."""
    head = {"name": "linear"} if task == "cls" else {}
    model = create_model("tiny", task, 5, head=head, space=TINY).eval()
    choices = {name: len(one) // 2 for name, one in decisions(model.backbone.net).items()}
    set_choices(model.backbone.net, choices)
    found = found_model(model, choices)
    assert found.backbone.share == 64 / 96 and found.spec["arch"] and "space" not in found.spec
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model(images), found(images), rtol=1e-5, atol=1e-5)


def test_a_pass_that_is_computed_twice_has_the_gradients_of_one_and_leaves_one_trace():
    """Two sizes are summed; the first pass is not kept in memory."""
    pyramid = supernet().train()
    net = pyramid.net
    draw(net, 1.0, torch.Generator().manual_seed(5))
    images = torch.randn(2, 3, SIDE, SIDE).double()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    sum(one.square().sum() for one in pyramid(images)).backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    after = {key: value.clone() for key, value in net.state_dict().items()}
    assert int(after["stem.bn.num_batches_tracked"] - before["stem.bn.num_batches_tracked"]) == 2  # two sizes
    net.load_state_dict(before)
    net.zero_grad()
    weights, chosen = net.input_size.drawn.topk(2)
    total = [0.0] * len(pyramid.stages)
    full = pyramid.stages
    for weight, index in zip(weights / weights.sum(), chosen.tolist(), strict=True):
        maps = net.features(subsample(images, net.input_size.choices[index] / 96))
        for level, one in enumerate(maps):
            total[level] = total[level] + weight * unpool(one, [-(-SIDE // full[level].stride)] * 2)
    sum(one.square().sum() for one in total).backward()
    for name, parameter in net.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after, net.state_dict())


def test_unpooling_puts_pixels_where_they_were_taken():
    x = torch.arange(1, 36.0).view(1, 1, 5, 7)
    small = subsample(x, 0.6)
    assert small.shape[-2:] == (3, 4)
    spread = unpool(small, (5, 7))
    assert torch.equal(spread[spread != 0], small.flatten()) and torch.equal(spread[spread != 0], x[spread != 0])


def test_every_decision_gets_a_gradient():
    pyramid = supernet().train()
    alphas = {name: one.alpha.requires_grad_(True) for name, one in decisions(pyramid.net).items()}
    draw(pyramid.net, 1.0, torch.Generator().manual_seed(0))
    sum(one.square().sum() for one in pyramid(torch.randn(2, 3, SIDE, SIDE).double())).backward()
    for name, alpha in alphas.items():
        assert alpha.grad is not None and alpha.grad.abs().max() > 0, name


def test_shipped_spaces_build():
    assert {"dmasking_fbnetv2_f", "dmasking_fbnetv2_l", "dmasking_fbnetv2_p", "dmasking_mini"} <= set(shipped())
    for name in shipped():
        assert read_space(name).nets() > 1e15
    assert [stage.stride for stage in create_supernet(read_space("dmasking_mini")).stages] == [2, 4, 8, 16, 32]
