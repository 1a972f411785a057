"""MobileSeg: its published size, pooling, fusions, the losses of training, odd sizes, export, and refusals."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightseg.errors import LightsegError
from lightseg.heads.mobileseg import Context, Fusion, MobileSeg, window_means
from lightseg.losses.segmentation import SegmentationLoss
from lightseg.model import create_model
from lightseg.profile.cost import count_params, profile_model
from lightseg.unused_parameters import unused_parameters
from tests.nets import LIGHTEST

STAGES = ((16, 2), (24, 4), (40, 8), (112, 16), (160, 32))


def features(height, width, stages=STAGES, batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator) for c, s in stages]


def masks(height, width, batch=2):
    labels = torch.randint(0, 5, (batch, height, width), generator=torch.Generator().manual_seed(1))
    labels[:, :3] = 255
    return {"masks": labels}


def madds(head, maps):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head.eval()(maps)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("channels", "classes", "size", "parameters", "operations"),
    [
        ((40, 112, 160), 19, (512, 1024), 154_344, 141_316_096),
        # bins 2 and 4 do not divide 12x15: their matrices are counted as well
        ((32, 96, 320), 11, (360, 480), 234_944, 48_471_360 + 320 * (2 * 12 * 15 + 4 * 15 + 4 * 12 * 15 + 16 * 15)),
    ],
)
def test_parameters_and_operations_of_the_published_configuration(channels, classes, size, parameters, operations):
    stages = tuple(zip(channels, (8, 16, 32), strict=True))
    head = MobileSeg(stages, classes)
    assert count_params(head) - count_params(head.auxiliary) == parameters
    assert madds(head, features(*size, stages, batch=1)) == operations
    if classes == 19:
        assert count_params(head) == 163_944
        attention = MobileSeg(stages, classes, fusion="attention")
        assert count_params(attention) - count_params(head) == 3 * 96


def test_the_model_profile_and_export_have_no_auxiliary_layers():
    """The whole net's published backbone: 2.97 M parameters and 2.285 G at 512x1024."""
    model = create_model("mobilenetv3_large", "seg", 19, head={"name": "mobileseg"})
    assert model.spec["output_stride"] == 32 and model.backbone.stages[-1] == (160, 32)
    cost = profile_model(model, (512, 1024), runs=1)
    assert (cost["params"], cost["madds"]) == (2_970_776, 2_285_358_976)
    assert cost["training_form"] == {"params": 2_970_776 + 9600, "madds": 2_285_358_976}
    assert unused_parameters(model, (64, 64)) == []  # of a training step
    deployed = model.eval().deployed()
    assert deployed.head.auxiliary is None and model.head.auxiliary is not None
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(deployed(images), model(images))
    again = create_model(**deployed.spec)
    again.load_state_dict(deployed.state_dict())


@pytest.mark.parametrize(("height", "width"), [(16, 32), (12, 15), (2, 3), (1, 1), (11, 14)])
@pytest.mark.parametrize("bins", [1, 2, 4])
def test_pooling_is_adaptive_average_pooling(height, width, bins):
    x = torch.randn(2, 3, height, width)
    pooled = Context(3, 8, [bins]).pool(x, bins)
    torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(x, bins))
    expected = torch.tensor([[1.0, 1, 1, 0, 0], [0, 0, 1, 1, 1]]) / 3
    assert window_means(5, 2).equal(expected)


def test_context_and_fusion_are_those_of_plain_layers():
    context, x = Context(6, 8, (1, 2, 4)).eval(), torch.randn(2, 6, 12, 15)
    total = 0
    for bins, branch in zip((1, 2, 4), context.branches, strict=True):
        total = total + F.interpolate(branch(F.adaptive_avg_pool2d(x, bins)), (12, 15), mode="bilinear")
    torch.testing.assert_close(context(x), context.out(total))
    fusion, low = Fusion(6, 8, 4, attention=True).eval(), torch.randn(2, 6, 24, 30)
    ours, high = fusion.low(low), F.interpolate(total, (24, 30), mode="bilinear")
    seen = torch.stack([ours.mean(1), ours.max(1).values, high.mean(1), high.max(1).values], 1)
    share = fusion.attention(seen)
    assert share.min() > 0 and share.max() < 1
    torch.testing.assert_close(fusion(low, total), fusion.out(share * ours + (1 - share) * high))


@pytest.mark.parametrize("options", [{}, {"fusion": "attention"}, {"strides": [4, 8, 16, 32]}, {"auxiliary": 0.0}])
@pytest.mark.parametrize("size", [(64, 96), (333, 417)])
def test_gradients_reach_every_parameter(options, size):
    torch.manual_seed(0)
    head = MobileSeg(STAGES, 5, **options)
    outputs = head.training_outputs(features(*size), size)
    losses = head.loss(outputs, masks(*size))
    assert losses["loss"].isfinite() and losses["loss"] > 0
    losses["loss"].backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in head.parameters())
    stride = options.get("strides", [8])[0]
    logits = head(features(*size), size)
    assert logits.shape == (2, 5, -(-size[0] // stride), -(-size[1] // stride))
    assert head.decode(logits, size).shape == (2, *size)


def test_training_adds_the_losses_of_the_deeper_fusions():
    torch.manual_seed(0)
    maps, targets = features(64, 96), masks(64, 96)
    head = MobileSeg(STAGES, 5, auxiliary=0.4, loss=SegmentationLoss(ohem=0.7)).eval()
    outputs = head.training_outputs(maps, (64, 96))
    assert [tuple(logits.shape[2:]) for logits in outputs] == [(8, 12), (4, 6), (2, 3)]
    assert outputs[0].equal(head(maps, (64, 96)))  # `forward` has the first alone, in training too
    one, two, three = (head.criterion(logits, targets["masks"])["loss"] for logits in outputs)
    losses = head.loss(outputs, targets)
    torch.testing.assert_close(losses["loss"], one + 0.4 * (two + three))
    torch.testing.assert_close(losses["loss_auxiliary"], (0.4 * (two + three)).detach())
    assert head.loss(outputs[0], targets)["loss"] == one
    assert isinstance(head.train()(maps, (64, 96)), torch.Tensor)


def test_a_batch_of_one_and_masks_without_labels():
    head = MobileSeg(STAGES, 5)
    before = copy.deepcopy(head.context.branches[0].state_dict())
    outputs = head.training_outputs(features(64, 96, batch=1), (64, 96))
    losses = head.loss(outputs, {"masks": torch.full((1, 64, 96), 255)})
    assert losses["loss"] == 0
    losses["loss"].backward()
    assert not any(p.grad.any() for p in head.parameters())
    after = head.context.branches[0].state_dict()
    assert all(value.equal(before[key]) for key, value in after.items())  # one value has no statistics
    assert head.loss(outputs, masks(64, 96, batch=1))["loss"] > 0


def test_a_few_steps_overfit_a_batch():
    torch.manual_seed(0)
    head, maps = MobileSeg(STAGES, 2), features(64, 96)
    targets = {"masks": F.interpolate(maps[2][:, :1], (64, 96))[:, 0].gt(0).long()}
    optimizer, losses = torch.optim.Adam(head.parameters(), lr=0.01), []
    for _ in range(40):
        loss = head.loss(head.training_outputs(maps, (64, 96)), targets)["cross_entropy"]
        losses.append(loss.item())
        total = head.loss(head.training_outputs(maps, (64, 96)), targets)["loss"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", LIGHTEST.values())
def test_a_step_on_every_family(name):
    torch.manual_seed(0)
    model = create_model(name, "seg", 5, head={"name": "mobileseg"}).train()
    assert model.head.levels == list(range(len(model.backbone.stages)))[-3:]
    for size in ((64, 96), (127, 65)):
        images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
        loss = model.head.loss(model(images, training_outputs=True), masks(*size))["loss"]
        loss.backward()
        assert loss.isfinite() and all(p.grad.isfinite().all() and p.grad.any() for p in model.head.parameters())
    with torch.no_grad():
        assert model.eval().head.decode(model(images), (127, 65)).shape == (2, 127, 65)


def test_a_pyramid_of_two_maps():
    head = MobileSeg(STAGES[-2:], 5)
    assert head.levels == [0, 1] and head(features(64, 96, STAGES[-2:])).shape == (2, 5, 4, 6)


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        (STAGES[-1:], {}, "fuses maps and this backbone has one, of stride 32: take raspp"),
        (STAGES, {"strides": [8, 64]}, r"head.strides=\[8, 64\]: give .* strides, \[2, 4, 8, 16, 32\]"),
        (STAGES, {"strides": [16, 8]}, "in order"),
        (STAGES, {"strides": [8]}, "two or more"),
        (STAGES, {"widths": [32, 64]}, r"one for each of the 3 fused maps, whose strides are \[8, 16, 32\]"),
        (STAGES, {"fusion": "som"}, "did you mean sum|sum"),
    ],
)
def test_invalid_options_are_an_error_of_one_line(stages, options, message):
    with pytest.raises(LightsegError, match=message) as caught:
        MobileSeg(stages, 5, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(128, 256), (333, 417)])
def test_an_exported_graph_has_no_adaptive_pooling(size):
    head = MobileSeg(STAGES, 5).eval()
    maps = features(*size)
    program = torch.export.export(head, (maps, size))
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("adaptive" in name for name in operators)
    torch.testing.assert_close(program.module()(maps, size), head(maps, size))
