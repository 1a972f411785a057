"""The evaluator of keypoints against pycocotools, the official one; OKS-NMS, PCK and the mean pose by hand."""

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
from lightseg.metrics.mean_pose import mean_pose, mean_pose_baseline, to_box
from lightseg.metrics.oks import oks_nms, person_scores
from lightseg.metrics.pose import PoseMetric

SHARED = Path(__file__).parents[3] / "shared" / "data"
KEYS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
NAMES = ["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip"]
SIGMAS = [0.026, 0.079, 0.079, 0.107, 0.06]
POSE = np.array([[0.5, 0.1], [0.7, 0.3], [0.3, 0.3], [0.65, 0.7], [0.35, 0.7]])  # in a box of 1 x 1
Persons = dict[str, Any]  # the arguments of `update`


def synthetic(images: int = 40, most: int = 9, seed: int = 0) -> dict[str, Any]:
    """Up to `most` persons an image, of all sizes, some occluded; crowds, persons without keypoints, empty images."""
    random = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [{"id": 7 * i + 3, "height": 480, "width": 640} for i in range(images)],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
        "annotations": [],
    }
    for image in truth["images"]:
        for _ in range(random.integers(0, most)):
            corner, height = random.uniform(0, 300, 2), np.exp(random.uniform(3, 5.5))
            size = np.array([height * 0.5, height])
            visible = random.choice(3, len(NAMES), p=[0.15, 0.25, 0.6]) * (random.random() > 0.15)
            points = np.round(corner + (POSE + random.normal(0, 0.05, POSE.shape)) * size, 2)
            points[visible == 0] = 0
            truth["annotations"].append(
                {
                    "id": 11 * len(truth["annotations"]) + 5, "image_id": image["id"], "category_id": 1,
                    "keypoints": np.hstack([points, visible[:, None]]).ravel().tolist(),
                    "num_keypoints": int((visible > 0).sum()), "bbox": [*corner.tolist(), *size.tolist()],
                    "area": float(size.prod() * 0.6), "iscrowd": int(random.random() < 0.08),
                }
            )  # fmt: skip
    return truth


def persons(truth: dict[str, Any], noise: float = 0.0, seed: int = 0) -> Persons:
    """What a model finds in the ground-truth boxes: the labelled points, moved by `noise` of the box, the others
    anywhere; coarse scores, so that ties occur; with noise, some in the wrong place altogether."""
    random = np.random.default_rng(seed)
    own = [one for one in truth["annotations"] if not one["iscrowd"] and one["num_keypoints"]]
    points = np.array([one["keypoints"] for one in own]).reshape(len(own), -1, 3)
    boxes = np.array([one["bbox"] for one in own]).reshape(-1, 1, 4)
    found = points[..., :2] + random.normal(0, 1, points[..., :2].shape) * noise * boxes[..., 2:]
    anywhere = (points[..., 2] == 0) | (random.random((len(own), 1)) < 2 * noise)
    found = np.where(anywhere[..., None], boxes[..., :2] + random.random(found.shape) * boxes[..., 2:], found)
    return {
        "keypoints": torch.from_numpy(found).float(),
        "scores": torch.from_numpy(random.random(found.shape[:2]).round(1) if noise else np.ones(found.shape[:2])),
        "box_scores": torch.ones(len(own)),
        "boxes": torch.from_numpy(np.hstack([boxes[:, 0, :2], boxes[:, 0, :2] + boxes[:, 0, 2:]])).float(),
        "image_ids": [one["image_id"] for one in own],
        "ids": [one["id"] for one in own],
    }


def detected(truth: dict[str, Any], seed: int = 0) -> Persons:
    """The same in a detector's boxes: persons found twice or not at all, and, in some images, more than 20."""
    random = np.random.default_rng(seed)
    first, second = persons(truth, 0.06, seed), persons(truth, 0.03, seed + 1)
    both = {key: [*first[key], *second[key], *second[key]] for key in first}
    keep = np.flatnonzero(random.random(len(both["ids"])) < 0.7).tolist()
    both = {key: [both[key][i] for i in keep] for key in both}
    for key in ("keypoints", "scores", "boxes"):
        both[key] = torch.stack(both[key])
    both["box_scores"] = torch.from_numpy(random.random(len(keep)).round(2)).float()
    both["boxes"] += torch.from_numpy(random.normal(0, 3, (len(keep), 4))).float()
    return both


def some(given: Persons, places: list[int]) -> Persons:
    return {
        key: [value[i] for i in places] if isinstance(value, list) else value[places] for key, value in given.items()
    }


def fill(metric: PoseMetric, given: Persons, batch: int = 7) -> PoseMetric:
    for start in range(0, len(given["ids"]), batch):
        metric.update(**some(given, list(range(start, min(start + batch, len(given["ids"]))))))
    return metric


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


def test_a_persons_score_is_its_boxes_times_its_sure_keypoints():
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.0], [1.0, 1.0, 1.0]])
    assert person_scores(np.array([0.5, 1.0, 0.8]), scores, 0.2) == pytest.approx([0.5 * 0.7, 0.0, 0.8])


def test_oks_nms_is_the_plain_loop():
    random = np.random.default_rng(0)
    sigmas = np.array(SIGMAS)
    centres = random.uniform(0, 100, (40, 1, 2))
    keypoints = centres[random.integers(0, 40, 300)] + random.normal(0, 1.5, (300, len(SIGMAS), 2))
    scores, areas = random.random(300).round(1), random.uniform(500, 3000, 300)
    images = random.integers(0, 6, 300)

    def similarity(i: int, j: int) -> float:
        area = (areas[i] + areas[j]) / 2
        terms = [
            math.exp(-((keypoints[i, k] - keypoints[j, k]) ** 2).sum() / (2 * area * (2 * sigmas[k]) ** 2))
            for k in range(len(sigmas))
        ]
        return sum(terms) / len(terms)

    for threshold in (0.2, 0.5, 0.9):
        kept: list[int] = []
        for i in sorted(range(300), key=lambda i: -scores[i]):
            if all(images[i] != images[j] or similarity(i, j) <= threshold for j in kept):
                kept.append(i)
        found = oks_nms(keypoints, scores, areas, images, sigmas, threshold)
        assert np.flatnonzero(found).tolist() == sorted(kept) and len(kept) < 300
    assert oks_nms(keypoints[:0], scores[:0], areas[:0], images[:0], sigmas, 0.9).shape == (0,)


def two_persons() -> dict[str, Any]:
    """Torsos (left shoulder to right hip) of 50 and of 100 px, boxes of 100 x 200 and 200 x 200."""
    points = [
        [[0, 0, 0], [100, 100, 2], [60, 100, 2], [90, 140, 1], [70, 140, 2]],
        [[200, 50, 2], [300, 100, 2], [240, 100, 0], [300, 190, 2], [240, 180, 2]],
    ]
    boxes = [[50, 40, 100, 200], [200, 20, 200, 200]]
    return {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": i, "image_id": 1, "category_id": 1, "keypoints": np.ravel(own).tolist(),
                "num_keypoints": 4, "bbox": box, "area": 9000, "iscrowd": 0,
            }
            for i, own, box in zip((0, 5), points, boxes, strict=True)
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "right"),
    [  # points are 9.9, 10.1, 19.9, 20.1 and 41 px off; 0.2 of the torsos are 10 and 20 px, of the boxes 40 and 40
        (None, [[None, 1, 0, 0, 0], [1, 1, None, 0, 0]]),
        ("torso", [[None, 1, 0, 0, 0], [1, 1, None, 0, 0]]),
        ("box", [[None, 1, 1, 1, 1], [1, 1, None, 1, 0]]),
        (["right_shoulder", "left_hip"], [[None, 1, 0, 0, 0], [None] * 5]),  # of 50 px; the second's is not labelled
    ],
)
def test_pck_by_hand(unit, right):
    truth = two_persons()
    points = torch.tensor([one["keypoints"] for one in truth["annotations"]]).reshape(2, 5, 3)[..., :2].float()
    points[0, :, 0] += torch.tensor([500, 9.9, 10.1, 19.9, 20.1])
    points[1, :, 1] += torch.tensor([9.9, 19.9, 500, 20.1, 41])
    metric = PoseMetric(truth, NAMES, SIGMAS, pck_unit=unit)
    assert metric.pck_unit == (unit or "torso")
    metric.update(points, torch.ones(2, 5), torch.ones(2), torch.tensor([[0.0, 0, 1, 1]] * 2), [1, 1], [0, 5])
    ours, shares = metric.compute(), []
    for name, column in zip(NAMES, zip(*right, strict=True), strict=True):
        known = [one for one in column if one is not None]
        if known:
            shares.append(sum(known) / len(known))
            assert ours[f"PCK/{name}"] == pytest.approx(shares[-1]), name
        else:
            assert f"PCK/{name}" not in ours
    assert ours["PCK"] == pytest.approx(sum(shares) / len(shares))


def test_pck_of_points_that_are_no_body_is_relative_to_the_box():
    truth = two_persons()
    assert PoseMetric(truth, list("abcde"), SIGMAS).pck_unit == "box"
    with pytest.raises(LightsegError, match="PCK's unit is torso, but there is no keypoint 'left_shoulder': choose"):
        PoseMetric(truth, list("abcde"), SIGMAS, pck_unit="torso")
    with pytest.raises(LightsegError, match="PCK's unit is box, torso or two different keypoints, not"):
        PoseMetric(truth, NAMES, SIGMAS, pck_unit=["nose", "nose"])


def test_the_mean_pose():
    keypoints = torch.tensor([[[0.1, 0.2], [0.5, 0.5], [math.nan, 9]], [[0.3, 0.4], [0.9, 0.1], [1, 1]]])
    visible = torch.tensor([[2, 1, 0], [1, 0, 0]])
    assert torch.allclose(mean_pose(keypoints, visible), torch.tensor([[0.2, 0.3], [0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(LightsegError, match=r"not \[N, K, 2\]"):
        mean_pose(keypoints, visible[:, :2])


def test_the_mean_pose_as_a_baseline():
    """Persons that differ by their boxes alone are found by their mean, others are not."""
    truth = synthetic()
    given = persons(truth)
    exact = copy.deepcopy(truth)
    for one in exact["annotations"]:
        box, size = np.split(np.array(one["bbox"]), 2)
        visible = np.array(one["keypoints"]).reshape(-1, 3)[:, 2:]
        one["keypoints"] = np.hstack([box + POSE * size, visible]).ravel().tolist()
    rest = {key: given[key] for key in ("boxes", "box_scores", "image_ids", "ids")}
    train = torch.from_numpy(POSE).float().repeat(4, 1, 1)
    assert torch.allclose(
        train[:1], to_box(torch.from_numpy(POSE)[None] * 50 + 3, torch.tensor([[3, 3, 53, 53]])).float()
    )
    metric = fill(PoseMetric(exact, NAMES, SIGMAS, pck_unit="box"), persons(exact, 0.1))
    before = metric.compute()
    figures = mean_pose_baseline(metric, train, torch.ones(4, len(NAMES)), **rest)
    assert figures["AP"] == pytest.approx(1.0, abs=1e-6) and figures["PCK"] == 1.0
    assert metric._computed == before and 0.0 < before["AP"] < 0.9
    wrong = mean_pose_baseline(metric, train.flip(1), torch.ones(4, len(NAMES)), **rest)
    assert wrong["AP"] < 0.1


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


COCO_SIGMAS = np.repeat([26, 25, 35, 79, 72, 62, 107, 87, 89], [1, *[2] * 8]) / 1000


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
