"""Odd keypoint files: repaired faults are counted, others are one line that names the file."""

import json
from typing import Any

import numpy as np
import pytest

from lightseg.data.collate import collate_pose
from lightseg.data.io.integrity import verify
from lightseg.data.transforms.pose import eval_transform
from lightseg.errors import DataError

NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "line", "people", "labeled"),
    [
        ({"keypoints": [0] * 9, "num_keypoints": 0}, "2 annotations have no keypoints: not trained on", 2, 0),
        ({"keypoints": None, "num_keypoints": 0}, "2 annotations have no keypoints: not trained on", 2, 0),
        ({"keypoints": [5, 4, 3, 3, 9, -1, 8, 9, 2]}, "2 keypoints have a visibility other than 0, 1 or 2", 3, 1),
        ({"keypoints": [5, 4, 0.5, 3, 9, 1, 8, 9, 2]}, "1 keypoints have a visibility other than 0, 1 or 2", 3, 2),
        ({"keypoints": [5, NAN, 2, 3, 9, 1, 8, 9, 2]}, "1 keypoints are NaN or infinite and count as not lab", 3, 2),
        ({"keypoints": [5, None, 2, 3, 9, 1, 8, 9, 2]}, "1 keypoints are NaN or infinite and count as not", 3, 2),
        ({"keypoints": [5, 4, 2, 3, 9, 1, 88, 9, 2]}, "1 keypoints lie outside their image and are not", 3, 2),
        ({"keypoints": [5, 4, 2, 3, -9, 1, 8, 9, 2]}, "1 keypoints lie outside their image and are not", 3, 2),
        ({"keypoints": [-5, 4, 2, 3, -9, 1, 88, 9, 2]}, "1 annotations have no keypoint in the image: not", 2, 0),
        ({"keypoints": [25, 4, 2, 3, 9, 1, 8, 9, 2]}, "1 keypoints lie outside their person's box and are kept", 3, 3),
        ({"num_keypoints": 2}, "1 annotations have another num_keypoints than points: counted anew", 3, 3),
        ({"bbox": [3, 3, 0, 5]}, "1 of 5 annotations have a box of zero or negative size and are left out", 2, 0),
        ({"bbox": [3, NAN, 4, 5]}, "1 of 5 annotations have a box with NaN or infinity and are left out", 2, 0),
        ({"bbox": [70, 3, 4, 5]}, "1 of 5 annotations have a box that lies wholly outside its image", 2, 0),
        ({"image_id": 8}, "1 of 5 annotations point to no image and are left out, the first: id 31", 2, 0),
        ({"iscrowd": 1}, "2 annotations are crowds: evaluated as COCO does, not trained on", 2, 0),
        ({"category_id": 2}, "1 of 5 annotations are of other categories and are left out", 2, 0),
        (
            {"keypoints": [1] * 12},
            "1 of 5 annotations have keypoints that are not 3 times x, y, visibility and are",
            2,
            0,
        ),
        (
            {"keypoints": [1] * 8},
            "1 of 5 annotations have keypoints that are not 3 times x, y, visibility and are",
            2,
            0,
        ),
        (
            {"keypoints": "none"},
            "1 of 5 annotations have keypoints that are not 3 times x, y, visibility and are",
            2,
            0,
        ),
        ({"keypoints": [1, 2, "x"] * 3}, "1 of 5 annotations have keypoints that are not 3 times x, y, vis", 2, 0),
        ({"keypoints": ["5", "4", "2", 3.5, 9, 1.0, 8, 9, 2]}, "1 annotations are crowds", 3, 3),
        ({"bbox": [1, 2]}, "1 of 5 annotations have no box of four numbers [x, y, width, height]", 2, 0),
        ({"bbox": []}, "1 of 5 boxes are made from outlines or keypoints, the first: id 31", 3, 3),
        ({"category_id": "4", "image_id": 900.0, "iscrowd": "0"}, "1 annotations are crowds", 3, 3),
        ({"num_keypoints": "three"}, "1 annotations have another num_keypoints than points: counted anew", 3, 3),
        ({"id": [1]}, "1 of 5 annotations have no id of their own; all are kept and numbered anew", 3, 3),
        ({"id": 11}, "1 of 5 annotations have no id of their own; all are kept and numbered anew", 3, 3),
    ],
)
def test_odd_annotations_are_left_out_or_repaired_and_counted(write_robots, robots, change, line, people, labeled):
    robots["annotations"][2] |= change
    data = write_robots()
    assert any(line in reported for reported in data.report), data.report
    assert len(data) == people and len(set(data.names)) == people
    if people == 3:
        assert (data[0]["visible"] > 0).sum() == labeled
    for sample in (data[i] for i in range(people)):
        assert (sample["keypoints"].isfinite().all() and (sample["keypoints"][sample["visible"] == 0] == 0).all()) or (
            "image" in line  # the file's value stays
        )
    assert all(np.isfinite(a["keypoints"]).all() for a in data.ground_truth()["annotations"])


def test_an_area_of_0_or_1_is_none(write_robots, robots):
    """OKS divides by it: the persons would be matched only by themselves."""
    for annotation, area in zip(robots["annotations"], (0, 1, 1.0, "0", None), strict=True):
        annotation["area"] = area
    data = write_robots()
    assert "5 of 5 annotations have no area: width x height of the box is taken" in data.report
    assert [a["area"] for a in data.ground_truth()["annotations"]] == [
        a["bbox"][2] * a["bbox"][3] for a in data.ground_truth()["annotations"]
    ]


def test_ids_beyond_int64(write_robots, robots):
    far = 10**30
    for image in robots["images"]:
        image["id"] += far
    for annotation in robots["annotations"]:
        annotation |= {"id": annotation["id"] + far, "image_id": annotation["image_id"] + far}
    data = write_robots()
    assert data.names == [f"a#{far + 31}", f"a#{far + 11}", f"c#{far + 50}"] and data[2]["image_id"] == far + 33


def test_evaluation_needs_a_person_with_keypoints(write_robots, robots, tmp_path):
    write_robots().check_evaluable()
    robots["annotations"] = robots["annotations"][1:4:2]  # a crowd and a person without keypoints
    (tmp_path / "detections.json").write_text(json.dumps(DETECTIONS))
    with pytest.raises(DataError, match=r"points.json: nobody to evaluate on"):
        write_robots(person_boxes=tmp_path / "detections.json").check_evaluable()


def test_without_annotations_the_boxes_of_a_detector_are_needed(write_robots, robots, tmp_path):
    del robots["annotations"]
    with pytest.raises(DataError, match=r"points.json has no `annotations`: give the boxes of a detector"):
        write_robots()
    (tmp_path / "detections.json").write_text(json.dumps(DETECTIONS))
    data = write_robots(person_boxes=tmp_path / "detections.json")
    assert not data.has_labels and len(data) == 3 and data.ground_truth()["annotations"] == []


def test_edges_with_a_point_0_are_counted_from_0(write_robots, robots):
    expected = write_robots().skeleton.edges
    robots["categories"][0]["skeleton"] = [[0, 1], [0, 2.0]]
    data = write_robots()
    assert data.skeleton.edges == expected == ((0, 1), (0, 2))
    assert "the edges of the skeleton have a point 0: they are counted from 0" in data.notes
    robots["categories"][0]["skeleton"] = [[0, 3]]
    with pytest.raises(DataError, match="unknown point, 3: there are 3 points, counted from 0"):
        write_robots()


def test_names_of_keypoints_may_come_from_the_options(write_robots, robots):
    expected = write_robots()
    del robots["categories"][0]["keypoints"]
    names = ["nose", "left_hand", "right_hand"]
    data = write_robots(skeleton={"names": names}, category="robot")
    assert data.class_names == names and data.skeleton == expected.skeleton and data.names == expected.names
    with pytest.raises(DataError, match=r"no category has `keypoints`: .*or data\.skeleton\.names"):
        write_robots()


def test_visibility_may_be_a_confidence(write_robots, robots):
    robots["annotations"][2]["keypoints"] = [5, 4, 0.3, 3.5, 9, 0.5, 8, 9, 1.0]
    data = write_robots(least_visibility=0.5)
    assert data[0]["visible"].tolist() == [0, 2, 2] and not any("visibility" in line for line in data.report)
    with pytest.raises(DataError, match=r"data\.least_visibility is 2: must be above 0 and at most 1"):
        write_robots(least_visibility=2)


CAT = {"id": 8, "name": "cat", "keypoints": ["tail"]}
CAR = {"id": 4, "name": "car"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: [annotation.update(keypoints=[1] * 12) for annotation in c["annotations"]],
            r"no annotation can be used \(5 of 5 annotations have keypoints that are not 3 times x, y, visib",
        ),
        (
            lambda c: c.update(categories=[CAR]),
            "no category has `keypoints`: give a person_keypoints file",
        ),
        (
            lambda c: c["categories"].append(CAT),
            "different keypoints; choose category from robot, cat",
        ),
        (
            lambda c: c["categories"][0].update(skeleton=[[1, 9]]),
            r"skeleton's edge \[1, 9\] names an unknown",
        ),
        (lambda c: c["annotations"].clear(), "nobody in it has keypoints"),
        (
            lambda c: c.update(annotations=c["annotations"][1:2]),
            "nobody in it has keypoints: 1 annotations are crowds",
        ),
        (lambda c: c.pop("categories"), "the key `categories` is missing"),
    ],
)
def test_contradictions_are_one_line_that_names_the_file(write_robots, robots, change, message):
    change(robots)
    with pytest.raises(DataError, match=message) as raised:
        write_robots()
    assert "points.json" in str(raised.value) and "\n" not in str(raised.value)


def test_categories_are_chosen_or_joined(write_robots, robots):
    robots["categories"].append(CAT)
    assert len(write_robots(category="robot")) == 3
    with pytest.raises(DataError, match="no category 'dog' has keypoints; choose category from robot, cat"):
        write_robots(category="dog")
    robots["categories"][-1:] = [{**robots["categories"][0], "id": 3, "name": "android"}]
    robots["annotations"][0]["category_id"] = 3
    data = write_robots()
    assert len(data) == 3 and {a["category_id"] for a in data.ground_truth()["annotations"]} == {3} == {
        data.category_id
    }


def detection(image: int, bbox: list[float], score: Any, category: int = 4) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


DETECTIONS = [
    detection(33, [10, 5, 20, 30], 0.75), detection(900, [2, 2, 8, 20], 0.5), detection(33, [40, 30, 40, 20], 0.25),
    detection(900, [2, 2, 8, 20], 0.9, category=2), detection(33, [10, 5, 0, 30], 0.9),
]  # fmt: skip


def test_the_persons_of_a_detector(write_robots, tmp_path):
    (tmp_path / "detections.json").write_text(json.dumps(DETECTIONS))
    data = write_robots(person_boxes=tmp_path / "detections.json", transform=eval_transform((48, 32)))
    assert data.names == ["a#d1", "c#d0", "c#d2"] and data.image_ids == [900, 33, 33]
    batch = collate_pose([data[i] for i in range(3)])
    assert batch["box_scores"].tolist() == [0.5, 0.75, 0.25] and not batch["visible"].any()
    assert batch["boxes"][2].tolist() == [40, 30, 60, 40]  # clipped to the image
    assert batch["area"][0] == pytest.approx(160 * (48 / 25) ** 2, rel=1e-5)
    assert data.report[-3:] == [
        "1 of 5 detections are of other categories and are left out",
        "1 of 5 detections have no area in their image, or NaN, and are left out",
        "1 of 3 images have no detection: their persons count as missed",
    ]
    assert data.ground_truth() == write_robots().ground_truth() and verify(data, "skip") == []
    assert data.fingerprint() != write_robots().fingerprint()
    confident = write_robots(person_boxes=tmp_path / "detections.json", min_score=0.5)
    assert (
        confident.names == ["a#d1", "c#d0"]
        and "1 of 5 detections have a score under 0.5 and are left out" in confident.report
    )


@pytest.mark.parametrize(
    ("detections", "options", "message"),
    [
        ([*DETECTIONS, detection(901, [1, 1, 2, 2], 1)], {}, r"1 of 6 detections are of images .* image_id 901\)"),
        ([detection(900, [1, 1, 2, 2], 1, 2)], {}, "no detection is of category 4, only of 2"),
        ({"annotations": []}, {}, "expected a list of image_id"),
        ([], {}, "the list of detections is empty"),
        ([{"image_id": 900, "bbox": [1, 1, 2, 2]}], {}, "`detections` number 0 has no `score`"),
        ([detection(900, [1, 1, 2], 1)], {}, "the box of `detections` number 0 is"),
        ([detection(900, [1, 1, 2, 2], "high")], {}, "score and category_id must be numbers"),
        (DETECTIONS, {"min_score": 0.8}, "no detection is left of 5: .*3 of 5 detections have a score under 0.8"),
        (DETECTIONS, {"min_score": 2}, "data.least_box_score is 2: a score lies in 0..1"),
    ],
)
def test_detections_that_do_not_fit_are_one_line(write_robots, tmp_path, detections, options, message):
    (tmp_path / "detections.json").write_text(json.dumps(detections))
    with pytest.raises(DataError, match=message):
        write_robots(person_boxes=tmp_path / "detections.json", **options)
