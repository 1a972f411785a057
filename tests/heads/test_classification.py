"""The classification heads and their loss against plain sums."""

import math

import pytest
import torch
from timm.data import Mixup
from torch import nn

from lightseg.errors import LightsegError
from lightseg.heads.classification import LinearHead, NativeHead
from lightseg.losses.classification import ClassificationLoss

STAGES = ((8, 4), (16, 32))


def maps(batch: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, channels, 64 // stride, 96 // stride, generator=generator) for channels, stride in STAGES
    ]


def loss_in_loops(logits: torch.Tensor, shares: torch.Tensor, smoothing: float) -> float:
    total = 0.0
    for row, share in zip(logits.tolist(), shares.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for value, part in zip(row, share, strict=True):
            total -= ((1 - smoothing) * part + smoothing / len(row)) * (value - log_sum)
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_loss_is_cross_entropy_with_smoothed_shares(smoothing, soft):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 5, generator=generator)
    labels = torch.randint(0, 5, (6,), generator=generator)
    shares = nn.functional.one_hot(labels, 5).float()
    if soft:
        shares = 0.7 * shares + 0.3 * shares.flip(0)
    loss = ClassificationLoss(label_smoothing=smoothing)(logits, shares if soft else labels)["loss"]
    assert loss.item() == pytest.approx(loss_in_loops(logits, shares, smoothing), rel=1e-5)


def test_smoothing_of_mixed_targets_equals_that_of_timms_mixup():
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    images, logits = torch.randn(6, 3, 8, 8), torch.randn(6, 5)
    targets = []
    for smoothing in (0.0, 0.1):
        torch.manual_seed(0)
        mixup = Mixup(mixup_alpha=0.8, label_smoothing=smoothing, num_classes=5)
        mixup._params_per_batch = lambda: (0.3, False)
        targets.append(mixup(images.clone(), labels)[1])
    ours = ClassificationLoss(label_smoothing=0.1)(logits, targets[0])["loss"]
    plain = ClassificationLoss()(logits, targets[1])["loss"]
    assert not torch.equal(targets[0], targets[1])
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)


def test_the_loss_is_float32_under_autocast():
    logits, labels = torch.randn(4, 5, requires_grad=True), torch.tensor([0, 1, 2, 3])
    expected = ClassificationLoss()(logits, labels)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        loss = ClassificationLoss()(logits, labels)["loss"]
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    half = logits.detach().bfloat16().requires_grad_()
    ClassificationLoss()(half, labels)["loss"].backward()
    assert half.grad.dtype == torch.bfloat16 and half.grad.abs().max() > 0


def test_linear_head_pools_the_deepest_map():
    head = LinearHead(STAGES, 7)
    features = maps()
    logits = head(features, (64, 96))
    for image in range(3):
        pooled = [features[-1][image, channel].sum().item() / 6 for channel in range(16)]
        for index in range(7):
            weights = head.classifier.weight[index].tolist()
            value = sum(w * p for w, p in zip(weights, pooled, strict=True)) + head.classifier.bias[index].item()
            assert logits[image, index].item() == pytest.approx(value, abs=1e-5)
    probabilities = head.decode(logits, (64, 96))
    assert probabilities.dtype == torch.float32 and torch.allclose(probabilities.sum(1), torch.ones(3))
    assert torch.allclose(probabilities, logits.exp() / logits.exp().sum(1, keepdim=True))
    loss = head.loss(logits, {"labels": torch.tensor([0, 6, 3])})
    assert set(loss) == {"loss"} and loss["loss"].requires_grad
    assert head.decode(torch.tensor([[1000.0, 0.0]], dtype=torch.bfloat16)).tolist() == [[1.0, 0.0]]


def test_dropout_drops_features_only_in_training_and_can_change():
    head = LinearHead(STAGES, 2, dropout=0.5)
    nn.init.ones_(head.classifier.weight)
    nn.init.zeros_(head.classifier.bias)
    ones = [torch.ones(64, channels, 4, 4) for channels, _ in STAGES]
    torch.manual_seed(0)
    kept = head(ones) / 2  # kept channels are scaled by 2
    assert kept.std() > 0.5 and kept.mean().item() == pytest.approx(8, abs=1)
    head.dropout.p = 0.0
    assert torch.equal(head(ones), torch.full((64, 2), 16.0))
    head.dropout.p = 0.5
    assert torch.equal(head.eval()(ones), torch.full((64, 2), 16.0))


def test_native_head_returns_the_logits_of_the_net():
    logits = torch.randn(4, 10, requires_grad=True)
    head = NativeHead([(10, 1)], 10, loss=ClassificationLoss(label_smoothing=0.1))
    assert torch.equal(head([logits], (32, 32)), logits) and not list(head.parameters())
    labels = torch.tensor([0, 1, 2, 9])
    shares = nn.functional.one_hot(labels, 10).float()
    assert head.loss(logits, {"labels": labels})["loss"].item() == pytest.approx(loss_in_loops(logits, shares, 0.1))
    assert torch.equal(head.decode(logits), logits.softmax(1))
    with pytest.raises(LightsegError, match=r"has 1000 classes, but the data has 10: use head linear"):
        NativeHead([(1000, 1)], 10)


def test_invalid_labels_and_options_are_errors():
    logits = torch.zeros(2, 3)
    with pytest.raises(LightsegError, match=r"label 3 is not one of the classes 0\.\.2"):
        ClassificationLoss()(logits, torch.tensor([0, 3]))
    with pytest.raises(LightsegError, match="label -1"):
        ClassificationLoss()(logits, torch.tensor([0, -1]))
    with pytest.raises(LightsegError, match=r"labels \[2, 4\] do not fit logits \[2, 3\]"):
        ClassificationLoss()(logits, torch.zeros(2, 4))
    with pytest.raises(LightsegError, match="label_smoothing"):
        ClassificationLoss(label_smoothing=1.0)
    with pytest.raises(LightsegError, match="dropout"):
        LinearHead(STAGES, 3, dropout=1.0)
