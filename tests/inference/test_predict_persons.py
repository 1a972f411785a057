"""Persons from a file of COCO results: the boxes decide what is looked at, and what cannot serve is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.inference.api import predict
from lightseg.inference.person_boxes import BoxFile

from .test_predict_poses import expected, points_of, read

BOX = {"image_id": 7, "category_id": 1, "bbox": [20, 10, 40, 50], "score": 0.9}


@pytest.fixture
def photos(tmp_path, pixels) -> Path:
    """7.png of 110x70, and 8.png, the same mirrored."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(pixels).save(folder / "7.png")
    Image.fromarray(np.ascontiguousarray(pixels[:, ::-1])).save(folder / "8.png")
    return folder


def listed(path: Path, *entries: object) -> Path:
    path.write_text(json.dumps(list(entries)))
    return path


def test_the_boxes_of_the_file_are_looked_at(checkpoints, photos, pixels, tmp_path):
    """By image_id, with a box that reaches beyond the image and one that lies outside."""
    more = [{**BOX, "bbox": [-10, 5, 50, 60]}, {**BOX, "bbox": [200, 5, 10, 10]}, {**BOX, "score": 0.1}]
    file = listed(tmp_path / "boxes.json", BOX, *more)
    summary = predict(checkpoints["pose"], photos, output=tmp_path / "out", persons=file)
    assert summary.done == 2 and summary.failed == []
    entries = read(tmp_path / "out")
    assert {entry["file_name"] for entry in entries} == {"7.png"} and 1 <= len(entries) <= 2
    boxes = np.array([[20, 10, 60, 60], [0, 5, 40, 65]], np.float32)
    points, _ = expected(checkpoints["pose"], pixels, boxes)
    for entry in entries:
        place = [[20, 10, 40, 50], [0, 5, 40, 60]].index(entry["box"])
        near = np.abs(points_of([entry])[0][:, :2] - points[place]).max(1) < 0.1
        assert near.mean() >= 0.8  # some peaks are alike
        assert entry["box_score"] == pytest.approx(0.9)
    said = dict(summary.notes)
    assert said["7.png"] == "1 of 3 boxes outside the image and left out and 1 of 3 boxes cut to the image"
    assert said[str(file)] == "1 of 2 images have no box (8.png)"


def test_what_a_detector_wrote_gives_what_the_detector_gives(checkpoints, photos, make_video, tmp_path, capsys):
    """Of images and of a video; `images.json` beside the file says which category is `person`."""
    make_video(photos / "walk.mp4", frames=3)
    detector = str(checkpoints["det"])
    common = ["predict", str(checkpoints["pose"]), str(photos), "--score", "0.2", "--no-overlays", "--output"]
    assert main([*common, str(tmp_path / "chained"), "--person-detector", detector]) == 0
    assert main(["predict", detector, str(photos), "--no-overlays", "--output", str(tmp_path / "found")]) == 0
    assert {one["category_id"] for one in read(tmp_path / "found")} == {1, 2}
    file = tmp_path / "found" / "results.json"
    capsys.readouterr()
    assert main([*common, str(tmp_path / "listed"), "--persons", str(file)]) == 0
    chained, found = read(tmp_path / "chained"), read(tmp_path / "listed")
    assert len(chained) == len(found) > 3
    assert {one.get("frame") for one in found} >= {None, 0, 2}
    origins = [[(one["file_name"], one.get("frame")) for one in entries] for entries in (chained, found)]
    assert origins[0] == origins[1]
    assert np.abs(np.array([one["box"] for one in found]) - [one["box"] for one in chained]).max() < 0.01
    near = np.abs(points_of(found)[..., :2] - points_of(chained)[..., :2]).max(2) < 0.5
    assert near.mean() > 0.9  # maps of random weights have peaks of one height, between which rounding decides


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "the list of detections is empty"),
        ('{"annotations": []}', "not COCO results: expected a list of image_id, category_id, bbox and score"),
        ("[1]", "not COCO results"),
        (json.dumps([{**BOX, "bbox": [1, 2, 3]}]), r"number 0 is \[1, 2, 3\]: expected \[x, y, width, height\]"),
        (json.dumps([BOX, {**BOX, "image_id": None}]), "number 1 has no image_id or file_name"),
        (json.dumps([{key: value for key, value in BOX.items() if key != "score"}]), "number 0 has no `score`"),
        (json.dumps([{**BOX, "score": "high"}]), "score and category_id must be numbers"),
        (json.dumps([{**BOX, "category_id": 2}, {**BOX, "category_id": 3}]), "of category 1, person, only of 2, 3"),
        (json.dumps([{**BOX, "bbox": [1, 2, 0, 4]}]), "no detection is left of 1"),
        (json.dumps([{**BOX, "image_id": 5}]), "it lists 5, the source has 7.png, 8.png"),
        (json.dumps([{**BOX, "frame": 3}]), "it lists 7, the source has 7.png, 8.png"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_serve_is_one_line(checkpoints, photos, tmp_path, capsys, content, said):
    file = tmp_path / "boxes.json"
    file.write_text(content)
    with pytest.raises(LightsegError, match=said) as refused:
        predict(checkpoints["pose"], photos, output=tmp_path / "out", persons=file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_go_together(checkpoints, photos, tmp_path, capsys):
    file = listed(tmp_path / "boxes.json", BOX)
    out = ["--output", str(tmp_path / "out")]
    for words, said in (
        (["pose", "--persons", str(tmp_path / "none.json")], "none.json: no such file"),
        (["seg", "--persons", str(file)], "--persons is for pose, and "),
        (["pose", "--persons", str(file), "--person-detector", str(checkpoints["det"])], "give one of them"),
    ):
        assert main(["predict", str(checkpoints[words[0]]), str(photos), *words[1:], *out]) == 2
        line = capsys.readouterr().err
        assert said in line and line.count("\n") == 1 and not (tmp_path / "out").exists()


def test_boxes_that_serve_nobody_are_counted_and_named(checkpoints, photos, tmp_path, capsys):
    strange = [{**BOX, "image_id": 5}, {**BOX, "image_id": 5}, {**BOX, "file_name": "below/9.png"}]
    file = listed(tmp_path / "boxes.json", BOX, {**BOX, "bbox": [1, None, 5, 5]}, *strange)
    words = ["predict", str(checkpoints["pose"]), str(photos), "--persons", str(file), "--no-overlays"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"note: {file}: 1 boxes have no area, or NaN, and are left out; 3 boxes belong to images that are not in the "
        "source (5, below/9.png); 1 of 2 images have no box (8.png)"
    ]
    assert len(read(tmp_path / "out")) == 1


def test_images_are_known_by_file_name_by_name_and_by_number(tmp_path):
    entries = [
        {**BOX, "image_id": 1, "file_name": "a/000139.jpg", "score": 0.1}, {**BOX, "image_id": 139, "score": 0.2},
        {**BOX, "image_id": "000139", "score": 0.3}, {**BOX, "image_id": "street one", "score": 0.4},
        {**BOX, "image_id": 1, "file_name": "walk.mp4", "frame": 3, "score": 0.5},
    ]  # fmt: skip
    people = BoxFile(listed(tmp_path / "boxes.json", *entries))

    def scores(*pixels: object) -> list[float]:
        return sorted(round(float(score), 1) for score in people.of(*pixels)[1])

    assert scores("a/000139.jpg") == [0.1, 0.2, 0.3] and scores("b/000139.jpg") == [0.2, 0.3]
    assert scores("street one.png") == [0.4] and scores("1.png") == []
    assert scores("walk.mp4", 3) == [0.5] and scores("walk.mp4", 2) == scores("walk.mp4") == []
