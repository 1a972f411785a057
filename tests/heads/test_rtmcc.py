"""RTMCC: its published size, the norm and the attention unit against plain loops, half precision, training, export."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lightseg.errors import LightsegError
from lightseg.heads.rtmcc import GatedAttention, RTMCCHead, ScaleNorm
from lightseg.losses.pose import PoseLoss
from lightseg.model import create_model
from lightseg.profile.cost import count_params
from tests.nets import LIGHTEST

STAGES = ((8, 4), (16, 8), (24, 16), (32, 32))
SIZE = (64, 48)


def features(size, stages=STAGES, batch=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, c, -(-size[0] // s), -(-size[1] // s), generator=generator) for c, s in stages]


def batch_of(size, persons=2, count=3):
    generator = torch.Generator().manual_seed(1)
    return {
        "keypoints": torch.rand(persons, count, 2, generator=generator) * torch.tensor([size[1] - 1, size[0] - 1]),
        "visible": torch.full((persons, count), 2),
        "area": torch.full((persons,), 0.3 * size[0] * size[1]),
    }


@pytest.mark.parametrize(
    ("channels", "parameters", "operations"),
    [(160, 801_715, 17_932_416), (320, 934_995, 24_329_856), (464, 1_054_947, 30_087_552)],
)
def test_parameters_and_operations_at_256x192(channels, parameters, operations):
    head = RTMCCHead([(channels, 32)], 17).eval()
    assert count_params(head) == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head([torch.zeros(1, channels, 8, 6)], (256, 192))
    assert counter.get_total_flops() // 2 == operations


def test_it_stands_on_the_projection_of_mobilenetv3():
    model = create_model("mobilenetv3_large", "pose", 17, head={"name": "rtmcc"})
    assert model.backbone.stages[-1] == (160, 32) and count_params(model.head) == 801_715


def test_the_norm_divides_by_the_root_mean_square():
    norm = ScaleNorm()
    torch.testing.assert_close(norm(torch.tensor([3.0, 4])), torch.tensor([0.848528, 1.131371]))
    torch.testing.assert_close(norm(torch.tensor([3e-7, 4e-7])), torch.tensor([0.03, 0.04]))  # at least 1e-5
    assert norm(torch.zeros(2, 3)).equal(torch.zeros(2, 3))
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm.double(), (x,))


@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 6e4), (torch.bfloat16, 3e38), (torch.float32, 3e38)])
def test_the_norm_is_finite_for_large_values_of_half_precision(dtype, size):
    norm = ScaleNorm().to(dtype)
    x = torch.tensor([[size, -size, 0, size / 2], [size, 0, 0, 0], [0, 0, 0, 0]], dtype=dtype, requires_grad=True)
    y = norm(x)
    expected = ScaleNorm().double()(x.detach().double())
    torch.testing.assert_close(y.double(), expected, rtol=2e-2, atol=0)
    y.sum().backward()
    assert x.grad.isfinite().all() and norm.scale.grad.isfinite().all()


def test_the_attention_unit_of_known_weights():
    unit = GatedAttention(4, 8, 4)
    with torch.no_grad():
        for layer in (unit.into, unit.out):
            layer.weight.fill_(0.1)
        unit.gamma.fill_(1)
        unit.beta.fill_(0)
    x = torch.arange(12.0).view(1, 3, 4) / 10
    added = unit(x) - x  # the same in all four columns
    expected = torch.tensor([0.000670, 0.401336, 0.801400]) - x[0, :, 0]
    torch.testing.assert_close(added[0], expected[:, None].expand(3, 4), atol=1e-6, rtol=0)


def test_the_attention_unit_is_that_of_plain_loops():
    torch.manual_seed(0)
    unit = GatedAttention(5, 6, 3).double()
    torch.nn.init.normal_(unit.residual)
    unit.requires_grad_(False)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    for person, output in zip(x, unit(x).detach(), strict=True):
        rows = []
        for row in person.detach():
            rms = math.sqrt(sum(float(v) ** 2 for v in row) / 5)
            hidden = unit.into.weight @ (row / rms)
            rows.append(hidden * torch.sigmoid(hidden))
        for i, row in enumerate(rows):
            total = torch.zeros(6, dtype=torch.float64)
            for other in rows:
                query, key = row[12:] * unit.gamma[0] + unit.beta[0], other[12:] * unit.gamma[1] + unit.beta[1]
                total += max(0.0, float(query @ key) / math.sqrt(3)) ** 2 * other[6:12]
            torch.testing.assert_close(output[i], unit.residual * person[i] + unit.out.weight @ (row[:6] * total))


def test_the_divergence_of_known_labels():
    """8 bins, no logits, a label of sigma 1 at bin 3."""
    label = torch.exp(-((torch.arange(8.0) - 3) ** 2) / 2)[None, None]
    zeros, weights = torch.zeros(1, 1, 8), torch.ones(1, 1)
    both = PoseLoss(beta=10).simcc_loss((zeros, zeros), (label, label), weights)["loss"]
    assert both.item() / 2 == pytest.approx(1.888279, abs=1e-5)


@pytest.mark.parametrize("size", [SIZE, (333, 417)])
def test_gradients_reach_every_parameter(size):
    torch.manual_seed(0)
    head = RTMCCHead(STAGES, 3, image_size=size, hidden=16, loss=PoseLoss(oks=True))
    outputs = head(features(size), size)
    assert outputs["x"].shape == (2, 3, 2 * size[1]) and outputs["y"].shape == (2, 3, 2 * size[0])
    losses = head.loss(outputs, batch_of(size))
    assert losses.keys() == {"loss", "loss_divergence", "loss_oks"}
    losses["loss"].backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in head.parameters())


def test_a_few_steps_overfit_a_batch():
    torch.manual_seed(0)
    head, batch, maps = RTMCCHead(STAGES, 2, image_size=SIZE, hidden=64), batch_of(SIZE, 4, 2), features(SIZE, batch=4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    first = head.loss(head(maps, SIZE), batch)["loss"].item()
    for _ in range(80):
        loss = head.loss(head(maps, SIZE), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first
    prediction = head.decode(head(maps, SIZE), SIZE)
    assert (prediction["keypoints"] - batch["keypoints"]).norm(dim=-1).max() < 2
    assert prediction["scores"].min() > 0.5


@pytest.mark.parametrize("persons", [0, 1])
def test_few_persons_and_none_visible(persons):
    head = RTMCCHead(STAGES, 3, image_size=SIZE, hidden=16).train()
    outputs = head(features(SIZE, batch=persons), SIZE)
    batch = batch_of(SIZE, persons)
    batch["visible"].zero_()
    loss = head.loss(outputs, batch)["loss"]
    loss.backward()
    assert loss == 0 and all(p.grad.isfinite().all() for p in head.parameters())
    assert head.decode(outputs, SIZE)["keypoints"].shape == (persons, 3, 2)


@pytest.mark.parametrize("name", LIGHTEST.values())
def test_a_step_on_every_family(name):
    torch.manual_seed(0)
    model = create_model(name, "pose", 3, head={"name": "rtmcc", "image_size": [128, 96]}).train()
    images = torch.randint(0, 256, (2, 3, 128, 96), dtype=torch.uint8)
    loss = model.head.loss(model(images, training_outputs=True), batch_of((128, 96)))["loss"]
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() and p.grad.any() for p in model.head.parameters())
    with torch.no_grad():
        decoded = model.eval().head.decode(model(images), (128, 96))
    assert decoded["keypoints"].shape == (2, 3, 2) and decoded["scores"].isfinite().all()


def test_forward_is_exported():
    head, maps = RTMCCHead(STAGES, 3, image_size=(67, 101), hidden=16).eval(), features((67, 101))
    exported = torch.export.export(head, (maps, (67, 101))).module()(maps, (67, 101))
    torch.testing.assert_close(exported, head(maps, (67, 101)))


@pytest.mark.parametrize("option", [{"kernel": 4}, {"attention": 0}, {"expansion": 0}, {"hidden": 0}, {"split": 0.5}])
def test_invalid_options_are_an_error_of_one_line(option):
    with pytest.raises(LightsegError, match=f"{next(iter(option))}=") as caught:
        RTMCCHead(STAGES, 3, **option)
    assert "\n" not in str(caught.value)


def test_another_image_size_is_an_error():
    head = RTMCCHead(STAGES, 3, image_size=SIZE)
    with pytest.raises(LightsegError, match=r"64x48, not 96x48: set head.image_size"):
        head(features((96, 48)), (96, 48))
