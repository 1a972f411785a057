"""Poses: keypoints are the model's in pixels of the image, of the whole image or of the persons of a detector."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.data.transforms.pose import eval_transform
from lightseg.draw_pose import draw_pose
from lightseg.errors import LightsegError
from lightseg.inference.api import predict
from lightseg.inference.pipelines import open_pipeline
from lightseg.metrics.oks import oks_nms
from lightseg.task_specs.pose import read_skeleton

from .conftest import NAMES, SKELETON, save_checkpoint

SIZE = (64, 48)


@pytest.fixture
def photo(tmp_path, pixels) -> Path:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


def expected(checkpoint: Path, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [n, K, 2] in pixels of the image and scores [n, K], each crop alone."""
    model, crop, found = load_model(checkpoint), eval_transform(SIZE), []
    for box in boxes:
        blank = {"keypoints": np.zeros((5, 2), np.float32), "visible": np.zeros(5, np.int64), "area": 1.0}
        cut = crop(0, image=image, box=box, **blank)
        with torch.no_grad():
            one = model.head.decode(model(torch.from_numpy(cut["image"]).permute(2, 0, 1)[None]), SIZE)
        ones = np.ones((5, 1), np.float32)
        found.append((np.hstack([one["keypoints"][0].numpy(), ones]) @ cut["matrix"].T, one["scores"][0].numpy()))
    return np.stack([points for points, _ in found]), np.stack([scores for _, scores in found])


def read(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())


def points_of(entries: list[dict]) -> np.ndarray:
    return np.array([entry["keypoints"] for entry in entries]).reshape(len(entries), -1, 3)


@pytest.mark.parametrize("kind", ["pose", "simcc"])
def test_an_image_without_a_detector_is_one_person(checkpoints, photo, pixels, tmp_path, kind):
    from pycocotools.coco import COCO

    assert predict(checkpoints[kind], photo, output=tmp_path / "out", score=0.0).done == 1
    (entry,) = read(tmp_path / "out")
    points, scores = expected(checkpoints[kind], pixels, np.array([[0, 0, 110, 70]], np.float32))
    np.testing.assert_allclose(points_of([entry])[0], np.hstack([points[0], scores[0][:, None]]), atol=0.05)
    assert entry["box"] == [0, 0, 110, 70] and entry["box_score"] == 1 and entry["file_name"] == "a.png"
    sure = scores[0][scores[0] > 0.2]
    assert entry["score"] == pytest.approx(sure.mean() if len(sure) else 0, abs=1e-3)
    truth = COCO(str(tmp_path / "out" / "images.json"))
    (category,) = truth.loadCats([1])
    assert category["keypoints"] == NAMES["pose"] and category["skeleton"] == [[1, 2], [1, 3], [2, 4], [3, 5]]
    loaded = truth.loadRes(str(tmp_path / "out" / "results.json"))
    assert loaded.loadAnns([1])[0]["keypoints"] == entry["keypoints"]
    with Image.open(tmp_path / "out" / "overlays" / "a.png") as drawn:
        own = draw_pose(pixels, points[0], scores[0], SKELETON["edges"], SKELETON["pairs"], 0.0)
        assert (np.array(drawn) == own).all(2).mean() > 0.98  # edges of lines may round otherwise


def test_a_detector_finds_the_persons_first(checkpoints, photo, pixels, tmp_path):
    words = ["predict", str(checkpoints["pose"]), str(photo), "--score", "0.01", "--output", str(tmp_path / "out")]
    assert main([*words, "--person-detector", str(checkpoints["det"])]) == 0
    entries = read(tmp_path / "out")
    # the detector's own answer: class 2 of its results is `person`
    predict(checkpoints["det"], photo, output=tmp_path / "boxes", overlays=False)
    found = [one for one in read(tmp_path / "boxes") if one["category_id"] == 2 and one["score"] >= 0.01]
    boxes = np.array([one["bbox"] for one in found])
    boxes[:, 2:] += boxes[:, :2]
    box_scores = np.array([one["score"] for one in found])
    points, scores = expected(checkpoints["pose"], pixels, boxes.astype(np.float32))
    sure = scores > 0.2
    ranks = box_scores * np.where(sure, scores, 0).sum(1) / np.maximum(sure.sum(1), 1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    stays = oks_nms(points, ranks, areas, np.zeros(len(boxes)), np.array(SKELETON["sigmas"]), 0.9)
    assert 3 < len(entries) < len(found)  # of boxes of random weights, some hold the same person
    assert len(entries) == pytest.approx(stays.sum(), abs=1)  # one OKS may lie at the threshold
    near = []
    for entry in entries:
        nearest = np.abs(boxes[:, :2] - entry["box"][:2]).sum(1) + np.abs(box_scores - entry["box_score"])
        best = int(nearest.argmin())
        near += (np.abs(points_of([entry])[0][:, :2] - points[best]).max(1) < 0.5).tolist()
        assert entry["score"] == pytest.approx(ranks[best], abs=1e-2)
    assert np.mean(near) > 0.95  # maps of random weights have peaks of one height, between which rounding decides
    assert json.loads((tmp_path / "out" / "images.json").read_text())["images"][0]["width"] == 110


def test_images_without_persons_are_answered(checkpoints, photo, pixels, tmp_path):
    detector = {"person_detector": checkpoints["det"], "score": 1.0}
    summary = predict(checkpoints["pose"], photo, output=tmp_path / "out", **detector)
    assert summary.done == 1 and read(tmp_path / "out") == []
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())["images"]) == 1
    with Image.open(tmp_path / "out" / "overlays" / "a.png") as drawn:
        np.testing.assert_array_equal(np.array(drawn), pixels)


def test_odd_images_and_videos_with_a_detector(checkpoints, odd_folder, make_video, tmp_path):
    make_video(odd_folder / "walk.mp4", frames=4)
    detector = {"person_detector": checkpoints["det"], "score": 0.5}
    summary = predict(checkpoints["pose"], odd_folder, output=tmp_path / "out", batch_size=3, **detector)
    assert {name for name, _ in summary.failed} == {"empty.jpg", "text.jpg", "gone.jpg", "header.jpg", "broken.mp4"}
    assert summary.done == 19
    capture = cv2.VideoCapture(str(tmp_path / "out" / "overlays" / "walk.mp4"))
    assert sum(capture.read()[0] for _ in range(5)) == 4
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [one["frame"] for one in images if one["file_name"] == "walk.mp4"] == [0, 1, 2, 3]


def test_what_does_not_fit_is_one_line(checkpoints, photo, tmp_path):
    content = torch.load(checkpoints["pose"], weights_only=True)
    content["hyper_parameters"]["model"]["skeleton"] = {**SKELETON, "edges": [[0, 9]]}
    torch.save(content, tmp_path / "odd.ckpt")
    torch.manual_seed(0)
    cats = save_checkpoint(tmp_path / "cats", "det", names=["cat", "dog"])
    pose = checkpoints["pose"]
    cases = [
        (checkpoints["seg"], {"person_detector": checkpoints["det"]}, "is of task seg: leave it out"),
        (pose, {"person_detector": checkpoints["cls"]}, "is of task cls: give one of task det"),
        (pose, {"person_detector": cats}, "has no class person, only cat, dog"),
        (pose, {"person_detector": tmp_path / "none.ckpt"}, "no such checkpoint"),
        (checkpoints["simcc"], {"size": [96, 96]}, "of 64x48 .* alone: leave --size out"),
        (tmp_path / "odd.ckpt", {}, "its skeleton does not fit its 5 keypoints"),
    ]
    for checkpoint, options, said in cases:
        with pytest.raises(LightsegError, match=said):
            predict(checkpoint, photo, output=tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()


def test_skeletons_of_strangers():
    assert read_skeleton(None, 2, "x") == {"edges": [], "pairs": [], "sigmas": [0.067] * 2}
    for wrong in ({"edges": [[0, 2]]}, {"pairs": [[0]]}, {"edges": 3}, {"sigmas": [0.1]}, {"sigmas": [0.1, "a"]}):
        with pytest.raises(LightsegError, match="does not fit its 2 keypoints"):
            read_skeleton(wrong, 2, "x")


def test_the_runs_own_size_and_threshold_hold(checkpoints, tmp_path):
    pipeline = open_pipeline(checkpoints["pose"], person_detector=checkpoints["det"])
    assert pipeline.crop.size == SIZE and pipeline.nms_threshold == 0.9
    assert pipeline.persons.preprocess.fit.size == (64, 96)
    alone = save_checkpoint(tmp_path / "run", "pose")
    assert open_pipeline(alone).preprocess.size == (256, 192)
    assert open_pipeline(alone, size=[128, 96]).preprocess.size == (128, 96)


@pytest.mark.slow
def test_an_export_answers_as_its_checkpoint(checkpoints, photo, tmp_path):
    from lightseg.export.api import export

    export(checkpoints["simcc"], tmp_path / "model.onnx")
    for name, model in (("ours", checkpoints["simcc"]), ("onnx", tmp_path / "model.onnx")):
        predict(model, photo, output=tmp_path / name, person_detector=checkpoints["det"], score=0.05)
    ours, theirs = read(tmp_path / "ours"), read(tmp_path / "onnx")
    assert len(ours) == len(theirs) > 0
    assert np.abs(points_of(ours) - points_of(theirs)).max() < 0.5
    assert (tmp_path / "onnx" / "images.json").read_text() == (tmp_path / "ours" / "images.json").read_text()
