"""COCO's detection metrics against pycocotools, the official evaluator; repeats, processes, errors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.cocoeval import COCOeval

from lightseg.data.datasets.coco import CocoDetection
from lightseg.errors import LightsegError
from lightseg.metrics.detection import DetectionMetric
from lightseg.streets import write_coco
from tests.marks import slow_except
from tests.metrics.official import pycocotools, synchronize

SHARED = Path(__file__).parents[3] / "shared" / "data"
KEYS = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100")
Predictions = list[dict[str, torch.Tensor]]


def assert_same(ours: dict[str, float], evaluation: COCOeval, metric: DetectionMetric) -> None:
    for key, theirs in zip(KEYS, evaluation.stats, strict=False):
        if theirs == -1:
            assert math.isnan(ours[key]), key
        else:
            assert ours[key] == pytest.approx(theirs, abs=1e-6), key
    precision = evaluation.eval["precision"]
    for k, name in enumerate(metric.class_names):
        values = precision[:, :, k, 0, 2]
        if (values > -1).any():
            assert ours[f"AP/{name}"] == pytest.approx(values[values > -1].mean(), abs=1e-6), name
        else:
            assert f"AP/{name}" not in ours
    assert set(ours) == set(KEYS) | {key for key in ours if key.startswith("AP/")}


def noisy(truth: dict[str, Any], category_ids: list[int], seed: int = 0, max_extra: int = 130) -> Predictions:
    """Boxes near the ground truth, some with a wrong class, some twice, and many at random.

    Scores are rounded, so that ties occur. Every fifth image has no boxes, some have more than the 100 that count.
    """
    random = np.random.default_rng(seed)
    predictions = []
    for index, image in enumerate(truth["images"]):
        annotations = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        boxes, labels = [], []
        for annotation in annotations * 2:
            if random.random() < 0.7:
                x, y, w, h = annotation["bbox"]
                shift = random.normal(0, 0.06, 4) * [w, h, w, h]
                boxes.append(np.array([x, y, x + w, y + h]) + shift)
                is_correct = random.random() < 0.85
                labels.append(category_ids.index(annotation["category_id"]) if is_correct else random.integers(3))
        extra = int(random.integers(0, max_extra))
        corner = random.uniform(0, 0.8, (extra, 2)) * [image["width"], image["height"]]
        boxes += list(np.concatenate([corner, corner + random.uniform(4, 60, (extra, 2))], 1))
        labels += random.integers(0, len(category_ids), extra).tolist()
        if index % 5 == 4:
            boxes, labels = [], []
        n = len(boxes)
        predictions.append(
            {
                "boxes": torch.tensor(np.array(boxes).reshape(n, 4), dtype=torch.float32),
                "labels": torch.tensor(np.array(labels, np.int64)),
                "scores": torch.tensor(random.random(n).round(2), dtype=torch.float32),
            }
        )
    return predictions


def perfect(truth: dict[str, Any], category_ids: list[int]) -> Predictions:
    predictions = []
    for image in truth["images"]:
        annotations = [a for a in truth["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([category_ids.index(a["category_id"]) for a in annotations], dtype=torch.int64)
        predictions.append({"boxes": boxes.float(), "labels": labels, "scores": torch.ones(len(annotations))})
    return predictions


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> CocoDetection:
    """8 images. Every ninth object is a crowd; an image and a class have no objects."""
    root = write_coco(tmp_path_factory.mktemp("mini") / "set", seed=1, train=1, val=8, height=128, width=256)
    path = root / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation["iscrowd"] = int(number % 9 == 0)
    empty_image = content["images"][3]["id"]
    content["annotations"] = [
        a for a in content["annotations"] if a["image_id"] != empty_image and a["category_id"] != 12
    ]  # fmt: skip
    path.write_text(json.dumps(content))
    return CocoDetection(root, images="images/val", annotations="annotations/instances_val.json")


def metric_of(data: CocoDetection) -> DetectionMetric:
    return DetectionMetric(data.ground_truth(), data.class_names, data.category_ids)


def fill(metric: DetectionMetric, predictions: Predictions, image_ids: list[int], batch: int = 3) -> DetectionMetric:
    for start in range(0, len(image_ids), batch):
        metric.update(predictions[start : start + batch], image_ids[start : start + batch])
    return metric


@pytest.mark.parametrize("seed", slow_except([0], range(3)))
def test_equals_pycocotools(mini, seed):
    truth = mini.ground_truth()
    assert any(a["iscrowd"] for a in truth["annotations"]) and len(truth["annotations"]) > 50
    metric = fill(metric_of(mini), noisy(truth, mini.category_ids, seed), mini.image_ids)
    ours = metric.compute()
    assert_same(ours, pycocotools(truth, metric.results(), "bbox"), metric)
    assert 0.02 < ours["mAP"] < 0.9 and "AP/traffic sign" not in ours and "AP/person" in ours


def test_written_results_have_the_same_metrics(mini, tmp_path):
    metric = fill(metric_of(mini), noisy(mini.ground_truth(), mini.category_ids), mini.image_ids)
    (tmp_path / "results.json").write_text(json.dumps(metric.results()))
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    assert_same(metric.compute(), pycocotools(mini.ground_truth(), results, "bbox"), metric)


def test_the_ground_truth_has_ap_1(mini):
    metric = fill(metric_of(mini), perfect(mini.ground_truth(), mini.category_ids), mini.image_ids)
    ours = metric.compute()
    assert all(ours[key] == 1.0 for key in ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium"))
    assert all(value == 1.0 for key, value in ours.items() if key.startswith("AP/"))


def nothing(count: int) -> Predictions:
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    return [empty] * count


def test_without_detections(mini):
    metric = fill(metric_of(mini), nothing(8), mini.image_ids)
    ours = metric.compute()
    assert ours["mAP"] == ours["AR100"] == 0.0 and metric.results() == []
    assert_same(ours, pycocotools(mini.ground_truth(), [], "bbox"), metric)


def test_without_objects(mini):
    truth = mini.ground_truth() | {"annotations": []}
    metric = DetectionMetric(truth, mini.class_names, mini.category_ids)
    fill(metric, noisy(mini.ground_truth(), mini.category_ids), mini.image_ids)
    assert set(metric.compute()) == set(KEYS) and all(math.isnan(value) for value in metric.compute().values())


def test_without_images(mini):
    metric = metric_of(mini)
    metric.update([], [])
    assert all(math.isnan(value) for value in metric.compute().values()) and metric.results() == []


def test_a_subset_of_the_images(mini):
    truth = mini.ground_truth()
    indices = [0, 2, 3, 6]
    predictions = noisy(truth, mini.category_ids)
    image_ids = [mini.image_ids[i] for i in indices]
    metric = fill(metric_of(mini), [predictions[i] for i in indices], image_ids)
    assert_same(metric.compute(), pycocotools(truth, metric.results(), "bbox", image_ids), metric)


def test_order_and_repeats_do_not_matter(mini):
    """Two processes with shuffled images, one of them in both, so that both have the same number."""
    truth = mini.ground_truth()
    predictions = noisy(truth, mini.category_ids)
    single = fill(metric_of(mini), predictions, mini.image_ids)
    shares = [[6, 0, 4, 2, 7], [1, 7, 5, 3, 6]]
    parts = [
        fill(metric_of(mini), [predictions[i] for i in share], [mini.image_ids[i] for i in share], 2)
        for share in shares
    ]  # fmt: skip
    expected, results = single.compute(), single.results()
    for idle in (False, True):  # the other process has images or none
        metric, other = (single, metric_of(mini)) if idle else parts
        synchronize(metric, other, ("images", "detections"))
        assert metric.compute() == pytest.approx(expected, nan_ok=True, abs=0)
        assert metric.results() == results


@pytest.mark.parametrize("first", [20240115123456780, 2**63, 10**30])
def test_ids_that_no_float_holds(mini, first):
    """Boxes in the next image score as with small ids, where pycocotools says the same."""
    truth = mini.ground_truth()
    renamed = {image_id: first + index for index, image_id in enumerate(sorted(mini.image_ids))}
    far = {
        **truth,
        "images": [{**image, "id": renamed[image["id"]]} for image in truth["images"]],
        "annotations": [{**a, "image_id": renamed[a["image_id"]]} for a in truth["annotations"]],
    }
    right = perfect(truth, mini.category_ids)
    for predictions in (right, right[1:] + right[:1]):
        near = fill(metric_of(mini), predictions, mini.image_ids)
        ours = DetectionMetric(far, mini.class_names, mini.category_ids)
        fill(ours, predictions, [renamed[image_id] for image_id in mini.image_ids])
        assert ours.compute() == pytest.approx(near.compute(), nan_ok=True, abs=0)
        assert_same(ours.compute(), pycocotools(far, ours.results(), "bbox"), ours)
    assert near.compute()["mAP"] < 0.1


def test_more_detections_of_an_image_may_count(mini):
    """As pycocotools' maxDets; 130 objects of a class in an image, all found."""
    boxes = torch.tensor([[x * 10.0, y * 10.0, x * 10.0 + 8, y * 10.0 + 8] for x in range(13) for y in range(10)])
    truth = {
        "images": [{"id": 1, "height": 100, "width": 130}],
        "categories": [{"id": 1, "name": "seed"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [*box[:2], 8, 8], "area": 64, "iscrowd": 0}
            for n, box in enumerate(boxes.tolist(), start=1)
        ],
    }
    found = {"boxes": boxes, "labels": torch.zeros(130, dtype=torch.int64), "scores": torch.linspace(0.5, 1, 130)}
    figures = {}
    for limit in (100, 200):
        metric = DetectionMetric(truth, ["seed"], [1], limit)
        metric.update([found], [1])
        figures[limit] = metric.compute()
        recall = pycocotools(truth, metric.results(), "bbox", maxDets=[1, 10, limit]).eval["recall"][..., 0, 2].mean()
        assert figures[limit][f"AR{limit}"] == pytest.approx(recall, abs=1e-6)
    assert figures[100]["AR100"] == pytest.approx(100 / 130) and figures[200]["AR200"] == 1.0
    assert figures[200]["mAP"] == pytest.approx(1.0) and figures[100]["mAP"] < 0.8
    with pytest.raises(LightsegError, match="max_detections is 5: must be a whole number above 10"):
        DetectionMetric(truth, ["seed"], [1], 5)


def test_reset(mini):
    predictions = noisy(mini.ground_truth(), mini.category_ids)
    metric = fill(metric_of(mini), predictions, mini.image_ids)
    first = metric.compute()
    metric.reset()
    fill(metric, perfect(mini.ground_truth(), mini.category_ids), mini.image_ids)
    assert metric.compute()["mAP"] == 1.0
    metric.reset()
    assert fill(metric, predictions, mini.image_ids, 8).compute() == pytest.approx(first, nan_ok=True, abs=0)


def test_invalid_predictions_are_an_error(mini):
    metric = metric_of(mini)
    good = perfect(mini.ground_truth(), mini.category_ids)[0]
    first, second = mini.image_ids[:2]
    empty = nothing(1)[0]
    boxes = good["boxes"].clone()
    boxes[1, 2] = math.nan
    scores = good["scores"].clone()
    scores[0] = math.inf
    labels = good["labels"].clone()
    labels[0] = 8
    for wrong, message in (
        ({"boxes": boxes}, f"image {second}: a predicted box or score is not finite; has the training diverged"),
        ({"scores": scores}, f"image {second}: a predicted box or score is not finite"),
        ({"labels": labels}, f"image {second}: label 8 is outside the classes 0..7"),
        ({"labels": labels[1:]}, f"image {second}: boxes .* do not fit: they are"),
    ):
        with pytest.raises(LightsegError, match=message):
            metric.update([empty, {**good, **wrong}], [first, second])
    with pytest.raises(LightsegError, match="image 123456 is not in the ground truth"):
        metric.update([good], [123456])
    with pytest.raises(LightsegError, match="1 predictions for 2 images"):
        metric.update([good], [first, second])
    with pytest.raises(LightsegError, match="8 category ids, but 2 class names"):
        DetectionMetric(mini.ground_truth(), ["a", "b"], mini.category_ids)
    with pytest.raises(LightsegError, match="category_ids must differ"):
        DetectionMetric(mini.ground_truth(), mini.class_names, mini.category_ids[:1] * 8)
    assert not metric.images and not metric.detections  # an invalid batch is not counted


@pytest.mark.parametrize("folder", ["coco128", pytest.param("coco_person", marks=pytest.mark.slow)])
@pytest.mark.parametrize("split", [pytest.param("train2017", marks=pytest.mark.slow), "val2017"])
def test_equals_pycocotools_on_photographs(folder, split):
    """pycocotools reads the original annotation file."""
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    file = f"annotations/instances_{split}.json"
    data = CocoDetection(root, images=split, annotations=file)
    raw = json.loads((root / file).read_text())
    assert ("crowd" in json.dumps(raw)) and (folder == "coco128" or any(a["iscrowd"] for a in raw["annotations"]))
    metric = fill(metric_of(data), noisy(data.ground_truth(), data.category_ids), data.image_ids)
    ours = metric.compute()
    assert_same(ours, pycocotools(raw, metric.results(), "bbox"), metric)
    assert 0.02 < ours["mAP"] < 0.95
    metric.reset()
    ours = fill(metric, perfect(data.ground_truth(), data.category_ids), data.image_ids).compute()
    assert ours["mAP"] == pytest.approx(1.0, abs=1e-6) and ours["mAP_large"] == pytest.approx(1.0, abs=1e-6)
