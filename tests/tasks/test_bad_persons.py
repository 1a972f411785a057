"""What may be wrong with somebody's keypoints: one clear line, exit code 2; or counted, and nothing lost."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.tasks.persons import own_words, write_detections
from tests.tasks.test_bad_boxes import change, record_of, refused


@pytest.fixture
def own(own_persons, pose_words) -> tuple[Path, list[str]]:
    """`data.batch_size` is all 7 persons: one step an epoch."""
    words = pose_words(*own_words(own_persons), "trainer.max_epochs=1", "optimizer.lr=1e-3", "data.batch_size=7")
    return own_persons, words


def person(content: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """One with keypoints."""
    return [one for one in content["annotations"] if one["num_keypoints"]][number]


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "how", "said"),
    [
        ("train", lambda c: c["annotations"][0].update(keypoints=[1, 2, 2] * 3), "has 3 keypoints"),
        ("val", lambda c: c["annotations"][0].update(keypoints=[1, 2, 2] * 5), "has 5 keypoints"),
        ("train", lambda c: c["annotations"][0].update(keypoints=[1, 2] * 4), "has 2.66667 keypoints"),
        ("val", lambda c: c["annotations"][0].update(keypoints=["a", 2, 2] * 4), "keypoints are not all numbers"),
        ("train", lambda c: c["categories"][0].update(skeleton=[[1, 5]]), "names an unknown point, 5: there are 4"),
        ("train", lambda c: c["categories"][0].update(skeleton=[[2, 2]]), "joins 'left_hand' with itself"),
        ("val", lambda c: c["categories"][0].pop("keypoints") and None, "no category has `keypoints`"),
        ("val", lambda c: c["categories"][0]["keypoints"].reverse(), "differ in their keypoints: number 1 is head"),
        ("val", lambda c: c.update(annotations=[]), "nobody in it has keypoints"),
        ("train", lambda c: [one.update(keypoints=[0] * 12) for one in c["annotations"]] and None, "nobody in it has"),
        ("val", lambda c: c.pop("annotations") and None, "the key `annotations` is missing"),
    ],
)  # fmt: skip
def test_annotations_that_contradict_themselves(own, capsys, tmp_path, split, how, said):
    root, words = own
    change(root / f"{split}.json", how)
    line = refused(words, capsys)
    assert said in line and str(root / f"{split}.json") in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.skeleton.pairs=[[left_hand,right_foot]]", "names an unknown point, 'right_foot': did you mean"),
        ("data.skeleton.pairs=[[2,9]]", "names an unknown point, 9: there are 4 points, counted from 1"),
        ("data.skeleton.pairs=[[2,3],[3,4]]", "'right_hand' is in more than one left/right pair"),
        ("data.skeleton.edges=[[1,tale]]", "names an unknown point, 'tale'"),
        ("data.skeleton.sigmas=[0.1,0.1]", "skeleton.sigmas has 2 numbers, but there are 4 keypoints"),
        ("data.skeleton.sigmas={tusk: 0.1}", "names an unknown point, 'tusk'"),
        ("data.category=bird", "no category 'bird' has keypoints; choose category from kite"),
        ("data.person_boxes=nowhere.json", "nowhere.json: no such file"),
        ("data.least_box_score=2", "0..1"),
        ("data.oks_nms=3", "data.oks_nms=3: must be an OKS from 0 to 1, or null"),
        ("data.pck.unit=torso", "PCK's unit is torso, but there is no keypoint 'left_shoulder'"),
        ("data.pck.unit=[head,heart]", "there is no keypoint 'heart'"),
        ("data.augment.size=[64,wide]", "size is [64, 'wide']"),
        ("data.augment.rotation=-1", "rotation"),
        ("data.augment.half_body=2", "half_body is 2"),
        ("data.batch_size=8", "7 training persons there are"),
        ("evaluation.scales=[0.5,1.0]", "evaluation.scales is not for task=pose"),
        ("schedule.mixup=[0,0.2]", "schedule.mixup is for task=cls"),
        ("head.name=ssdlite", "choose from heatmap, simcc"),
        ("head.variant=heavy", "choose from light, simple"),
        ("head.codec=usp", "udp"),
        ("head.sigma=wide", "head heatmap cannot be built with num_classes=4, sigma=wide"),
        ("head.sigma=[2,2]", "head heatmap cannot be built with num_classes=4, sigma=[2, 2]"),
        ("head.width=wide", "head heatmap cannot be built with num_classes=4, width=wide"),
        ("head.split=2", "head heatmap has no option 'split'"),
        ("loss.sigmas=[0.1]", "loss.sigmas has 1 numbers, but there are 4 keypoints"),
        ("loss.beta=0", "beta=0: must be above 0"),
    ],
)
def test_settings_that_cannot_be(own, capsys, tmp_path, option, said):
    root, words = own
    if option.split("=")[0] == "data.least_box_score":
        words = [*words, f"data.person_boxes={write_detections(tmp_path / 'd.json', root / 'val.json', shift=0)}"]
    key = option.split("=")[0]
    assert said in refused([word for word in words if word.split("=")[0] != key] + [option], capsys)


@pytest.mark.parametrize(
    "options",
    [["data.augment.size=[96,64]"], ["schedule.image_size=[32,48]", "schedule.stages=1"], ["head.image_size=[96,64]"]],
)
def test_simcc_is_for_one_size(own, capsys, tmp_path, options):
    _, words = own
    keys = [option.split("=")[0] for option in options]
    line = refused([w for w in words if w.split("=")[0] not in keys] + ["head.name=simcc", *options], capsys)
    assert "head.name=simcc needs crops of a single size" in line and options[0].split("=")[0] in line
    assert not (tmp_path / "runs").exists()


# -- detections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda d: d.clear(), "the list of detections is empty"),
        (lambda d: d[0].update(image_id=4), "of images that the annotations do not have (the first: image_id 4)"),
        (lambda d: [one.update(category_id=9) for one in d] and None, "no detection is of category 5, only of 9"),
        (lambda d: d[0].pop("score") and None, "has no `score`"),
        (lambda d: d[0].update(bbox=[1, 2]), "expected [x, y, width, height]"),
        (lambda d: {"annotations": d}, "expected a list of image_id, category_id, bbox and score"),
        (lambda d: [one.update(bbox=[5, 5, 0, 4]) for one in d] and None, "no detection is left"),
    ],
)
def test_detections_that_do_not_serve(own, capsys, tmp_path, how, said):
    root, words = own
    file = write_detections(tmp_path / "found.json", root / "val.json", shift=0)
    change(file, how)
    line = refused([*words, f"data.person_boxes={file}"], capsys)
    assert said in line and str(file) in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_odd_detections_are_counted_and_change_no_figure(own, capsys, tmp_path):
    root, words = own
    clean = write_detections(tmp_path / "found.json", root / "val.json", shift=0)
    expected = record_of([*words, f"data.person_boxes={clean}"], tmp_path / "clean")
    odd = [[5, 5, 0, 9], [5, 5, 9, -1], [500, 5, 9, 9], [float("nan"), 5, 9, 9]]
    more = [{"image_id": 1000, "category_id": 5, "bbox": box, "score": 0.9} for box in odd]
    spoiled = write_detections(tmp_path / "odd.json", root / "val.json", shift=0, more=more)
    capsys.readouterr()
    record = record_of([*words, f"data.person_boxes={spoiled}"], tmp_path / "spoiled")
    total = len(json.loads(spoiled.read_text()))
    said = f"4 of {total} detections have no area in their image, or NaN, and are left out"
    assert said in record["protocol"]["left_out"] and f"val: {said}" in capsys.readouterr().out
    assert record["metrics"] == expected["metrics"]
    assert record["protocol"]["images"] == expected["protocol"]["images"] == total - 4


# -- counted -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_counted_and_changes_no_figure(own, capsys, tmp_path):
    """Annotations without keypoints, boxes without area, annotations that are nobody's, and a picture of nobody."""
    root, words = own
    expected = record_of(words, tmp_path / "clean")
    bare = [{}, {"keypoints": None}, {"keypoints": []}, {"keypoints": [0] * 12}]
    empty = [{"bbox": [5, 5, 0, 9]}, {"bbox": [5, 5, 9, 0]}, {"bbox": [5, 5, -9, 9]}]

    def spoil(content: dict[str, Any]) -> None:
        first = person(content)
        plain = {key: value for key, value in first.items() if key not in ("keypoints", "num_keypoints")}
        added = [{**plain, "bbox": [60, 80, 20, 30], "num_keypoints": 0, **one} for one in bare]
        added += [{**first, **one} for one in empty]
        added += [{**first, "image_id": 4}, {**first, "category_id": 9}]
        content["annotations"] += [{**one, "id": 5000 + number} for number, one in enumerate(added)]
        content["images"].append({"id": 77, "file_name": "nobody.jpg", "height": 40, "width": 30})

    for split in ("train", "val"):
        change(root / f"{split}.json", spoil)
        assert cv2.imwrite(str(root / split / "nobody.jpg"), np.zeros((40, 30, 3), np.uint8))
    capsys.readouterr()
    record = record_of(words, tmp_path / "spoiled")
    printed, report = capsys.readouterr().out, record["protocol"]["left_out"]
    for said in (
        "5 annotations have no keypoints: not trained on, ignored in the evaluation as COCO does",
        "annotations have a box of zero or negative size",
        "annotations point to no image",
        "1 annotations are of other categories and are left out",
        "images have nobody with keypoints",
        "1 annotations are crowds",
    ):
        assert sum(said in line for line in report) == 1, said
        assert sum(said in line for line in printed.splitlines()) == 2, said
    assert record["metrics"] == expected["metrics"]
    assert record["protocol"]["images"] == expected["protocol"]["images"] == 4


def test_odd_points_are_counted_and_the_person_kept(own, capsys, tmp_path):
    """Outside the picture, outside the box, another visibility, NaN, another num_keypoints."""
    root, words = own

    def spoil(content: dict[str, Any]) -> None:
        points = person(content)["keypoints"]
        points[0], points[5], points[6] = 5000, 3, float("nan")
        person(content, 1).update(num_keypoints=11)
        other = person(content, 1)
        other["bbox"] = [other["bbox"][0], other["bbox"][1], other["bbox"][2], 3]

    for split in ("train", "val"):
        change(root / f"{split}.json", spoil)
    record = record_of(words, tmp_path / "runs")
    printed, report = capsys.readouterr().out, record["protocol"]["left_out"]
    for said in (
        "1 keypoints lie outside their image and are not trained on",
        "keypoints lie outside their person's box and are kept",
        "1 keypoints have a visibility other than 0, 1 or 2 and count as not labelled",
        "1 keypoints are NaN or infinite and count as not labelled",
        "annotations have another num_keypoints than points: counted anew",
    ):
        assert sum(said in line for line in report) == 1, said
        assert sum(said in line for line in printed.splitlines()) == 2, said
    assert record["protocol"]["images"] == 4 and record["metrics"]["val/AP"] is not None


def test_a_picture_that_cannot_be_read_is_named_or_skipped_and_counted(own, capsys, tmp_path):
    root, words = own
    (root / "val" / "1.jpg").write_text("not a picture")
    assert str(root / "val" / "1.jpg") in refused(words, capsys)
    assert not (tmp_path / "runs").exists()
    record = record_of([*words, "data.on_error=skip"], tmp_path / "skip")
    assert {one["path"] for one in record["protocol"]["skipped"]} == {str(root / "val" / "1.jpg")}
    assert record["protocol"]["images"] == 2
    # nobody in it counts as missed: the figures are those of a set without it
    change(root / "val.json", lambda content: content["images"].pop(1) and None)
    assert record_of(words, tmp_path / "without")["metrics"] == record["metrics"]
