"""Answers are the model's, in pixels of the image as displayed; odd images never stop the rest."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lightseg.checkpoint import load_model
from lightseg.data.datasets.cityscapes import CLASSES
from lightseg.inference.api import predict
from lightseg.task_specs.detection import BoxResults
from lightseg.task_specs.segmentation import MaskResults

from .conftest import EVALUATION, NAMES, save_checkpoint


def read(path: Path) -> np.ndarray:
    with Image.open(path) as pixels:
        return np.array(pixels)


def answer(checkpoint: Path, image: np.ndarray) -> tuple[object, torch.Tensor]:
    """The head, and its outputs for one input uint8 [h, w, 3]."""
    model = load_model(checkpoint)
    with torch.no_grad():
        return model.head, model(torch.from_numpy(image).permute(2, 0, 1)[None])


@pytest.fixture
def turned(tmp_path: Path, pixels: np.ndarray) -> tuple[Path, np.ndarray]:
    """A JPEG that lies on its side, and how it is displayed: 110 high, 70 wide."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "in" / "turned.jpg"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        return path, np.array(ImageOps.exif_transpose(image))


def test_masks_are_the_upright_images_own_size(checkpoints, turned, tmp_path):
    path, upright = turned
    summary = predict(checkpoints["seg"], path, output=tmp_path / "out")
    assert summary.done == 1 and not summary.failed and not summary.notes
    head, logits = answer(checkpoints["seg"], upright)
    expected = head.decode(logits, (110, 70))[0].numpy()
    assert len(np.unique(expected)) > 1
    mask = read(tmp_path / "out" / "masks" / "turned.png")
    assert mask.dtype == np.uint8 and mask.shape == (110, 70)
    assert (mask == expected).mean() > 0.999  # memory format may round a tie otherwise
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert entry == {"file_name": "turned.jpg", "mask": "masks/turned.png", "height": 110, "width": 70}
    legend = json.loads((tmp_path / "out" / "legend.json").read_text())
    assert legend[1] == {"id": 1, "name": "car", "color": [0, 250, 0]}  # the run's own palette
    overlay = read(tmp_path / "out" / "overlays" / "turned.jpg").astype(float)
    colours = np.array(EVALUATION["seg"]["palette"], float)[mask]
    assert np.median(abs(overlay - (0.4 * upright + 0.6 * colours))) < 6  # JPEG, whose colours are coarse
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["legend.json", "masks", "overlays", "results.json"]


def test_a_chosen_size_is_the_networks_and_answers_stay_the_images(checkpoints, turned, tmp_path):
    path, upright = turned
    predict(checkpoints["seg"], path, output=tmp_path / "out", size=[64], overlays=False)
    head, logits = answer(checkpoints["seg"], cv2.resize(upright, (64, 64), interpolation=cv2.INTER_LINEAR))
    expected = head.decode(logits, (110, 70))[0].numpy()
    assert (read(tmp_path / "out" / "masks" / "turned.png") == expected).mean() > 0.999
    assert not (tmp_path / "out" / "overlays").exists()


def test_boxes_are_coco_results_in_pixels_of_the_image(checkpoints, turned, tmp_path):
    from pycocotools.coco import COCO

    path, upright = turned
    predict(checkpoints["det"], path, output=tmp_path / "out")
    head, outputs = answer(checkpoints["det"], cv2.resize(upright, (96, 64), interpolation=cv2.INTER_LINEAR))
    (found,) = head.decode(outputs, (64, 96))
    boxes = found["boxes"].numpy() * [70 / 96, 110 / 64, 70 / 96, 110 / 64]
    truth = COCO(str(tmp_path / "out" / "images.json"))
    assert truth.loadImgs([1])[0] == {"id": 1, "file_name": "turned.jpg", "height": 110, "width": 70}
    assert [c["name"] for c in truth.loadCats([1, 2])] == NAMES["det"]
    loaded = truth.loadRes(str(tmp_path / "out" / "results.json"))
    results = loaded.loadAnns(sorted(loaded.getAnnIds()))
    assert len(results) == len(boxes) > 50
    best = results[0]
    x, y, width, height = best["bbox"]
    np.testing.assert_allclose([x, y, x + width, y + height], boxes[0], atol=0.05)
    assert best["category_id"] == int(found["labels"][0]) + 1 and best["file_name"] == "turned.jpg"
    assert best["score"] == pytest.approx(float(found["scores"][0]), abs=1e-4)
    assert read(tmp_path / "out" / "overlays" / "turned.jpg").shape == (110, 70, 3)


def test_classes_are_the_five_most_likely(checkpoints, turned, tmp_path):
    path, upright = turned
    predict(checkpoints["cls"], path, output=tmp_path / "out")
    # the shorter side to floor(48 / 0.875) = 54, the middle 48
    resized = np.array(Image.fromarray(upright).resize((54, 84), Image.Resampling.BILINEAR))
    head, logits = answer(checkpoints["cls"], np.ascontiguousarray(resized[18:66, 3:51]))
    best = head.decode(logits)[0].topk(5)
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert entry["class"] == NAMES["cls"][int(best.indices[0])] and len(entry["top"]) == 5
    assert [one["probability"] for one in entry["top"]] == pytest.approx(best.values.tolist(), abs=1e-4)
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file_name"] == "turned.jpg" and row["class_1"] == entry["class"] and row["frame"] == ""
    assert float(row["probability_5"]) == entry["top"][4]["probability"]


@pytest.mark.parametrize("task", NAMES)
def test_odd_images_are_answered_or_named(checkpoints, odd_folder, tmp_path, task, capsys):
    summary = predict(checkpoints[task], odd_folder, output=tmp_path / "out", progress=True, batch_size=3, score=0.6)
    assert {name for name, _ in summary.failed} == {"empty.jpg", "text.jpg", "gone.jpg", "header.jpg", "broken.mp4"}
    assert {name for name, _ in summary.notes} == {"cut.jpg", "cut.png", "moving.gif"}
    assert summary.done == 15
    reasons = dict(summary.failed)
    assert reasons["empty.jpg"] == "the file is empty" and "cannot be decoded" in reasons["broken.mp4"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1 other files left out (.txt)"
    assert len(lines) == 1 + 5 + 3 and "left out: empty.jpg: the file is empty" in lines
    assert any(line.startswith("note: moving.gif: animated") and "the first of 2" in line for line in lines)
    overlays = tmp_path / "out" / "overlays"
    assert len(list(overlays.rglob("*.*"))) == 15
    for name, height, width in (("one.png", 1, 1), ("turned.jpg", 110, 70), ("narrow.png", 1, 3300)):
        assert read(overlays / name).shape == (height, width, 3)
    assert {path.name for path in (overlays / "below").iterdir()} == {"same.png", "same.jpg"}
    if task == "seg":
        assert read(tmp_path / "out" / "masks" / "below" / "same.jpg.png").shape == (70, 110)
        assert read(tmp_path / "out" / "masks" / "grey16.png").shape == (70, 110)


def test_a_cut_image_is_answered_by_what_is_there(odd_folder):
    from lightseg.data.io.lenient import read_image_leniently

    cut, note = read_image_leniently(odd_folder / "cut.jpg")
    whole, none = read_image_leniently(odd_folder / "whole.jpg")
    assert "truncated" in note and none is None
    assert (cut[:24] == whole[:24]).mean() > 0.99 and not (cut[-10:] == whole[-10:]).all()
    assert np.abs(read_image_leniently(odd_folder / "colour16.tif")[0].astype(int)[..., ::-1] - read_image_leniently(
        odd_folder / "whole.png")[0]).max() <= 1  # fmt: skip


def test_globs_batches_and_results_inside_the_source(checkpoints, pixels, tmp_path):
    for name, side in (("a", 64), ("b", 64), ("c", 96), ("d", 64)):
        Image.fromarray(cv2.resize(pixels, (side, 64))).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    one = predict(checkpoints["seg"], str(tmp_path / "*.png"), output=out, batch_size=8)
    assert one.done == 4 and sorted(p.name for p in (out / "masks").iterdir()) == ["a.png", "b.png", "c.png", "d.png"]
    again = predict(checkpoints["seg"], tmp_path, output=out, overwrite=True)  # its own results are no images to it
    assert again.done == 4
    both = [e["file_name"] for e in json.loads((out / "results.json").read_text())]
    assert both == ["a.png", "b.png", "c.png", "d.png"]


def test_an_old_checkpoint_without_its_run_has_the_defaults(tmp_path, pixels, caplog):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    checkpoint = save_checkpoint(tmp_path / "run", "det", old_config={})
    assert predict(checkpoint, tmp_path / "a.png", output=tmp_path / "out", overlays=False).done == 1
    from lightseg.inference.runners import CheckpointRunner

    contract = CheckpointRunner(checkpoint).contract
    assert (contract.size, contract.keep_aspect) == ((320, 320), False)
    assert caplog.text.count("without its run") == 2 and "images are prepared at 320x320" in caplog.text
    checkpoint = save_checkpoint(tmp_path / "cls", "cls", old_config={})
    assert CheckpointRunner(checkpoint).contract.size == (160, 160)
    grown = {
        "data": {"eval": {"size": None, "crop_pct": 1.0}, "augment": {"size": 96}},
        "schedule": {"image_size": None},
    }
    checkpoint = save_checkpoint(tmp_path / "grown", "cls", old_config=grown)
    contract = CheckpointRunner(checkpoint).contract
    assert (contract.size, contract.crop_pct, contract.interpolation) == ((96, 96), 1.0, "bicubic")


def test_one_failure_in_a_batch_costs_one_image(checkpoints, pixels, tmp_path, monkeypatch):
    from lightseg.inference import runners

    for name, value in (("a", 10), ("b", 255), ("c", 20)):
        Image.fromarray(np.full_like(pixels, value)).save(tmp_path / f"{name}.png")
    real = runners.CheckpointRunner.__call__

    def fails_on_white(self, images, sizes):
        if (images == 255).flatten(1).all(1).any():
            raise RuntimeError("calculated padded input size is too small")
        return real(self, images, sizes)

    monkeypatch.setattr(runners.CheckpointRunner, "__call__", fails_on_white)
    summary = predict(checkpoints["seg"], tmp_path, output=tmp_path / "out", batch_size=3)
    assert summary.done == 2 and [name for name, _ in summary.failed] == ["b.png"]
    assert "padded input size" in summary.failed[0][1]


def test_colours_where_the_run_gives_none(tmp_path):
    names = [name for _, name, _ in CLASSES]
    results = MaskResults(tmp_path, names, None)
    results.finish()
    assert results.colors[0].tolist() == [128, 64, 128]
    boxes = BoxResults(tmp_path, ["a"], None, 0.3)
    boxes.finish()
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert json.loads((tmp_path / "images.json").read_text())["categories"] == [{"id": 1, "name": "a"}]
