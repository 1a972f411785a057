"""OKS AP against pycocotools, the official evaluator; repeats, processes, errors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightseg.errors import LightsegError
from lightseg.metrics.pose import PoseMetric
from tests.metrics.official import pycocotools, synchronize
from tests.metrics.persons import NAMES, SIGMAS, detected, fill, persons, subset, synthetic

SHARED = Path(__file__).parents[3] / "shared" / "data"
KEYS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
COCO_SIGMAS = np.repeat([26, 25, 35, 79, 72, 62, 107, 87, 89], [1, *[2] * 8]) / 1000


def official(
    truth: dict[str, Any], results: list[dict[str, Any]], sigmas: Any, image_ids: list[int] | None = None
) -> dict[str, float]:
    """The metrics of pycocotools; sigmas None: those of COCO."""
    params = {} if sigmas is None else {"kpt_oks_sigmas": np.array(sigmas)}
    evaluation = pycocotools(truth, results, "keypoints", image_ids, **params)
    return dict(zip(KEYS, evaluation.stats.tolist(), strict=True))


def assert_same(ours: dict[str, float], theirs: dict[str, float]) -> None:
    for key in KEYS:
        assert (-1 if math.isnan(ours[key]) else ours[key]) == pytest.approx(theirs[key], abs=1e-6), key


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools(seed):
    truth = synthetic(seed=seed)
    assert any(a["iscrowd"] for a in truth["annotations"])
    assert any(not a["num_keypoints"] and not a["iscrowd"] for a in truth["annotations"])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS), persons(truth, 0.05, seed))
    ours = metric.compute()
    assert_same(ours, official(truth, metric.results(), SIGMAS))
    assert 0.1 < ours["AP"] < 0.9 and ours["AP_medium"] != ours["AP_large"]


@pytest.mark.parametrize("nms_threshold", [None, 0.9, 0.5])
def test_equals_pycocotools_in_boxes_of_a_detector(nms_threshold, tmp_path):
    truth = synthetic(max_persons=30)
    predictions = detected(truth)
    assert max(predictions["image_ids"].count(image["id"]) for image in truth["images"]) > 20
    metric = fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True, nms_threshold=nms_threshold), predictions)
    (tmp_path / "results.json").write_text(json.dumps(metric.results()))
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert (len(results) == len(predictions["ids"])) == (nms_threshold is None)
    ours = metric.compute()
    assert_same(ours, official(truth, results, SIGMAS))
    assert 0.05 < ours["AP"] < 0.9 and math.isnan(ours["PCK"]) and not any("/" in key for key in ours)


def test_images_without_detections_count():
    truth = synthetic()
    predictions = detected(truth)
    image_ids = [image["id"] for image in truth["images"]][::2]
    few = subset(predictions, [i for i, image_id in enumerate(predictions["image_ids"]) if image_id in image_ids])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True), few)
    assert_same(metric.compute(), official(truth, metric.results(), SIGMAS))
    empty = PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True)
    empty.update(**subset(predictions, []))
    assert empty.compute()["AP"] == empty.compute()["AR"] == 0.0 and empty.results() == []


def test_a_subset_of_the_images_with_ground_truth_boxes():
    truth = synthetic()
    image_ids = [image["id"] for image in truth["images"]][::2]
    predictions = persons(truth, 0.05)
    part = subset(predictions, [i for i, image_id in enumerate(predictions["image_ids"]) if image_id in image_ids])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS), part)
    assert_same(metric.compute(), official(truth, metric.results(), SIGMAS, image_ids))


@pytest.mark.parametrize("detector_boxes", [False, True])
def test_ids_that_no_float_holds(detector_boxes):
    truth, first = synthetic(), 20240115123456780
    renamed = {image["id"]: first + index for index, image in enumerate(truth["images"])}
    far = {
        **truth,
        "images": [{**image, "id": renamed[image["id"]]} for image in truth["images"]],
        "annotations": [
            {**a, "image_id": renamed[a["image_id"]], "id": 10**30 + a["id"], "category_id": 2**60 + 1}
            for a in truth["annotations"]
        ],
        "categories": [{**truth["categories"][0], "id": 2**60 + 1}],
    }
    predictions = persons(truth, 0.05)
    expected = fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=detector_boxes), predictions).compute()
    predictions |= {
        "image_ids": [renamed[image_id] for image_id in predictions["image_ids"]],
        "ids": [10**30 + id_ for id_ in predictions["ids"]],
    }
    metric = fill(PoseMetric(far, NAMES, SIGMAS, detector_boxes=detector_boxes), predictions)
    assert metric.compute() == pytest.approx(expected, abs=0, nan_ok=True)
    assert_same(metric.compute(), official(far, metric.results(), SIGMAS))


def test_sigmas_change_ap_but_not_pck():
    truth = synthetic()
    predictions = persons(truth, 0.05)
    sigmas = [np.array(SIGMAS) * factor for factor in (0.5, 1, 2)]
    figures = [fill(PoseMetric(truth, NAMES, values), predictions).compute() for values in sigmas]
    assert figures[0]["AP"] < figures[1]["AP"] - 0.1 < figures[2]["AP"] - 0.2
    assert figures[0]["PCK"] == figures[2]["PCK"]


def test_the_ground_truth_has_ap_1():
    truth = synthetic()
    ours = fill(PoseMetric(truth, NAMES, SIGMAS), persons(truth)).compute()
    assert set(ours) == {*KEYS, "PCK", *(f"PCK/{name}" for name in NAMES)}
    assert all(value == pytest.approx(1.0, abs=1e-6) for value in ours.values())


def test_without_persons():
    truth = synthetic()
    metric = PoseMetric(truth, NAMES, SIGMAS)
    metric.update(**subset(persons(truth), []))
    assert all(math.isnan(value) for value in metric.compute().values())
    crowds = truth | {"annotations": [a | {"iscrowd": 1} for a in truth["annotations"]]}
    metric = fill(PoseMetric(crowds, NAMES, SIGMAS), persons(truth, 0.05))
    assert all(math.isnan(value) for value in metric.compute().values())
    empty = truth | {"annotations": []}
    metric = fill(PoseMetric(empty, NAMES, SIGMAS, detector_boxes=True), detected(truth))
    assert all(math.isnan(value) for value in metric.compute().values())


@pytest.mark.parametrize("detector", [False, True])
def test_order_and_repeats_do_not_matter(detector):
    """Two processes with shuffled persons, some of them in both, so that both have the same number."""
    truth = synthetic(max_persons=30)
    predictions = detected(truth) if detector else persons(truth, 0.05)
    order = np.random.default_rng(0).permutation(len(predictions["ids"])).tolist()
    half = len(order) // 2

    def metric(indices: list[int]) -> PoseMetric:
        empty = PoseMetric(truth, NAMES, SIGMAS, detector_boxes=detector, nms_threshold=None)
        return fill(empty, subset(predictions, indices))

    single = metric(list(range(len(order))))
    expected, results = single.compute(), single.results()
    boxes = zip(predictions["image_ids"], predictions["boxes"].tolist(), strict=True)
    assert len(results) == len({(image_id, *box) for image_id, box in boxes})
    for part, other in ((metric(order[: half + 3]), metric(order[half - 4 :])), (single, metric([]))):
        synchronize(part, other, ("persons",))
        assert part.compute() == pytest.approx(expected, nan_ok=True, abs=0)
        assert part.results() == results
    single.reset()
    assert fill(single, subset(predictions, order), 50).compute() == pytest.approx(expected, nan_ok=True, abs=0)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_equals_pycocotools_on_photographs(split):
    """The original annotation file, with the sigmas of COCO."""
    path = SHARED / "coco_person" / "annotations" / f"person_keypoints_{split}.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    raw = json.loads(path.read_text())
    assert any(a["iscrowd"] for a in raw["annotations"])
    assert any(not a["num_keypoints"] and not a["iscrowd"] for a in raw["annotations"])
    names = raw["categories"][0]["keypoints"]
    metric = PoseMetric(raw, names, COCO_SIGMAS)
    for noise in (0.01, 0.03):
        metric.reset()
        ours = fill(metric, persons(raw, noise)).compute()
        assert_same(ours, official(raw, metric.results(), None))
        assert 0.05 < ours["AP"] < 0.98 and 0.3 < ours["PCK"] < 1
    metric.reset()
    ours = fill(metric, persons(raw)).compute()
    assert all(ours[key] == pytest.approx(1.0, abs=1e-6) for key in KEYS) and ours["PCK"] == 1.0
    metric = fill(PoseMetric(raw, names, COCO_SIGMAS, detector_boxes=True), detected(raw))
    assert_same(metric.compute(), official(raw, metric.results(), None))


def test_invalid_predictions_and_settings_are_an_error():
    truth = synthetic()
    good = persons(truth, 0.05)
    metric = PoseMetric(truth, NAMES, SIGMAS)
    first = subset(good, [0, 1, 2])
    keypoints, scores = first["keypoints"].clone(), first["scores"].clone()
    keypoints[2, 1, 0], scores[1, 0] = math.nan, math.inf
    images = first["image_ids"]
    elsewhere = next(i for i in range(len(good["ids"])) if good["image_ids"][i] != images[0])
    for wrong, message in (
        ({"keypoints": keypoints}, f"image {images[2]}: a keypoint, score or box is not finite; has the training"),
        ({"scores": scores}, f"image {images[1]}: a keypoint, score or box is not finite"),
        (
            {"keypoints": keypoints[:, :4]},
            r"3 image ids, keypoints \[3, 4, 2\], .* do not fit: they are B, \[B, 5, 2\]",
        ),
        ({"box_scores": torch.ones(2)}, "box_scores .* do not fit"),
        ({"image_ids": [images[0], 1, images[1]]}, "image 1 is not in the ground truth"),
        ({"ids": None}, "0 annotation ids for 3 persons"),
        ({"ids": [good["ids"][elsewhere], *first["ids"][1:]]}, f"image {images[0]} has no annotation"),
        ({"ids": [1, *first["ids"][1:]]}, f"image {images[0]} has no annotation 1 in"),
    ):
        with pytest.raises(LightsegError, match=message) as error:
            metric.update(**{**first, **wrong})
        assert "\n" not in str(error.value)
    assert not metric.persons  # an invalid batch is not counted
    annotations = truth["annotations"]
    for arguments, message in (
        (({**truth, "annotations": [annotations[0]] * 2}, NAMES, SIGMAS), "share an id"),
        ((truth, NAMES[:4], SIGMAS[:4]), f"annotation {annotations[0]['id']} has 15 numbers for 4 keypoints"),
        ((truth, NAMES, SIGMAS[:4]), "sigmas must be 5 numbers above 0"),
        ((truth, NAMES, [0, *SIGMAS[1:]]), "sigmas must be 5 numbers above 0"),
        (({**truth, "categories": []}, NAMES, SIGMAS), "for one category, the ground truth has 0"),
    ):
        with pytest.raises(LightsegError, match=message):
            PoseMetric(*arguments)
