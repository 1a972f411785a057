"""Faults of keypoint data: one line and exit code 2, or counted, and the metrics of the rest unchanged."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import only_run
from tests.tasks.persons import own_words, write_detections
from tests.tasks.test_bad_boxes import change, record_of, refused


@pytest.fixture
def dataset(own_persons, pose_words) -> tuple[Path, list[str]]:
    """`data.batch_size` is all 7 persons: one step an epoch."""
    options = ("trainer.max_epochs=1", "optimizer.lr=1e-3", "data.batch_size=7")
    return own_persons, pose_words(*own_words(own_persons), *options)


def person(content: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """An annotation with keypoints."""
    return [annotation for annotation in content["annotations"] if annotation["num_keypoints"]][number]


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "edit", "message"),
    [
        ("train", lambda c: c["categories"][0].update(skeleton=[[1, 5]]), "names an unknown point, 5: there are 4"),
        ("train", lambda c: c["categories"][0].update(skeleton=[[2, 2]]), "joins 'left_hand' with itself"),
        ("val", lambda c: c["categories"][0].pop("keypoints") and None, "no category has `keypoints`"),
        ("val", lambda c: c["categories"][0]["keypoints"].reverse(), "differ in their keypoints: number 1 is head"),
        ("val", lambda c: c.update(annotations=[]), "nobody in it has keypoints"),
        ("train", lambda c: [a.update(keypoints=[0] * 12) for a in c["annotations"]] and None, "nobody in it has"),
    ],
)  # fmt: skip
def test_annotations_that_contradict_themselves(dataset, capsys, tmp_path, split, edit, message):
    root, overrides = dataset
    change(root / f"{split}.json", edit)
    line = refused(overrides, capsys)
    assert message in line and str(root / f"{split}.json") in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.skeleton.pairs=[[left_hand,right_foot]]", "names an unknown point, 'right_foot': did you mean"),
        ("data.skeleton.pairs=[[2,9]]", "names an unknown point, 9: there are 4 points, counted from 1"),
        ("data.skeleton.pairs=[[2,3],[3,4]]", "'right_hand' is in more than one left/right pair"),
        ("data.skeleton.edges=[[1,tale]]", "names an unknown point, 'tale'"),
        ("data.skeleton.sigmas=[0.1,0.1]", "skeleton.sigmas has 2 numbers, but there are 4 keypoints"),
        ("data.skeleton.sigmas={tusk: 0.1}", "names an unknown point, 'tusk'"),
        ("data.category=bird", "no category 'bird' has keypoints; choose category from kite"),
        ("data.person_boxes=nowhere.json", "nowhere.json: no such file"),
        ("data.least_box_score=2", "data.least_box_score=2"),
        ("data.oks_nms=3", "data.oks_nms=3 (the command line): must be a number from 0 to 1, or null"),
        ("data.pck.unit=torso", "PCK's unit is torso, but there is no keypoint 'left_shoulder'"),
        ("data.pck.unit=[head,heart]", "there is no keypoint 'heart'"),
        ("data.augment.size=[64,wide]", "data.augment.size=[64, 'wide']"),
        ("data.augment.rotation=-1", "rotation"),
        ("data.augment.half_body=2", "data.augment.half_body=2"),
        ("evaluation.scales=[0.5,1.0]", "evaluation.scales is not for task=pose"),
        ("schedule.mixup=[0,0.2]", "schedule.mixup is for task=cls"),
        ("head.name=ssdlite", "choose from heatmap, simcc"),
        ("head.variant=heavy", "choose from light, simple"),
        ("head.codec=usp", "udp"),
        ("head.sigma=wide", "head.sigma='wide' (the command line): must be a number above 0, or a list of two"),
        ("head.sigma=[2,2]", "head heatmap cannot be built with num_classes=4, sigma=[2, 2]"),
        ("head.width=wide", "head.width='wide' (the command line): must be a whole number, 2 or more"),
        ("head.split=2", "head heatmap has no option 'split'"),
        ("loss.sigmas=[0.1]", "loss.sigmas has 1 numbers, but there are 4 keypoints"),
        ("loss.beta=0", "loss.beta=0 (the command line): must be a number above 0"),
    ],
)
def test_invalid_settings(dataset, capsys, tmp_path, option, message):
    root, overrides = dataset
    if option.split("=")[0] == "data.least_box_score":
        overrides = [
            *overrides,
            f"data.person_boxes={write_detections(tmp_path / 'd.json', root / 'val.json', shift=0)}",
        ]
    key = option.split("=")[0]
    assert message in refused([override for override in overrides if override.split("=")[0] != key] + [option], capsys)


@pytest.mark.parametrize("head", ["simcc", "rtmcc"])
@pytest.mark.parametrize(
    "options",
    [["data.augment.size=[96,64]"], ["schedule.image_size=[32,48]", "schedule.stages=1"], ["head.image_size=[96,64]"]],
)
def test_a_head_of_bins_is_for_one_size(dataset, capsys, tmp_path, options, head):
    _, overrides = dataset
    keys = [option.split("=")[0] for option in options]
    kept = [override for override in overrides if override.split("=")[0] not in keys]
    line = refused([*kept, f"head.name={head}", *options], capsys)
    assert f"head.name={head} needs crops of a single size" in line and options[0].split("=")[0] in line
    assert not (tmp_path / "runs").exists()


# -- detections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.clear(), "the list of detections is empty"),
        (lambda d: d[0].update(image_id=4), "of images that the annotations do not have (the first: image_id 4)"),
        (lambda d: [entry.update(category_id=9) for entry in d] and None, "no detection is of category 5, only of 9"),
        (lambda d: d[0].pop("score") and None, "has no `score`"),
        (lambda d: d[0].update(bbox=[1, 2]), "expected [x, y, width, height]"),
        (lambda d: {"annotations": d}, "expected a list of image_id, category_id, bbox and score"),
        (lambda d: [entry.update(bbox=[5, 5, 0, 4]) for entry in d] and None, "no detection is left"),
    ],
)
def test_unusable_detections_are_refused(dataset, capsys, tmp_path, edit, message):
    root, overrides = dataset
    file = write_detections(tmp_path / "detections.json", root / "val.json", shift=0)
    change(file, edit)
    line = refused([*overrides, f"data.person_boxes={file}"], capsys)
    assert message in line and str(file) in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_odd_detections_are_counted_and_change_no_metric(dataset, capsys, tmp_path):
    root, overrides = dataset
    clean = write_detections(tmp_path / "detections.json", root / "val.json", shift=0)
    expected = record_of([*overrides, f"data.person_boxes={clean}"], tmp_path / "clean")
    odd = [[5, 5, 0, 9], [5, 5, 9, -1], [500, 5, 9, 9], [float("nan"), 5, 9, 9]]
    more = [{"image_id": 1000, "category_id": 5, "bbox": box, "score": 0.9} for box in odd]
    spoiled = write_detections(tmp_path / "odd.json", root / "val.json", shift=0, more=more)
    capsys.readouterr()
    record = record_of([*overrides, f"data.person_boxes={spoiled}"], tmp_path / "spoiled")
    total = len(json.loads(spoiled.read_text()))
    message = f"4 of {total} detections have no area in their image, or NaN, and are left out"
    assert message in record["protocol"]["left_out"] and f"val: {message}" in capsys.readouterr().out
    assert record["metrics"] == expected["metrics"]
    assert record["protocol"]["images"] == expected["protocol"]["images"] == total - 4


# -- counted -----------------------------------------------------------------------------------------------------------


def test_unusable_annotations_are_counted_and_change_no_metric(dataset, capsys, tmp_path):
    """Annotations without keypoints, boxes without area, annotations without an image, and an image without people."""
    root, overrides = dataset
    expected = record_of(overrides, tmp_path / "clean")
    without_points = [{}, {"keypoints": None}, {"keypoints": []}, {"keypoints": [0] * 12}]
    without_area = [{"bbox": [5, 5, 0, 9]}, {"bbox": [5, 5, 9, 0]}, {"bbox": [5, 5, -9, 9]}]

    def spoil(content: dict[str, Any]) -> None:
        first = person(content)
        plain = {key: value for key, value in first.items() if key not in ("keypoints", "num_keypoints")}
        added = [{**plain, "bbox": [60, 80, 20, 30], "num_keypoints": 0, **fault} for fault in without_points]
        added += [{**first, **fault} for fault in without_area]
        added += [{**first, "image_id": 4}, {**first, "category_id": 9}, {**first, "keypoints": [1, 2, 2] * 3}]
        content["annotations"] += [{**annotation, "id": 5000 + number} for number, annotation in enumerate(added)]
        content["images"].append({"id": 77, "file_name": "nobody.jpg", "height": 40, "width": 30})

    for split in ("train", "val"):
        change(root / f"{split}.json", spoil)
        assert cv2.imwrite(str(root / split / "nobody.jpg"), np.zeros((40, 30, 3), np.uint8))
    capsys.readouterr()
    record = record_of(overrides, tmp_path / "spoiled")
    printed, report = capsys.readouterr().out, record["protocol"]["left_out"]
    for message in (
        "5 annotations have no keypoints: not trained on, ignored in the evaluation as COCO does",
        "annotations have a box of zero or negative size",
        "annotations point to no image",
        "annotations are of other categories and are left out",
        "annotations have keypoints that are not 4 times x, y, visibility",
        "images have nobody with keypoints",
        "1 annotations are crowds",
    ):
        assert sum(message in line for line in report) == 1, message
        assert sum(message in line for line in printed.splitlines()) == 2, message
    assert record["metrics"] == expected["metrics"]
    assert record["protocol"]["images"] == expected["protocol"]["images"] == 4


def test_odd_points_are_counted_and_the_person_kept(dataset, capsys, tmp_path):
    """Outside the image, outside the box, another visibility, NaN, another num_keypoints."""
    root, overrides = dataset

    def spoil(content: dict[str, Any]) -> None:
        points = person(content)["keypoints"]
        points[0], points[5], points[6] = 5000, 3, float("nan")
        person(content, 1).update(num_keypoints=11)
        other = person(content, 1)
        other["bbox"] = [other["bbox"][0], other["bbox"][1], other["bbox"][2], 3]

    for split in ("train", "val"):
        change(root / f"{split}.json", spoil)
    record = record_of(overrides, tmp_path / "runs")
    printed, report = capsys.readouterr().out, record["protocol"]["left_out"]
    for message in (
        "1 keypoints lie outside their image and are not trained on",
        "keypoints lie outside their person's box and are kept",
        "1 keypoints have a visibility other than 0, 1 or 2 and count as not labelled",
        "1 keypoints are NaN or infinite and count as not labelled",
        "annotations have another num_keypoints than points: counted anew",
    ):
        assert sum(message in line for line in report) == 1, message
        assert sum(message in line for line in printed.splitlines()) == 2, message
    assert record["protocol"]["images"] == 4 and record["metrics"]["val/AP"] is not None


def test_an_image_that_cannot_be_read_is_named_or_skipped_and_counted(dataset, capsys, tmp_path):
    root, overrides = dataset
    (root / "val" / "1.jpg").write_text("not an image")
    assert str(root / "val" / "1.jpg") in refused(overrides, capsys)
    assert not (tmp_path / "runs").exists()
    record = record_of([*overrides, "data.on_error=skip"], tmp_path / "skip")
    assert {skipped["path"] for skipped in record["protocol"]["skipped"]} == {str(root / "val" / "1.jpg")}
    assert record["protocol"]["images"] == 2
    # nobody in it counts as missed: the figures are those of a set without it
    change(root / "val.json", lambda content: content["images"].pop(1) and None)
    assert record_of(overrides, tmp_path / "without")["metrics"] == record["metrics"]


# -- without labels ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_boxes_of_a_detector_are_predicted_without_annotations(dataset, tmp_path):
    """As COCO's image_info_test files, whose category does not name keypoints."""
    root, overrides = dataset
    record_of(overrides, tmp_path / "runs")
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt"
    boxes = write_detections(tmp_path / "detections.json", root / "val.json", shift=0)
    names = json.loads((root / "val.json").read_text())["categories"][0]["keypoints"]

    def strip(content: dict[str, Any]) -> None:
        del content["annotations"], content["categories"][0]["keypoints"], content["categories"][0]["skeleton"]

    change(root / "val.json", strip)
    again = ["mode=test", f"ckpt={checkpoint}", f"data.person_boxes={boxes}", "evaluation.predictions=true",
             f"data.skeleton.names={names}".replace(" ", "")]  # fmt: skip
    record = record_of(again, tmp_path / "again")
    assert record["metrics"]["val/AP"] is None
    results = json.loads((only_run(tmp_path / "again") / "predictions" / "results.json").read_text())
    detections = json.loads(boxes.read_text())
    assert {result["image_id"] for result in results} == {detection["image_id"] for detection in detections}
