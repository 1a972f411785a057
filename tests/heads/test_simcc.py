"""The SimCC head: bins of many pyramids, the flip test, scores, training, and export."""

import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.heads.simcc import SimCCHead
from lightseg.losses.pose import PoseLoss

STAGES = ((8, 4), (16, 8), (24, 16), (32, 32))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def features(size, stages=STAGES, batch=2):
    generator = torch.Generator().manual_seed(0)
    height, width = size
    return [torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator) for c, s in stages]


def batch_of(size, persons=2, count=3):
    generator = torch.Generator().manual_seed(1)
    height, width = size
    return {
        "keypoints": torch.rand(persons, count, 2, generator=generator) * torch.tensor([width - 1, height - 1]),
        "visible": torch.full((persons, count), 2),
        "area": torch.full((persons,), 0.3 * height * width),
    }


@pytest.mark.parametrize("split", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("size", [(64, 48), (67, 101)])
@pytest.mark.parametrize("stages", [STAGES, STAGES[:3], (*STAGES[:2], (24, 8))], ids=["32", "16", "8"])
def test_bins_of_any_pyramid(stages, size, split):
    torch.manual_seed(0)
    head = SimCCHead(stages, 3, image_size=size, split=split, hidden=16, loss=PoseLoss(oks=True))
    outputs = head(features(size, stages), size)
    assert outputs["x"].shape == (2, 3, round(size[1] * split)) and outputs["y"].shape == (2, 3, round(size[0] * split))
    losses = head.loss(outputs, batch_of(size))
    assert losses.keys() == {"loss", "loss_divergence", "loss_oks"}
    losses["loss"].backward()
    assert all(p.grad.isfinite().all() and p.grad.count_nonzero() for name, p in head.named_parameters())
    prediction = head.decode(outputs, size)
    assert prediction["keypoints"].shape == (2, 3, 2) and prediction["keypoints"].min() >= 0
    assert (prediction["keypoints"] < torch.tensor([size[1], size[0]])).all()
    assert prediction["scores"].min() >= 0 and prediction["scores"].max() <= 1


def test_another_image_size_is_an_error_of_one_line():
    head = SimCCHead(STAGES, 3, image_size=(64, 48), hidden=16)
    with pytest.raises(LightsegError, match=r"64x48, not 96x48: set head.image_size") as caught:
        head(features((96, 48)), (96, 48))
    assert "\n" not in str(caught.value)


def test_maps_of_a_net_without_padding_are_resized():
    size = (128, 96)
    head = SimCCHead(STAGES, 3, image_size=size, hidden=16)
    assert head([torch.randn(2, 32, 3, 2)], size)["x"].shape == (2, 3, 192)


@pytest.mark.parametrize("split", [2.0, 1.5])
def test_flip_test_mirrors_predictions_back_and_exchanges_left_and_right(split):
    size, swap = (256, 192), [0, 2, 1]
    head = SimCCHead(STAGES, 3, image_size=size, split=split)
    batch = batch_of(size, persons=400)
    mirrored = batch["keypoints"][:, swap]
    mirrored[..., 0] = 191 - mirrored[..., 0]
    (x, y), _ = head.codec.encode(batch["keypoints"], batch["visible"], size)
    (other_x, other_y), _ = head.codec.encode(mirrored, batch["visible"], size)
    plain, back = {"x": x, "y": y}, head.unflip({"x": other_x, "y": other_y}, swap)
    for outputs in (plain, back, head.average(plain, back)):
        prediction = head.decode(outputs, size)
        error = prediction["keypoints"] - batch["keypoints"]
        assert error.norm(dim=-1).mean() < 0.5 / split and error.mean(dim=(0, 1)).abs().max() < 0.02
        assert prediction["scores"].min() > 0.9 and prediction["scores"].max() <= 1


def test_scores_fall_with_uncertainty():
    head = SimCCHead(STAGES, 1, image_size=(64, 48))
    (x, y), _ = head.codec.encode(torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1), (64, 48))
    scores = [head.decode({"x": factor * x, "y": y}, (64, 48))["scores"].item() for factor in (1, 0.5, 0)]
    assert scores[0] == pytest.approx(1, abs=0.02) and scores[0] > scores[1] > scores[2] and scores[2] < 0.2


def test_a_few_steps_overfit_a_batch():
    torch.manual_seed(0)
    size = (64, 48)
    head = SimCCHead(STAGES[:3], 2, image_size=size, hidden=64)
    batch, maps = batch_of(size, persons=4, count=2), features(size, STAGES[:3], batch=4)
    batch["visible"][0, 0] = 0
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = head.loss(head(maps, size), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    prediction = head.decode(head(maps, size), size)
    distance = (prediction["keypoints"] - batch["keypoints"]).norm(dim=-1)
    assert distance[batch["visible"] > 0].max() < 2
    assert prediction["scores"][batch["visible"] > 0].min() > 0.5


def test_zero_persons_and_a_single_keypoint():
    head = SimCCHead(STAGES, 1, image_size=(64, 48), hidden=16).eval()
    outputs = head(features((64, 48), batch=0), (64, 48))
    assert head.loss(outputs, batch_of((64, 48), persons=0, count=1))["loss"] == 0
    prediction = head.decode(head.average(outputs, head.unflip(outputs, [0])), (64, 48))
    assert prediction["keypoints"].shape == (0, 1, 2) and prediction["scores"].shape == (0, 1)
    assert head(features((64, 48)), (64, 48))["y"].shape == (2, 1, 128)


def test_forward_is_exported():
    size = (67, 101)
    head = SimCCHead(STAGES, 3, image_size=size, hidden=16).eval()
    maps = features(size)
    exported, plain = torch.export.export(head, (maps, size)).module()(maps, size), head(maps, size)
    assert all(torch.allclose(exported[axis], plain[axis], atol=1e-5) for axis in ("x", "y"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (256,)}, "image_size"),
        ({"hidden": 0}, "hidden"),
        ({"split": 0.5}, "split"),
        ({"sigma": (0.0, 3.0)}, "sigma"),
    ],
)
def test_invalid_options_are_an_error_of_one_line(options, message):
    with pytest.raises(LightsegError, match=message) as caught:
        SimCCHead(STAGES, 3, **options)
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_fit_is_an_error():
    head = SimCCHead(STAGES, 3, image_size=(64, 48), hidden=16)
    with pytest.raises(LightsegError, match=r"2 persons of 3 points"):
        head.loss(head(features((64, 48)), (64, 48)), batch_of((64, 48), count=4))
