"""The pose loss against plain loops: squared error, expected OKS, SimCC's divergence; weights; errors."""

import math

import numpy as np
import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.heads.codecs import HeatmapCodec, SimCCCodec
from lightseg.losses.pose import PoseLoss

SIZE, MAP, SIGMAS = (32, 24), (8, 6), (0.05, 0.1)
POINTS = torch.tensor([[[3.0, 4], [20, 25]], [[12.5, 16], [1, 30]]])
VISIBLE = torch.tensor([[2, 1], [0, 2]])
AREA = torch.tensor([300.0, 500])


def heatmap_terms(loss):
    codec = HeatmapCodec(sigma=1.5)
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(2, 2, *MAP, generator=generator) - 0.2
    targets, weights = codec.encode(POINTS, VISIBLE, SIZE, MAP)
    positions = codec.positions(SIZE, MAP, torch.device("cpu"))
    return heatmaps.requires_grad_(), targets, weights, codec.sigma, loss.oks_along(positions, POINTS, AREA)


def oks_at(person, index, x, y):
    distance = (x - POINTS[person, index, 0].item()) ** 2 + (y - POINTS[person, index, 1].item()) ** 2
    return math.exp(-distance / (2 * AREA[person].item() * (2 * SIGMAS[index]) ** 2))


def test_squared_error_and_expected_oks_are_those_of_plain_loops():
    loss = PoseLoss(oks=True, oks_weight=0.7, sigmas=SIGMAS)
    heatmaps, targets, weights, sigma, oks = heatmap_terms(loss)
    losses = loss.heatmap_loss(heatmaps, targets, weights, sigma, oks)
    squared = missed = 0.0
    maps, target_maps = heatmaps.detach().numpy().astype(float), targets.numpy().astype(float)
    for person, index in ((0, 0), (0, 1), (1, 1)):  # the visible keypoints
        squared += ((maps[person, index] - target_maps[person, index]) ** 2).sum() / (math.pi * 1.5**2)
        positive = np.maximum(maps[person, index], 0)
        expected = sum(
            positive[r, c] / positive.sum() * oks_at(person, index, c * 23 / 5, r * 31 / 7)
            for r in range(8)
            for c in range(6)
        )
        missed += 1 - expected
    assert losses["loss_heatmap"].item() == pytest.approx(squared / 4, rel=1e-4)
    assert losses["loss_oks"].item() == pytest.approx(0.7 * missed / 4, rel=1e-4)
    assert losses["loss"].item() == pytest.approx((squared + 0.7 * missed) / 4, rel=1e-4)
    assert not losses["loss_heatmap"].requires_grad and not losses["loss_oks"].requires_grad
    losses["loss"].backward()
    grad = heatmaps.grad
    assert grad[0].any() and grad[1, 1].any() and not grad[1, 0].any(), "an invisible keypoint has no gradient"


def test_the_loss_without_oks_is_the_heatmap_part():
    plain = PoseLoss()
    heatmaps, targets, weights, sigma, oks = heatmap_terms(plain)
    assert oks is None
    losses = plain.heatmap_loss(heatmaps, targets, weights, sigma, oks)
    with_oks = PoseLoss(oks=True, sigmas=SIGMAS)
    assert losses.keys() == {"loss"}
    assert torch.equal(losses["loss"], with_oks.heatmap_loss(*heatmap_terms(with_oks))["loss_heatmap"])


def test_the_loss_of_an_empty_map_is_one_and_of_an_exact_map_zero():
    codec = HeatmapCodec()
    points = torch.tensor([[[96.0, 128.0]]])
    targets, weights = codec.encode(points, torch.tensor([[2]]), (256, 192), (64, 48))
    loss = PoseLoss()
    assert loss.heatmap_loss(torch.zeros_like(targets), targets, weights, 2.0)["loss"].item() == pytest.approx(1, 1e-3)
    assert loss.heatmap_loss(targets, targets, weights, 2.0)["loss"] == 0


def test_oks_falls_with_distance_and_less_for_large_persons_and_large_sigmas():
    loss = PoseLoss(oks=True, sigmas=(0.05, 0.1))
    positions = [torch.arange(24.0), torch.arange(32.0)]
    x, y = loss.oks_along(positions, torch.full((2, 2, 2), 10.0), torch.tensor([100.0, 400.0]))
    assert x.shape == (2, 2, 24) and y.shape == (2, 2, 32)
    assert (x.argmax(2) == 10).all() and (x.amax(2) == 1).all()
    assert x[0, 0, 14] < x[1, 0, 14] and x[0, 0, 14] < x[0, 1, 14]
    assert x[1, 0, 14] == pytest.approx(math.exp(-16 / (2 * 400 * 0.1**2)))
    assert torch.equal(PoseLoss(oks=True).oks_along(positions, torch.zeros(1, 1, 2), torch.zeros(1))[0].isfinite(),
                       torch.ones(1, 1, 24, dtype=torch.bool))  # fmt: skip


def test_simcc_divergence_and_expected_oks_are_those_of_plain_loops():
    loss, codec = PoseLoss(oks=True, sigmas=SIGMAS, beta=10.0), SimCCCodec()
    generator = torch.Generator().manual_seed(0)
    logits = tuple(torch.rand(2, 2, side, generator=generator).requires_grad_() for side in codec.bins(SIZE))
    labels, weights = codec.encode(POINTS, VISIBLE, SIZE)
    oks = loss.oks_along(codec.positions(SIZE, torch.device("cpu")), POINTS, AREA)
    losses = loss.simcc_loss(logits, labels, weights, oks)

    def softmax(values):
        powers = np.exp(10 * values.astype(float))
        return powers / powers.sum()

    divergence = missed = 0.0
    for person, index in ((0, 0), (0, 1), (1, 1)):
        x, y = (softmax(along[person, index].detach().numpy()) for along in logits)
        target_x, target_y = (softmax(along[person, index].numpy()) for along in labels)
        divergence += (target_x * np.log(target_x / x)).sum() + (target_y * np.log(target_y / y)).sum()
        missed += 1 - sum(x[c] * y[r] * oks_at(person, index, c / 2, r / 2) for c in range(48) for r in range(64))
    assert losses["loss_divergence"].item() == pytest.approx(divergence / 4, rel=1e-4)
    assert losses["loss_oks"].item() == pytest.approx(missed / 4, rel=1e-4)
    losses["loss"].backward()
    assert all(x.grad[0].any() and x.grad[1, 1].any() and not x.grad[1, 0].any() for x in logits)
    exact = loss.simcc_loss(labels, labels, weights)
    assert exact.keys() == {"loss"} and exact["loss"].abs() < 1e-5


@pytest.mark.parametrize("oks", [False, True])
@pytest.mark.parametrize("persons", [0, 3])
def test_without_visible_keypoints_loss_and_gradient_are_zero(persons, oks):
    loss = PoseLoss(oks=oks)
    points, visible = torch.full((persons, 2, 2), math.nan), torch.zeros(persons, 2, dtype=torch.int64)
    area = torch.zeros(persons)
    codec = HeatmapCodec()
    heatmaps = torch.zeros(persons, 2, *MAP, requires_grad=True)
    along = loss.oks_along(codec.positions(SIZE, MAP, torch.device("cpu")), points, area)
    losses = loss.heatmap_loss(heatmaps, *codec.encode(points, visible, SIZE, MAP), codec.sigma, along)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not heatmaps.grad.any()
    classes = SimCCCodec()
    logits = tuple(torch.zeros(persons, 2, side, requires_grad=True) for side in classes.bins(SIZE))
    along = loss.oks_along(classes.positions(SIZE, torch.device("cpu")), points, area)
    losses = loss.simcc_loss(logits, *classes.encode(points, visible, SIZE), along)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not any(x.grad.any() for x in logits)


def test_under_autocast_the_loss_is_float32():
    loss = PoseLoss(oks=True, sigmas=SIGMAS)
    heatmaps, *rest = heatmap_terms(loss)
    plain = loss.heatmap_loss(heatmaps, *rest)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss.heatmap_loss(heatmaps, *rest)
    assert inside["loss"].dtype == torch.float32 and torch.equal(inside["loss"], plain["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beta": 0}, "beta"), ({"oks_weight": -1}, "oks_weight"), ({"sigmas": [0.1, 0]}, "sigmas")],
)
def test_invalid_options_are_an_error_of_one_line(options, message):
    with pytest.raises(LightsegError, match=message) as caught:
        PoseLoss(**options)
    assert "\n" not in str(caught.value)


def test_another_number_of_sigmas_than_of_keypoints_is_an_error():
    with pytest.raises(LightsegError, match="3 sigmas for 2 keypoints"):
        PoseLoss(oks=True, sigmas=[0.1] * 3).oks_along([torch.arange(3.0)] * 2, POINTS, AREA)
