"""`lightseg.load`: images of every kind in, typed predictions in pixels of the image out."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import lightseg
from lightseg.errors import LightsegError
from lightseg.inference.api import predict
from lightseg.inference.predictor import Predictor
from lightseg.predictions import Classification, Detection, Pose, Segmentation

from .conftest import NAMES


@pytest.fixture(scope="module")
def predictors(checkpoints) -> dict[str, Predictor]:
    return {task: lightseg.load(path, device="cpu") for task, path in checkpoints.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pixels):
    """Seven PNG files of three sizes."""
    path = tmp_path_factory.mktemp("images")
    for number in range(7):
        image = Image.fromarray(np.roll(pixels, 9 * number, 1)).resize((110, 70 + 10 * (number // 3)))
        image.save(path / f"{number}.png")
    return path


def arrays(folder) -> list[np.ndarray]:
    return [np.array(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]


def test_all_kinds_of_an_image_are_the_same(predictors, folder):
    path = folder / "0.png"
    array = arrays(folder)[0]
    turned = Image.Exif()
    turned[0x0112] = 3
    upside_down = io.BytesIO()
    Image.fromarray(array[::-1, ::-1]).save(upside_down, "PNG", exif=turned)
    kinds = [
        path,
        str(path),
        array,
        Image.open(path),
        path.read_bytes(),
        upside_down.getvalue(),
        array[:, ::-1][:, ::-1],
    ]
    twice, first, *others = [predictors["cls"](kind) for kind in kinds]
    assert isinstance(first, Classification) and first.file_name == str(path) and first.size == (70, 110)
    for other in [twice, *others]:
        assert (other.image == first.image).all() and (other.probabilities == first.probabilities).all()
    assert (
        first.probabilities.sum() == pytest.approx(1, abs=1e-5) and first.scores[0] == first.probabilities[first.label]
    )
    assert first.name == NAMES["cls"][first.label] and len(first.top()) == 5 and first.top(1)[0][0] == first.name


def test_sixteen_bit_gray_as_in_files(predictors, tmp_path, pixels):
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
    image.save(tmp_path / "gray.png")
    ours, of_file = predictors["cls"](image), predictors["cls"](tmp_path / "gray.png")
    assert (ours.image == of_file.image).all() and (ours.image[..., 1] == pixels[..., 0]).all()


def test_an_image_a_list_and_a_stream(predictors, folder):
    predictor = predictors["seg"]
    images = arrays(folder)
    listed = predictor(images, batch_size=3)
    assert isinstance(listed, list) and [p.index for p in listed] == list(range(7))
    assert isinstance(listed[0], Segmentation) and listed[6].mask.shape == (90, 110)
    assert listed[6].mask.dtype == np.uint8
    for source in (iter(images), folder, str(folder / "*.png"), sorted(folder.iterdir())):
        streamed = list(predictor(source, batch_size=3))
        assert all((a.mask == b.mask).all() for a, b in zip(listed, streamed, strict=True))
    (only,) = predictor([images[6]])
    assert (only.mask == listed[6].mask).mean() > 0.999  # of another batch
    assert predictor(tuple(images[:1]))[0].file_name == "image 0" and list(predictor(iter([]))) == []


def test_a_stream_asks_for_no_more_than_a_batch(predictors, pixels):
    asked = 0

    def camera():
        nonlocal asked
        while True:
            asked += 1
            yield pixels

    stream = predictors["cls"](camera(), batch_size=1)
    assert asked == 0
    next(stream)
    assert asked == 1
    stream.close()


@pytest.mark.parametrize("task", NAMES)
def test_the_command_writes_what_python_returns(checkpoints, predictors, folder, tmp_path, task):
    predict(checkpoints[task], folder, output=tmp_path, score=0.6, device="cpu", batch_size=4)
    results = json.loads((tmp_path / "results.json").read_text())
    predictions = list(predictors[task](folder, batch_size=4))
    if task in ("det", "pose"):
        coco = [entry for prediction in predictions for entry in prediction.to_coco()]
        assert len(coco) >= 7 and coco == [{key: entry[key] for key in coco[0]} for entry in results]
    for entry, prediction in zip(results, predictions, strict=False):
        if task == "cls":
            top = [(pair["class"], pair["probability"]) for pair in entry["top"]]
            assert top == [(name, round(probability, 6)) for name, probability in prediction.top()]
        if task == "seg":
            assert (np.array(Image.open(tmp_path / entry["mask"])) == prediction.mask).all()
    for prediction in predictions:
        drawn = np.array(Image.open(tmp_path / "overlays" / prediction.file_name))
        min_score = None if task == "cls" else 0.6
        assert (drawn == prediction.plot(min_score)).all() and drawn.shape == prediction.image.shape


def test_scores_and_classes(predictors, folder):
    image = arrays(folder)[0]
    every = predictors["det"](image)
    assert isinstance(every, Detection) and len(every) > 50 and every.boxes_xyxy.dtype == np.float32
    middle = float(np.median(every.scores))
    some = predictors["det"](image, score=middle, classes=["person"])
    kept = (every.scores >= middle) & (every.labels == 1)
    assert 0 < len(some) == kept.sum() and (some.boxes_xyxy == every.boxes_xyxy[kept]).all()
    assert set(some.names) == {"person"} and f"{len(some)} person" in repr(some)
    whole = predictors["seg"](image)
    part = predictors["seg"](image, classes=[int(whole.labels[0])])
    assert set(np.unique(part.mask)) <= {whole.labels[0], 255} and list(part.labels) == [whole.labels[0]]
    left_out = part.mask == 255
    assert (part.plot()[left_out] == image[left_out]).all() and (part.plot()[~left_out] != image[~left_out]).any()
    pose = predictors["pose"](image)
    assert isinstance(pose, Pose) and pose.keypoints.shape == (1, 5, 2) and pose.keypoint_names == tuple(NAMES["pose"])
    assert len(predictors["pose"](image, score=1.0)) == 0


def test_persons_of_a_detector(checkpoints, folder, tmp_path):
    image = arrays(folder)[0]
    predictor = lightseg.load(
        checkpoints["pose"], device="cpu", person_detector=checkpoints["det"], person_score=0.0
    )  # fmt: skip
    persons = predictor(image)
    assert len(persons) > 1 and persons.boxes_xyxy.shape == (len(persons), 4) and persons.keypoints.max() < 400


def test_threads_share_a_predictor(predictors, folder):
    images = arrays(folder) * 2
    expected = [predictors["det"](image).boxes_xyxy for image in images]
    with ThreadPoolExecutor(4) as threads:
        boxes = [prediction.boxes_xyxy for prediction in threads.map(predictors["det"], images)]
    assert all((a == b).all() for a, b in zip(boxes, expected, strict=True))


def test_run_folders_and_exported_files(checkpoints, predictors, folder, tmp_path):
    from lightseg.export.api import export

    of_run = lightseg.load(checkpoints["cls"].parents[1], device="cpu")
    onnx = tmp_path / "cls.onnx"
    export(checkpoints["cls"], onnx)
    exported = lightseg.load(onnx)
    image = arrays(folder)[0]
    probabilities = predictors["cls"](image).probabilities
    assert (of_run(image).probabilities == probabilities).all()
    np.testing.assert_allclose(exported(image).probabilities, probabilities, atol=1e-4)
    predict(onnx, folder, output=tmp_path / "out", overlays=False)
    for entry, prediction in zip(
        json.loads((tmp_path / "out/results.json").read_text()), exported(folder), strict=True
    ):
        assert entry["class"] == prediction.name and entry["top"][4]["probability"] == round(prediction.top()[4][1], 6)
    with pytest.raises(LightsegError, match="is a folder without checkpoints"):
        lightseg.load(folder)


def test_saved_shown_and_handed_on(predictors, folder, tmp_path, monkeypatch):
    image = arrays(folder)[0]
    predictions = {task: predictors[task](image) for task in NAMES}
    for task, prediction in predictions.items():
        assert np.array(Image.open(prediction.save(tmp_path / f"{task}.png"))).shape == image.shape
        saved = json.loads(prediction.save(tmp_path / "new" / f"{task}.json").read_text())
        assert (saved["file_name"], saved["height"], saved["width"]) == ("image 0", 70, 110)
        assert Image.open(io.BytesIO(prediction._repr_png_())).size == (110, 70)
    mask = predictions["seg"].mask
    assert (np.array(Image.open(predictions["seg"].save_mask(tmp_path / "ids.png"))) == mask).all()
    with pytest.raises(LightsegError, match=r"give a name that ends in .png, .*\.json"):
        predictions["seg"].save(tmp_path / "a.doc")
    with pytest.raises(LightsegError, match="COCO has no results for a Classification"):
        predictions["cls"].to_coco()
    assert predictions["det"].to_coco(image_id=42, category_ids=[7, 9])[0]["image_id"] == 42
    assert {entry["category_id"] for entry in predictions["det"].to_coco(category_ids=[7, 9])} == {7, 9}
    with pytest.raises(LightsegError, match="1 category_ids for 2 classes"):
        predictions["det"].to_coco(category_ids=[1])
    from pycocotools import mask as rle

    for entry in predictions["seg"].to_coco():
        assert (rle.decode(entry["segmentation"]) == (mask == entry["category_id"] - 1)).all()

    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(LightsegError, match="pip install supervision"):
        predictions["det"].to_supervision()

    @dataclass
    class KeyPoints:
        xy: np.ndarray
        class_id: np.ndarray
        confidence: np.ndarray

    package = SimpleNamespace(Detections=SimpleNamespace, Classifications=SimpleNamespace, KeyPoints=KeyPoints)
    monkeypatch.setitem(sys.modules, "supervision", package)
    boxes = predictions["det"].to_supervision()
    assert (boxes.xyxy == predictions["det"].boxes_xyxy).all() and boxes.data["class_name"][0] in NAMES["det"]
    assert predictions["pose"].to_supervision().confidence.shape == (1, 5)
    masks = predictions["seg"].to_supervision()
    x0, y0, x1, y1 = masks.xyxy[0].astype(int)
    assert masks.mask[0][y0:y1, x0:x1].sum() == masks.mask[0].sum() and masks.mask[0][:, x0].any()
    assert predictions["cls"].to_supervision().confidence[0] == predictions["cls"].scores[0]


def test_one_line_for_what_cannot_be_predicted(predictors, pixels, folder, tmp_path):
    predictor = predictors["det"]
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "none.txt").write_text("\n# nothing\n")
    cases = [
        (pixels.astype(np.float32), {}, "image 0: an array of float32 in place of uint8"),
        (pixels[..., 0], {}, r"shape \[70, 110\] in place of \[height, width, 3\]: repeat a gray image"),
        (np.dstack([pixels, pixels[..., :1]]), {}, "leave alpha out"),
        (pixels.transpose(2, 0, 1), {}, "move the channels to the end"),
        (pixels[None], {}, "list"),
        (pixels[:0], {}, "has no pixels"),
        (torch.zeros(3, 8, 8), {}, "a source of type Tensor"),
        ([pixels, torch.zeros(3, 8, 8)], {}, "image 1: an image of type Tensor: give a path"),
        ([], {}, "the list of images is empty"),
        (b"no image", {}, "8 bytes that are no image"),
        (tmp_path / "text.jpg", {}, "text.jpg: "),
        (tmp_path / "gone.jpg", {}, "no such file, folder or camera"),
        (tmp_path / "none.txt", {}, "lists no images"),
        ([tmp_path / "gone.jpg"], {}, "gone.jpg: cannot be opened"),
        (None, {}, "a source of type NoneType"),
        (pixels, {"classes": ["persn"]}, r"no class persn: did you mean person\?"),
        (pixels, {"classes": [2]}, "no class 2"),
        (pixels, {"classes": []}, "give a list of names, such as"),
        (pixels, {"classes": "person"}, "give a list of names, such as"),
        (pixels, {"score": 7}, "score is 7"),
        (pixels, {"batch_size": 0}, "batch_size is 0"),
        (pixels, {"on_error": "stop"}, "give raise or skip"),
    ]
    for source, options, line in cases:
        with pytest.raises(LightsegError, match=line) as error:
            predictor(source, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(LightsegError, match="classes cannot be chosen for task pose"):
        predictors["pose"](pixels, classes=["head"])
    with pytest.warns(UserWarning, match="image 1 is left out"):
        kept = predictor([pixels, pixels[0], pixels], on_error="skip")
    assert [prediction.index for prediction in kept] == [0, 2]


def test_several_sources_and_lists_of_images(checkpoints, folder, tmp_path, pixels):
    from lightseg.cli import main

    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "x.png")
    lines = ["# images", "a/x.png", "", str(folder / "1.png"), "a/gone.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    words = [str(tmp_path / "a" / "x.png"), str(folder), str(folder / "0.png"), "--no-overlays"]
    checkpoint = str(checkpoints["det"])
    assert main(["predict", checkpoint, *words, "--output", str(tmp_path / "out"), "--classes", "person"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert len(images) == 8 and {entry["category_id"] for entry in results} == {2}
    assert images[0]["file_name"].endswith("a/x.png") and images[1]["file_name"].endswith("images0/0.png")
    summary = predict(checkpoints["det"], tmp_path / "list.txt", output=tmp_path / "listed")
    assert summary.done == 2 and [name.endswith("a/gone.png") for name, _ in summary.failed] == [True]
    with pytest.raises(LightsegError, match="the model has no class cra"):
        predict(checkpoints["det"], folder, output=tmp_path / "not", classes=["cra"])
    assert not (tmp_path / "not").exists()


def test_ids_of_the_data_set_yolo_and_csv(checkpoints, folder, tmp_path):
    from pycocotools.coco import COCO

    images = [{"id": 100 + n, "file_name": f"train/{n}.png", "height": 70, "width": 110} for n in range(6)]
    categories = [{"id": 9, "name": "person"}, {"id": 4, "name": "car"}]
    truth = {"images": images, "categories": categories, "annotations": []}
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    options = {"annotations": tmp_path / "instances.json", "also": ["yolo", "csv"], "overlays": False}
    summary = predict(checkpoints["det"], folder, output=tmp_path / "out", **options)
    assert "1 images are not in it, and not in coco.json (6.png)" in summary.notes[0][1]
    loaded = COCO(str(tmp_path / "instances.json")).loadRes(str(tmp_path / "out" / "coco.json"))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    ours = [entry for entry in results if entry["file_name"] != "6.png"]
    for entry, other in zip(loaded.loadAnns(sorted(loaded.getAnnIds())), ours, strict=True):
        assert entry["image_id"] == 100 + int(other["file_name"][0]) and entry["bbox"] == other["bbox"]
        assert entry["category_id"] == {1: 4, 2: 9}[other["category_id"]]
    label, *values = map(float, (tmp_path / "out" / "labels" / "0.txt").read_text().splitlines()[0].split())
    x, y, width, height = results[0]["bbox"]
    expected = [(x + width / 2) / 110, (y + height / 2) / 70, width / 110, height / 70, results[0]["score"]]
    assert label == results[0]["category_id"] - 1 and values == pytest.approx(expected, abs=2e-5)
    assert (tmp_path / "out" / "classes.txt").read_text() == "car\nperson\n"
    rows = (tmp_path / "out" / "boxes.csv").read_text().splitlines()
    assert len(rows) == len(results) + 1 and rows[1].startswith("0.png,,")
    predict(checkpoints["pose"], folder, output=tmp_path / "poses", also=["yolo", "csv"], overlays=False)
    assert len((tmp_path / "poses" / "labels" / "0.txt").read_text().split()) == 1 + 4 + 3 * 5 + 1
    (tmp_path / "other.json").write_text(json.dumps({**truth, "images": [{"id": 1, "file_name": "z.png"}]}))
    (tmp_path / "classes.json").write_text(json.dumps({**truth, "categories": categories[:1]}))
    refused = [
        ("det", {"annotations": tmp_path / "other.json"}, "has none of the images, such as 0.png"),
        ("det", {"annotations": tmp_path / "classes.json"}, "has no category car"),
        ("det", {"annotations": tmp_path / "out" / "results.json"}, "is no COCO file"),
        ("cls", {"annotations": tmp_path / "instances.json"}, "COCO has no results of task cls"),
        ("det", {"also": ["voc"]}, "no format of results is named voc: choose from yolo, csv"),
        ("seg", {"also": ["yolo"]}, "--also yolo is for boxes"),
    ]
    for task, changes, line in refused:
        with pytest.raises(LightsegError, match=line):
            predict(checkpoints[task], folder, output=tmp_path / "not", **changes)
        assert not (tmp_path / "not").exists()
