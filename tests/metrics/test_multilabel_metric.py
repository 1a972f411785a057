"""Average precision and F1 of several labels an image, against plain loops and values by hand."""

import math

import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.metrics.multilabel import MultiLabelMetric


def average_precision(scores: list[float], truths: list[bool]) -> float:
    """The sum over the distinct scores, the highest first, of the rise of recall times precision."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        predicted = [truth for score, truth in zip(scores, truths, strict=True) if score >= threshold]
        risen = sum(predicted) / sum(truths)
        total += (risen - recall) * sum(predicted) / len(predicted)
        recall = risen
    return total


def f1(predicted: list[bool], truths: list[bool]) -> float:
    right = sum(p and t for p, t in zip(predicted, truths, strict=True))
    return 2 * right / (sum(predicted) + sum(truths))


def test_it_is_that_of_plain_loops_with_ties_and_an_absent_class():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(300, 5, generator=generator).mul(20).round().div(20)  # many are equal
    labels = (torch.rand(300, 5, generator=generator) < torch.tensor([0.5, 0.1, 0.02, 0.9, 0.0])).float()
    metric = MultiLabelMetric(5, ["a", "b", "c", "d", "e"])
    for start in range(0, 300, 64):
        metric.update(probabilities[start : start + 64], labels[start : start + 64])
    scores = metric.compute()
    columns = list(zip(probabilities.T.tolist(), labels.bool().T.tolist(), strict=True))[:4]
    expected = [average_precision(*column) for column in columns]
    assert [scores[f"class_AP/{name}"] for name in "abcd"] == pytest.approx(expected, rel=1e-6)
    assert "class_AP/e" not in scores and scores["mAP"] == pytest.approx(sum(expected) / 4, rel=1e-6)
    of_class = [f1([score >= 0.5 for score in column], truths) for column, truths in columns]
    assert scores["F1"] == pytest.approx(sum(of_class) / 4)
    together = f1((probabilities >= 0.5).flatten().tolist(), labels.bool().flatten().tolist())
    assert scores["micro_F1"] == pytest.approx(together)


def test_by_hand():
    """Class x: right, wrong, right: 1/2 * 1 + 1/2 * 2/3. Class y: the only image with it comes last of three."""
    metric = MultiLabelMetric(2, ["x", "y"])
    metric.update(torch.tensor([[0.9, 0.9], [0.8, 0.5], [0.7, 0.4]]), torch.tensor([[1, 0], [0, 0], [1, 1]]))
    scores = metric.compute()
    assert scores["class_AP/x"] == pytest.approx(5 / 6) and scores["class_AP/y"] == pytest.approx(1 / 3)
    assert scores["mAP"] == pytest.approx(7 / 12)
    assert scores["F1"] == pytest.approx((4 / 5 + 0) / 2) and scores["micro_F1"] == pytest.approx(4 / 8)


def test_a_single_class_and_no_label():
    metric = MultiLabelMetric(1, ["x"])
    metric.update(torch.tensor([[0.2], [0.7]]), torch.tensor([[0.0], [0.0]]))
    assert math.isnan(metric.compute()["mAP"])
    metric.update(torch.tensor([[0.6]]), torch.tensor([[1.0]]))
    assert metric.compute()["mAP"] == metric.compute()["class_AP/x"] == pytest.approx(0.5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(LightsegError, match=r"labels \[4\] do not fit 3 classes: give \[B, 3\] of both"):
        MultiLabelMetric(3).update(torch.zeros(4, 3), torch.zeros(4))
