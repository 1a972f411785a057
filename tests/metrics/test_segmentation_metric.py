"""mIoU against a count by hand, torchmetrics and the evaluator of Cityscapes."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from torchmetrics.classification import MulticlassJaccardIndex

from lightseg.data.datasets.cityscapes import Cityscapes, write_submission
from lightseg.errors import DataError, LightsegError
from lightseg.metrics.segmentation import SegmentationMetric

NAMES = ["sky", "road", "car", "person", "train"]


def batches(count: int = 3, classes: int = 5, absent: tuple[int, ...] = ()) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Predictions and labels [2, 11, 13] with a few ignored pixels; `absent` classes occur in neither."""
    random = np.random.default_rng(0)
    present = [i for i in range(classes) if i not in absent]
    result = []
    for _ in range(count):
        masks = random.choice(np.array([*present, 255]), (2, 11, 13))
        wrong = random.choice(np.array(present), masks.shape)
        prediction = np.where((random.random(masks.shape) < 0.6) & (masks != 255), masks, wrong)
        result.append((torch.from_numpy(prediction), torch.from_numpy(masks)))
    return result


def by_hand(pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int) -> tuple[dict[int, float], float]:
    """IoU of each class that occurs, and pixel accuracy, pixel by pixel over the whole set."""
    both, either = [0] * classes, [0] * classes
    correct = counted = 0
    for prediction, masks in pairs:
        for p, m in zip(prediction.flatten().tolist(), masks.flatten().tolist(), strict=True):
            if m == 255:
                continue
            counted += 1
            correct += p == m
            for c in {p, m}:
                either[c] += 1
                both[c] += p == m
    return {c: both[c] / either[c] for c in range(classes) if either[c]}, correct / counted


def score(pairs, classes: int = 5, names=NAMES) -> dict[str, float]:
    metric = SegmentationMetric(classes, names)
    for prediction, masks in pairs:
        metric.update(prediction, masks)
    return metric.compute()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_equals_a_count_by_hand(dtype: torch.dtype) -> None:
    pairs = batches()
    result = score([(prediction.to(dtype), masks.to(dtype)) for prediction, masks in pairs])
    iou, accuracy = by_hand(pairs, 5)
    assert result["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert result["mIoU"] == pytest.approx(sum(iou.values()) / 5, abs=1e-12)
    for index, name in enumerate(NAMES):
        assert result[f"IoU/{name}"] == pytest.approx(iou[index], abs=1e-12)


def test_equals_torchmetrics() -> None:
    pairs = batches(classes=19)
    ours = score(pairs, 19, None)
    each = MulticlassJaccardIndex(19, ignore_index=255, average=None)
    mean = MulticlassJaccardIndex(19, ignore_index=255, average="macro")
    for prediction, masks in pairs:
        each.update(prediction, masks)
        mean.update(prediction, masks)
    assert ours["mIoU"] == pytest.approx(mean.compute().item(), abs=1e-6)
    assert [ours[f"IoU/{i}"] for i in range(19)] == pytest.approx(each.compute().tolist(), abs=1e-6)


def test_absent_classes_are_left_out_and_falsely_predicted_classes_are_not() -> None:
    result = score(batches(absent=(3,)))
    assert "IoU/person" not in result and len(result) == 2 + 4
    assert result["mIoU"] == pytest.approx(sum(v for k, v in result.items() if k.startswith("IoU/")) / 4)
    masks = torch.tensor([[[0, 0, 255]]])
    result = score([(torch.tensor([[[0, 1, 2]]]), masks)])  # class 2 is predicted only on an ignored pixel
    assert result == {"mIoU": 0.25, "pixel_accuracy": 0.5, "IoU/sky": 0.5, "IoU/road": 0.0}


def test_sum_over_processes_and_reset() -> None:
    pairs = batches(4)
    first, second, both = (SegmentationMetric(5) for _ in range(3))
    for metric, part in ((first, pairs[:1]), (second, pairs[1:]), (both, pairs)):
        for prediction, masks in part:
            metric.update(prediction, masks)
    assert first._reductions["confusion"] is torch.sum or first._reductions["confusion"].__name__ == "dim_zero_sum"
    merged = SegmentationMetric(5)
    merged.update(*pairs[0])
    merged.confusion = first._reductions["confusion"](torch.stack([first.confusion, second.confusion]))
    assert merged.compute() == both.compute()
    both.reset()
    both.update(*pairs[0])
    assert both.compute() == first.compute()


def test_without_a_counted_pixel_metrics_are_nan() -> None:
    masks = torch.full((1, 4, 4), 255)
    result = score([(torch.zeros_like(masks), masks)])
    assert math.isnan(result["mIoU"]) and math.isnan(result["pixel_accuracy"]) and len(result) == 2


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [(0, 5, r"labels \[5\]"), (5, 0, r"predictions \[5\]"), (0, -1, "-1..0"), (300, 0, "0..300"), (0, 254, r"\[254\]")],
)
def test_ids_outside_the_classes_are_an_error_and_not_counted(prediction: int, label: int, message: str) -> None:
    metric = SegmentationMetric(5, NAMES)
    predictions, masks = torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64)
    predictions[0, 0, 0], masks[0, 0, 0] = prediction, label
    with pytest.raises(DataError, match=message):
        metric.update(predictions, masks)
    assert metric.confusion.sum() == 0


def test_another_ignored_id() -> None:
    metric = SegmentationMetric(3, ignore_index=0)
    metric.update(torch.tensor([[2, 1, 1]]), torch.tensor([[0, 1, 2]]))
    assert metric.confusion.sum() == 2 and metric.compute()["IoU/1"] == 0.5


def test_shapes_and_numbers_of_classes_must_fit() -> None:
    metric = SegmentationMetric(5)
    with pytest.raises(LightsegError, match="own resolution"):
        metric.update(torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 8, 8, dtype=torch.int64))
    with pytest.raises(LightsegError, match="5 classes, but 2 class names"):
        SegmentationMetric(5, ["a", "b"])
    with pytest.raises(LightsegError, match="1 to 255"):
        SegmentationMetric(256)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A small Cityscapes val split: blocks of all label ids but `train`, ignored ones included."""
    random = np.random.default_rng(0)
    ids = np.array([i for i in range(34) if i != 31], np.uint8)
    for frame in range(3):
        name = f"bonn_{frame:06}_000019"
        for kind, array in (
            ("leftImg8bit/val/bonn/{}_leftImg8bit.png", np.zeros((48, 64, 3), np.uint8)),
            ("gtFine/val/bonn/{}_gtFine_labelIds.png", random.choice(ids, (12, 16)).repeat(4, 0).repeat(4, 1)),
        ):
            path = tmp_path / kind.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    return tmp_path


def test_equals_the_evaluator_of_cityscapes(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Cityscapes(street, "val")
    random = np.random.default_rng(1)
    metric = SegmentationMetric(19, dataset.class_names)
    for sample in dataset:
        mask = sample["mask"].numpy()
        guess = random.integers(0, 14, mask.shape)  # truck, bus and the two-wheelers only where they are right
        prediction = np.where((mask != 255) & (random.random(mask.shape) < 0.7), mask, guess)
        metric.update(torch.from_numpy(prediction), sample["mask"])
        write_submission(prediction, sample["name"], street / "results")
    ours = metric.compute()

    args = official.args
    monkeypatch.setattr(args, "predictionPath", str(street / "results"))
    monkeypatch.setattr(args, "predictionWalk", None)
    monkeypatch.setattr(args, "evalInstLevelScore", False)
    monkeypatch.setattr(args, "JSONOutput", False)
    monkeypatch.setattr(args, "quiet", True)
    truths = [str(pair.label) for pair in dataset.pairs]
    predictions = [official.getPrediction(args, truth) for truth in truths]
    theirs = official.evaluateImgLists(predictions, truths, args)

    assert ours["mIoU"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-6)
    for name in dataset.class_names:
        if name == "train":
            assert math.isnan(theirs["classScores"][name]) and "IoU/train" not in ours
        else:
            assert ours[f"IoU/{name}"] == pytest.approx(theirs["classScores"][name], abs=1e-6)
    assert 0.2 < ours["mIoU"] < 0.9
