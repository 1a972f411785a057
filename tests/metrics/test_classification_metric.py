"""Top-1, top-5, class accuracy and calibration against torchmetrics and counts by hand."""

import math

import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from lightseg.errors import DataError, LightsegError
from lightseg.metrics.classification import ClassificationMetric


def predictions(classes: int, samples: int = 700) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(0, classes, (samples,), generator=generator)
    logits = 2 * torch.randn(samples, classes, generator=generator)
    logits[torch.arange(samples), labels] += 1.5 * torch.rand(samples, generator=generator)
    return logits.softmax(1), labels


def scored(metric: ClassificationMetric, probabilities, labels, batch: int = 32) -> dict[str, float]:
    for start in range(0, len(labels), batch):
        metric.update(probabilities[start : start + batch], labels[start : start + batch])
    return metric.compute()


@pytest.mark.parametrize("classes", [2, 5, 6, 40])
def test_torchmetrics_agrees(classes):
    probabilities, labels = predictions(classes)
    metric = ClassificationMetric(classes)
    scores = scored(metric, probabilities, labels)
    assert torch.equal(metric.confusion, multiclass_confusion_matrix(probabilities, labels, classes))
    accuracy = multiclass_accuracy(probabilities, labels, classes, average="micro").item()
    assert 0.05 < accuracy < 0.95 and scores["top1"] == pytest.approx(accuracy)
    assert ("top5" in scores) == (classes > 5)
    if classes > 5:
        top5 = multiclass_accuracy(probabilities, labels, classes, top_k=5, average="micro").item()
        assert accuracy < top5 < 1 and scores["top5"] == pytest.approx(top5)
    by_class = multiclass_accuracy(probabilities, labels, classes, average=None)
    assert scores["mean_class_accuracy"] == pytest.approx(by_class.mean().item())
    for index, value in enumerate(by_class.tolist()):
        assert scores[f"class_accuracy/{index}"] == pytest.approx(value)
    ece = multiclass_calibration_error(probabilities, labels, classes, n_bins=15, norm="l1").item()
    assert ece > 0.01 and scores["ece"] == pytest.approx(ece, abs=1e-5)


def test_calibration_error_by_hand_with_confidences_on_the_bounds():
    """The upper bound belongs to a bin: a confidence of 1.0 is in the last one, 1/15 in the first."""
    confidences = [1.0, 1.0, 0.97, 0.96, 0.8, 0.6, 0.55, 0.55, 2 / 3]
    correct = [True, False, True, True, False, True, False, False, True]
    probabilities = torch.tensor([[c, 1 - c] for c in confidences])
    labels = torch.tensor([0 if r else 1 for r in correct])
    expected = 0.0
    for number in range(1, 16):
        members = [i for i, c in enumerate(confidences) if (number - 1) / 15 < c <= number / 15]
        if members:
            mean = sum(confidences[i] for i in members) / len(members)
            accuracy = sum(correct[i] for i in members) / len(members)
            expected += len(members) / len(confidences) * abs(mean - accuracy)
    assert scored(ClassificationMetric(2), probabilities, labels)["ece"] == pytest.approx(expected, abs=1e-6)


def test_classes_without_a_sample_have_no_accuracy():
    metric = ClassificationMetric(3, ["ant", "bee", "wasp"])
    scores = scored(metric, torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]]), torch.tensor([0, 0, 1]))
    assert scores["class_accuracy/ant"] == 0.5 and scores["class_accuracy/bee"] == 1
    assert "class_accuracy/wasp" not in scores and "top5" not in scores
    assert scores["mean_class_accuracy"] == 0.75 and scores["top1"] == pytest.approx(2 / 3)


def test_states_are_summed_over_processes():
    probabilities, labels = predictions(7)
    both, first, second = (ClassificationMetric(7) for _ in range(3))
    expected = scored(both, probabilities, labels)
    first.update(probabilities[:300], labels[:300])
    second.update(probabilities[300:], labels[300:])
    for state, reduction in first._reductions.items():
        setattr(first, state, reduction(torch.stack([getattr(first, state), getattr(second, state)])))
    assert first.compute() == pytest.approx(expected)
    both.reset()
    assert all(math.isnan(value) for value in both.compute().values())


def test_mixed_precision_and_uint8_labels_do_not_change_the_metrics():
    probabilities, labels = predictions(9)
    expected = scored(ClassificationMetric(9), probabilities, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert scored(ClassificationMetric(9), probabilities, labels.to(torch.uint8)) == pytest.approx(expected)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_the_classes_is_an_error(label):
    metric = ClassificationMetric(4)
    with pytest.raises(DataError, match=r"outside the 4 classes 0\.\.3"):
        metric.update(torch.full((2, 4), 0.25), torch.tensor([0, label]))
    assert metric.confusion.sum() == 0


def test_shapes_and_classes_that_do_not_fit_are_an_error():
    metric = ClassificationMetric(4)
    metric.update(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(LightsegError, match="do not fit 4 classes"):
        metric.update(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(LightsegError, match="do not fit 4 classes"):
        metric.update(torch.zeros(2, 4), torch.zeros(3))
    with pytest.raises(LightsegError, match="3 class names"):
        ClassificationMetric(4, ["a", "b", "c"])
    with pytest.raises(LightsegError, match="at least two"):
        ClassificationMetric(1)
