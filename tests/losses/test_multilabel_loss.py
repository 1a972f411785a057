"""The losses of several labels an image: values and gradients against plain loops in float64."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lightseg.errors import LightsegError
from lightseg.losses.multilabel import MultiLabelLoss

ASYMMETRIC = {"name": "asymmetric", "gamma_positive": 1.0, "gamma_negative": 4.0, "clip": 0.05}


def loops(logits: torch.Tensor, labels: torch.Tensor, positive: float, negative: float, clip: float):
    """Equations 5 and 7 of arXiv:2009.14119, and their derivatives by the logit."""
    total, gradients = 0.0, []
    for row, truths in zip(logits.tolist(), labels.tolist(), strict=True):
        gradients.append([])
        for x, y in zip(row, truths, strict=True):
            p = 1 / (1 + math.exp(-x))
            q = max(p - clip, 0.0)
            total -= y * (1 - p) ** positive * math.log(p) + (1 - y) * q**negative * math.log(1 - q)
            present = (1 - p) ** positive * (positive * p * math.log(p) - (1 - p))
            absent = 0.0
            if q > 0:
                slope = -negative * q ** (negative - 1) * math.log(1 - q) + q**negative / (1 - q)
                absent = slope * p * (1 - p)
            gradients[-1].append(y * present + (1 - y) * absent)
    return total / len(logits), torch.tensor(gradients, dtype=torch.float64) / len(logits)


def batch(mixed: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 2, (6, 5), generator=generator).double()
    return logits.requires_grad_(), 0.7 * labels + 0.3 * labels.flip(0) if mixed else labels


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    ("options", "exponents"),
    [({"name": "bce"}, (0, 0, 0)), (ASYMMETRIC, (1, 4, 0.05)), ({**ASYMMETRIC, "clip": 0.0}, (1, 4, 0))],
)
def test_value_and_gradient_are_those_of_the_paper(options, exponents, mixed):
    logits, labels = batch(mixed)
    loss = MultiLabelLoss(**options)(logits, labels)["loss"]
    loss.backward()
    value, gradient = loops(logits, labels, *exponents)
    assert loss.dtype == torch.float64 and loss.item() == pytest.approx(value, rel=1e-12)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-10, atol=1e-14)


def test_without_exponents_and_clip_it_is_binary_cross_entropy():
    logits, labels = (tensor.detach().float() for tensor in batch())
    loss = MultiLabelLoss(name="asymmetric", gamma_positive=0, gamma_negative=0, clip=0)(logits, labels)["loss"]
    expected = binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
def test_sure_logits_have_finite_gradients(gamma):
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, -3.0]], requires_grad=True)
    options = {**ASYMMETRIC, "gamma_positive": gamma, "gamma_negative": gamma}
    MultiLabelLoss(**options)(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]]))["loss"].backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(LightsegError, match=r"labels \[2\] do not fit logits \[2, 3\]: give \[B, C\]"):
        MultiLabelLoss()(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(LightsegError, match=r"loss\.name=focal: choose from bce, asymmetric"):
        MultiLabelLoss(name="focal")
