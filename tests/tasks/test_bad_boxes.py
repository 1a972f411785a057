"""Faults of COCO data: one line and exit code 2, or left out, counted, and the metrics of the rest unchanged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import train
from tests.conftest import only_run


def refused(overrides: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train.main(overrides) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


@pytest.fixture
def dataset(own_boxes, det_words) -> tuple[Path, list[str]]:
    return own_boxes, det_words("data=coco", f"data.root={own_boxes}", "trainer.max_epochs=1", "optimizer.lr=1e-3")


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """edit: changes the content in place, or returns another."""
    content = json.loads(file.read_text())
    replaced = edit(content)
    file.write_text(json.dumps(content if replaced is None else replaced))


def in_folder(overrides: list[str], runs: Path) -> list[str]:
    return [override for override in overrides if not override.startswith("runs_dir=")] + [f"runs_dir={runs}"]


def record_of(overrides: list[str], runs: Path) -> dict[str, Any]:
    assert train.main(in_folder(overrides, runs)) == 0
    return json.loads((only_run(runs) / "record.json").read_text())


# -- not COCO ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "edit", "message"),
    [
        ("train", lambda c: c.pop("images") and None, "the key `images` is missing"),
        ("val", lambda c: c.pop("categories") and None, "the key `categories` is missing"),
        ("val", lambda c: c["images"], "found a list"),
        ("train", lambda c: c.update(images={"a": 1}), "`images` is not a list of objects"),
        ("train", lambda c: c["images"][1].pop("file_name") and None, "`images` number 1 has no `file_name`"),
        ("train", lambda c: c["images"].append(c["images"][0]), "image id 1000 occurs more than once"),
        ("train", lambda c: c["images"][0].update(id="first"), "'first' is not a whole number"),
        ("train", lambda c: c["images"][0].update(file_name="../0.jpg"), "lies outside the image folder"),
        ("val", lambda c: c.update(images=[], annotations=[]), "`images` is empty"),
        ("val", lambda c: c.update(categories=[]), "`categories` is empty"),
    ],
)
def test_json_that_is_not_coco_or_contradicts_itself(dataset, capsys, tmp_path, split, edit, message):
    root, overrides = dataset
    change(root / f"{split}.json", edit)
    line = refused(overrides, capsys)
    assert message in line and str(root / f"{split}.json") in line
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_json_or_missing(dataset, capsys):
    root, overrides = dataset
    (root / "val.json").write_text('{"images": [')
    assert f"{root / 'val.json'}: not JSON" in refused(overrides, capsys)
    (root / "val.json").unlink()
    assert f"{root / 'val.json'}: no such file" in refused(overrides, capsys)


def test_splits_of_other_categories(dataset, capsys):
    root, overrides = dataset
    change(root / "val.json", lambda content: content["categories"][0].update(name="blue hat"))
    line = refused(overrides, capsys)
    assert "train.json" in line and "val.json" in line and "3 is red hat / blue hat" in line


# -- annotations -------------------------------------------------------------------------------------------------------

SPOILED = {  # line of the report -> changes of annotations
    "2 of {n} annotations point to no image": [{"image_id": 5}, {"image_id": None}],
    "1 of {n} annotations point to no category": [{"category_id": 7}],
    "3 of {n} annotations have a box with NaN or infinity": [
        {"bbox": [float("nan"), 1, 5, 5]},
        {"bbox": [1, 1, float("inf"), 5]},
        {"bbox": [1, None, 5, 5]},
    ],
    "3 of {n} annotations have a box of zero or negative size": [
        {"bbox": [5, 5, 0, 9]},
        {"bbox": [5, 5, 9, 0]},
        {"bbox": [20, 20, -10, -10]},
    ],
    "2 of {n} annotations have a box that lies wholly outside its image": [
        {"bbox": [60, 5, 9, 9]},
        {"bbox": [-20, 5, 15, 9]},
    ],
}


def test_annotations_that_cannot_be_used_are_counted_and_change_no_figure(dataset, capsys, tmp_path):
    root, overrides = dataset
    clean = record_of(overrides, tmp_path / "clean")
    totals = {}
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        good = content["annotations"]
        for annotation in good:
            del annotation["iscrowd"]  # default 0
        bad = [
            {**good[0], "image_id": 1000, "category_id": 90, **wrong} for group in SPOILED.values() for wrong in group
        ]
        content["annotations"] = [{**annotation, "id": 7} for annotation in bad[:4] + good + bad[4:]]
        totals[split] = len(good) + len(bad)
        (root / f"{split}.json").write_text(json.dumps(content))
    capsys.readouterr()
    spoiled = record_of(overrides, tmp_path / "spoiled")
    printed, report = capsys.readouterr().out, spoiled["protocol"]["left_out"]
    for message in (*SPOILED, "{n1} of {n} annotations have no id of their own"):
        for split, n in totals.items():
            text = message.format(n=n, n1=n - 1)
            assert any(line.strip().startswith(f"{split}: {text}") for line in printed.splitlines()), (split, text)
        assert any(line.startswith(message.format(n=totals["val"], n1=totals["val"] - 1)) for line in report), message
    assert len(report) == len(SPOILED) + 2  # the ids, and the class without a box
    assert spoiled["metrics"] == clean["metrics"] and clean["metrics"]["val/AR100"] > 0


def test_boxes_that_reach_beyond_the_image_are_clipped_and_counted(dataset, capsys, tmp_path):
    root, overrides = dataset

    def grow(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"] = [-30, -20, 65, 60]  # of an image 60 wide and 90 high
        content["annotations"][1]["bbox"] = [0, 0, 1000, 1000]

    change(root / "train.json", grow)
    change(root / "val.json", grow)
    record = record_of(overrides, tmp_path / "runs")
    (line,) = (line for line in record["protocol"]["left_out"] if "clipped" in line)
    assert line.startswith("2 of 4 boxes reach beyond their image and are clipped to it, the first: id 5")
    assert "train: 2 of 7 boxes reach beyond" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "edit", "message"),
    [
        ("val", lambda c: c.update(annotations=[]), "val.json: no box to evaluate on: its images have no annotations"),
        ("train", lambda c: c.update(annotations=[]), "train.json: no box to train on: its images have no annotations"),
        ("train", lambda c: c.pop("annotations") and None, "the train split has no labels: use it with mode=test"),
    ],
)
def test_a_set_without_boxes_is_refused(dataset, capsys, tmp_path, split, edit, message):
    root, overrides = dataset
    change(root / f"{split}.json", edit)
    assert message in refused(overrides, capsys)
    assert not (tmp_path / "runs").exists()


# -- images ------------------------------------------------------------------------------------------------------------


def test_a_missing_or_unreadable_image_is_named_or_skipped_and_counted(dataset, capsys, tmp_path):
    root, overrides = dataset
    (root / "train" / "4.jpg").unlink()
    assert str(root / "train" / "4.jpg") in refused(overrides, capsys)
    (root / "train" / "4.jpg").write_text("not an image")
    assert str(root / "train" / "4.jpg") in refused(overrides, capsys)
    assert not (tmp_path / "runs").exists()
    (root / "train" / "4.jpg").unlink()
    path = root / "val" / "1.jpg"
    path.write_bytes(path.read_bytes()[:700])  # the header is whole
    record = record_of([*overrides, "data.on_error=skip"], tmp_path / "skip")
    assert "2 unreadable left out" in capsys.readouterr().out
    assert {skipped["path"] for skipped in record["protocol"]["skipped"]} == {str(path), str(root / "train" / "4.jpg")}
    assert record["protocol"]["images"] == 2
    # its objects are not counted as missed: the figures are those of a set without it
    change(root / "val.json", lambda content: content["images"].pop(1) and None)
    change(root / "train.json", lambda content: content["images"].pop(4) and None)
    assert record_of(overrides, tmp_path / "without")["metrics"] == record["metrics"]


def test_a_truncated_image_in_training_is_named(dataset, capsys):
    root, overrides = dataset
    path = root / "train" / "2.jpg"
    path.write_bytes(path.read_bytes()[:700])
    assert str(path) in refused(overrides, capsys)


def test_a_truncated_image_of_the_first_evaluation_batch_is_named_before_training(dataset, capsys, tmp_path):
    root, overrides = dataset
    path = root / "val" / "1.jpg"
    path.write_bytes(path.read_bytes()[:700])
    assert str(path) in refused(overrides, capsys)
    assert not (tmp_path / "runs").exists()


def test_an_image_of_another_size_than_the_annotations_say(dataset, capsys):
    root, overrides = dataset
    assert cv2.imwrite(str(root / "val" / "0.jpg"), np.zeros((60, 90, 3), np.uint8))
    line = refused(overrides, capsys)
    assert str(root / "val" / "0.jpg") in line and "90x60" in line and "60x90" in line


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("evaluation.flip=true", "evaluation.flip is not for task=det"),
        ("evaluation.scales=[0.5,1.0]", "evaluation.scales is not for task=det"),
        ("schedule.mixup=[0,0.2]", "schedule.mixup is for task=cls"),
        ("head.name=lraspp", "choose from ssdlite"),
        ("head.nms_threshold=1.5", "nms_threshold"),
        ("head.extra_channels=[64,32]", "must be a list of four whole numbers, 2 or more"),
        ("data.augment.multi_scale=0.5", "multi_scale"),
        ("data.augment.multi_scale=[1.5,0.5]", "multi_scale"),
        ("data.augment.expand=2", "expand"),
        ("data.augment.expand=[a,b]", "expand"),
        ("data.augment.size=[64,wide]", "data.augment.size=[64, 'wide']"),
        ("data.augment.mosaic=2", "data.augment.mosaic=2"),
        ("loss.iou_threshold=0", "iou_threshold"),
    ],
)
def test_invalid_settings(dataset, capsys, option, message):
    _, overrides = dataset
    key = option.split("=")[0]
    assert message in refused([override for override in overrides if override.split("=")[0] != key] + [option], capsys)


def test_a_checkpoint_of_other_classes_or_another_task(dataset, det_words, words, capsys, tmp_path):
    record_of(dataset[1], tmp_path / "first")
    folder = only_run(tmp_path / "first")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    line = refused(det_words("mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path}"), capsys)
    assert "has 3 classes" in line and "mini_det has 8" in line
    (folder / "config.yaml").unlink()
    assert "is of task=det, not task=seg" in refused(words("mode=test", f"ckpt={checkpoint}"), capsys)


# -- without labels ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_without_annotations_are_predicted(dataset, capsys, tmp_path):
    """As COCO's image_info_test files; a test without predictions has nothing to do."""
    root, overrides = dataset
    overrides = [*overrides, "head.score_threshold=0.0"]
    record_of(overrides, tmp_path / "runs")
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt"
    change(root / "val.json", lambda content: content.pop("annotations") and None)
    again = ["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}"]
    assert "the val split has no labels: use it with mode=test evaluation.predictions=true" in refused(again, capsys)
    record = record_of([*again, "evaluation.predictions=true"], tmp_path / "again")
    assert record["metrics"]["val/mAP"] is None and record["protocol"]["left_out"] == []
    results = json.loads((only_run(tmp_path / "again") / "predictions" / "results.json").read_text())
    images = json.loads((root / "val.json").read_text())["images"]
    assert {result["image_id"] for result in results} == {image["id"] for image in images}
