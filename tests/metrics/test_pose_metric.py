"""OKS AP against pycocotools, the official evaluator; what cannot be scored."""

import contextlib
import copy
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lightseg.errors import LightsegError
from lightseg.metrics.pose import PoseMetric
from tests.metrics.persons import NAMES, SIGMAS, detected, fill, persons, some, synthetic

SHARED = Path(__file__).parents[3] / "shared" / "data"
KEYS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
COCO_SIGMAS = np.repeat([26, 25, 35, 79, 72, 62, 107, 87, 89], [1, *[2] * 8]) / 1000


def official(
    truth: dict[str, Any], results: list[dict[str, Any]], sigmas: Any, image_ids: list[int] | None = None
) -> dict[str, float]:
    """pycocotools from beginning to end; `sigmas` None leaves its own."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = copy.deepcopy(truth)
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(copy.deepcopy(results)), "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(KEYS, evaluation.stats.tolist(), strict=True))


def assert_same(ours: dict[str, float], theirs: dict[str, float]) -> None:
    for key in KEYS:
        assert (-1 if math.isnan(ours[key]) else ours[key]) == pytest.approx(theirs[key], abs=1e-6), key


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_pycocotools(seed):
    truth = synthetic(seed=seed)
    assert any(one["iscrowd"] for one in truth["annotations"])
    assert any(not one["num_keypoints"] and not one["iscrowd"] for one in truth["annotations"])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS), persons(truth, 0.05, seed))
    ours = metric.compute()
    assert_same(ours, official(truth, metric.results(), SIGMAS))
    assert 0.1 < ours["AP"] < 0.9 and ours["AP_medium"] != ours["AP_large"]


@pytest.mark.parametrize("nms_threshold", [None, 0.9, 0.5])
def test_it_equals_pycocotools_in_a_detectors_boxes(nms_threshold, tmp_path):
    truth = synthetic(most=30)
    given = detected(truth)
    assert max(given["image_ids"].count(image["id"]) for image in truth["images"]) > 20
    metric = fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True, nms_threshold=nms_threshold), given)
    (tmp_path / "results.json").write_text(json.dumps(metric.results()))
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert (len(results) == len(given["ids"])) == (nms_threshold is None)
    ours = metric.compute()
    assert_same(ours, official(truth, results, SIGMAS))
    assert 0.05 < ours["AP"] < 0.9 and math.isnan(ours["PCK"]) and not any("/" in key for key in ours)


def test_images_in_which_nobody_is_detected_count():
    truth = synthetic()
    given = detected(truth)
    image_ids = [image["id"] for image in truth["images"]][::2]
    few = some(given, [i for i, one in enumerate(given["image_ids"]) if one in image_ids])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True), few)
    assert_same(metric.compute(), official(truth, metric.results(), SIGMAS))
    nobody = PoseMetric(truth, NAMES, SIGMAS, detector_boxes=True)
    nobody.update(**some(given, []))
    assert nobody.compute()["AP"] == nobody.compute()["AR"] == 0.0 and nobody.results() == []


def test_with_true_boxes_a_part_of_the_images_is_scored_on_that_part():
    truth = synthetic()
    image_ids = [image["id"] for image in truth["images"]][::2]
    given = persons(truth, 0.05)
    part = some(given, [i for i, one in enumerate(given["image_ids"]) if one in image_ids])
    metric = fill(PoseMetric(truth, NAMES, SIGMAS), part)
    assert_same(metric.compute(), official(truth, metric.results(), SIGMAS, image_ids))


def test_sigmas_decide():
    truth = synthetic()
    given = persons(truth, 0.05)
    figures = [fill(PoseMetric(truth, NAMES, np.array(SIGMAS) * factor), given).compute() for factor in (0.5, 1, 2)]
    assert figures[0]["AP"] < figures[1]["AP"] - 0.1 < figures[2]["AP"] - 0.2
    assert figures[0]["PCK"] == figures[2]["PCK"]


def test_the_truth_itself_is_perfect():
    truth = synthetic()
    ours = fill(PoseMetric(truth, NAMES, SIGMAS), persons(truth)).compute()
    assert set(ours) == {*KEYS, "PCK", *(f"PCK/{name}" for name in NAMES)}
    assert all(value == pytest.approx(1.0, abs=1e-6) for value in ours.values())


def test_without_anybody():
    truth = synthetic()
    metric = PoseMetric(truth, NAMES, SIGMAS)
    metric.update(**some(persons(truth), []))
    assert all(math.isnan(value) for value in metric.compute().values())
    crowds = truth | {"annotations": [one | {"iscrowd": 1} for one in truth["annotations"]]}
    metric = fill(PoseMetric(crowds, NAMES, SIGMAS), persons(truth, 0.05))
    assert all(math.isnan(value) for value in metric.compute().values())
    empty = truth | {"annotations": []}
    metric = fill(PoseMetric(empty, NAMES, SIGMAS, detector_boxes=True), detected(truth))
    assert all(math.isnan(value) for value in metric.compute().values())


@pytest.mark.parametrize("detector", [False, True])
def test_order_and_repeats_do_not_matter(detector):
    """Two processes with a shuffled share each, some persons given to both so that they have equally many."""
    truth = synthetic(most=30)
    given = detected(truth) if detector else persons(truth, 0.05)
    places = np.random.default_rng(0).permutation(len(given["ids"])).tolist()
    half = len(places) // 2

    def metric(chosen: list[int]) -> PoseMetric:
        return fill(PoseMetric(truth, NAMES, SIGMAS, detector_boxes=detector, nms_threshold=None), some(given, chosen))

    whole = metric(list(range(len(places))))
    expected, results = whole.compute(), whole.results()
    once = len({(image, *box.tolist()) for image, box in zip(given["image_ids"], given["boxes"], strict=True)})
    assert len(results) == once
    for one, other in ((metric(places[: half + 3]), metric(places[half - 4 :])), (whole, metric([]))):
        together(one, other)
        assert one.compute() == pytest.approx(expected, nan_ok=True, abs=0)
        assert one.results() == results
    whole.reset()
    assert fill(whole, some(given, places), 50).compute() == pytest.approx(expected, nan_ok=True, abs=0)


def together(one: PoseMetric, other: PoseMetric) -> None:
    """`one` synchronises as if `other` were in a second process; one without any person gives an empty tensor."""
    theirs = itertools.cycle([torch.cat(other.persons or [torch.tensor([])])])
    one.distributed_available_fn = lambda: True
    one.dist_sync_fn = lambda own, group=None: [own, next(theirs)]
    one._computed = None


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_it_equals_pycocotools_on_photographs(split):
    """Against the file as it is, with pycocotools' own sigmas."""
    path = SHARED / "coco_person" / "annotations" / f"person_keypoints_{split}.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    raw = json.loads(path.read_text())
    assert any(one["iscrowd"] for one in raw["annotations"])
    assert any(not one["num_keypoints"] and not one["iscrowd"] for one in raw["annotations"])
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


def test_what_cannot_be_scored_is_refused_in_one_line():
    truth = synthetic()
    good = persons(truth, 0.05)
    metric = PoseMetric(truth, NAMES, SIGMAS)
    first = some(good, [0, 1, 2])
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
    assert not metric.persons  # nothing of a refused batch is counted
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
    with pytest.raises(LightsegError, match="nms_threshold is an OKS, 0 to 1 or null, not 2"):
        PoseMetric(truth, NAMES, SIGMAS, nms_threshold=2)
