"""COCO files: samples and ground truth equal the file, and a line of report or error for every fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightseg.data.collate import collate_detection
from lightseg.data.datasets.coco import CocoDetection, check_same_categories
from lightseg.data.io.integrity import verify
from lightseg.errors import DataError, LightsegError
from lightseg.metrics.detection import DetectionMetric
from tests.metrics.official import pycocotools

SHARED = Path(__file__).parents[4] / "shared" / "data"


def content() -> dict[str, Any]:
    """Three images of 40x60 (height x width): two boxes and a crowd, none, one. Ids with gaps, out of order."""

    def annotation(number: int, image: int, category: int, bbox: list[float], **more: Any) -> dict[str, Any]:
        area = bbox[2] * bbox[3] / 2
        return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, "area": area, **more}

    return {
        "images": [
            {"id": image, "file_name": file, "height": 40, "width": 60}
            for image, file in ((900, "a.png"), (7, "more/b.png"), (33, "c.png"))
        ],
        "annotations": [
            annotation(5, 33, 90, [10, 5, 20.5, 30], iscrowd=0),
            annotation(12, 900, 3, [0, 0, 60, 40], iscrowd=1),
            annotation(3, 900, 90, [1.25, 2, 8, 9]),
            annotation(1, 900, 3, [30, 20, 10, 10], iscrowd=0),
        ],
        "categories": [{"id": 90, "name": "kite"}, {"id": 3, "name": "red hat"}, {"id": 44, "name": "unicorn"}],
    }  # fmt: skip


@pytest.fixture
def write(tmp_path, save_image):
    """Writes the images and a changed annotation file and reads them."""
    rng = np.random.default_rng(0)
    for file in ("a.png", "more/b.png", "c.png"):
        save_image(tmp_path / "images" / file, rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))

    def make(changed: Any = None, **more: Any) -> CocoDetection:
        (tmp_path / "boxes.json").write_text(json.dumps(content() if changed is None else changed))
        return CocoDetection(tmp_path, images="images", annotations="boxes.json", **more)

    return make


def test_samples(write):
    data = write()
    assert data.class_names == ["red hat", "unicorn", "kite"] and data.category_ids == [3, 44, 90]
    assert data.num_classes == len(data.palette) == 3 and data.has_labels
    assert data.names == ["a", "more/b", "c"] and data.image_ids == [900, 7, 33] and len(data) == 3
    first, empty, last = (data[i] for i in range(3))
    assert first["boxes"].tolist() == [[1.25, 2, 9.25, 11], [30, 20, 40, 30]]  # the crowd is not among them
    assert first["labels"].tolist() == [2, 0] and first["labels"].dtype == torch.int64
    assert empty["boxes"].shape == (0, 4) and empty["boxes"].dtype == torch.float32 and empty["labels"].shape == (0,)
    assert last["boxes"].tolist() == [[10, 5, 30.5, 35]] and last["size"] == (40, 60) and last["image_id"] == 33
    assert first["image"].shape == (3, 40, 60) and first["image"].dtype == torch.uint8
    assert data.report == ["1 of 3 classes have no box: unicorn"]
    assert verify(data) == verify(data, "skip") == []


def test_batches(write):
    data = write()
    batch = collate_detection([data[0], data[1]])
    assert batch["images"].shape == (2, 3, 40, 60)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch["images"][1], data[1]["image"])
    assert [len(boxes) for boxes in batch["boxes"]] == [len(labels) for labels in batch["labels"]] == [2, 0]
    assert batch["sizes"] == [(40, 60)] * 2 and batch["image_ids"] == [900, 7] and batch["names"] == ["a", "more/b"]
    with pytest.raises(DataError, match="differ in size"):
        collate_detection([data[0], {**data[1], "image": data[1]["image"][:, 1:]}])


def test_the_ground_truth_is_the_files(write):
    data = write()
    truth, file = data.ground_truth(), content()
    assert [image["id"] for image in truth["images"]] == [900, 7, 33]
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3, 4]
    assert [a["iscrowd"] for a in truth["annotations"]] == [1, 0, 0, 0]
    ours = {(a["image_id"], a["category_id"], *a["bbox"], a["area"]) for a in truth["annotations"]}
    assert ours == {(a["image_id"], a["category_id"], *a["bbox"], a["area"]) for a in file["annotations"]}
    assert truth["categories"] == sorted(file["categories"], key=lambda category: category["id"])
    data.keep_only([False, True, True])
    truth = data.ground_truth()
    assert [image["id"] for image in truth["images"]] == [7, 33] and len(truth["annotations"]) == 1
    assert data.names == ["more/b", "c"] and data[1]["image_id"] == 33 and len(data[1]["boxes"]) == 1


def test_a_transform_sees_boxes_and_the_data_set(write):
    def transform(seed, *, image, boxes, labels, read, count):
        assert count == 3 and read(2)["labels"].tolist() == [2]
        return {"image": image[:, ::-1].copy(), "boxes": boxes + seed, "labels": labels}

    data = write(transform=transform)
    plain = write()
    sample = data[0, 5]
    assert torch.equal(sample["image"], plain[0]["image"].flip(2)) and sample["size"] == (40, 60)
    assert torch.equal(sample["boxes"], plain[0]["boxes"] + 5)


def test_kept_in_memory(write, tmp_path):
    data, plain = write(), write()
    data.keep_decoded()
    expected = [plain[i] for i in range(3)]
    for _ in range(2):
        assert all(torch.equal(data[i][key], expected[i][key]) for i in range(3) for key in ("image", "boxes"))
        (tmp_path / "images" / "a.png").unlink(missing_ok=True)  # the second round comes from memory


def test_the_fingerprint_follows_files_and_annotations(write, tmp_path):
    data = write()
    before = data.fingerprint()
    assert len(before) == 12 and write().fingerprint() == before
    data.keep_only([True, True, False])
    assert data.fingerprint() != before
    changed = content()
    changed["annotations"].pop()
    assert write(changed).fingerprint() != before


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "line", "left"),
    [
        ({"image_id": 8}, "1 of 4 annotations point to no image and are left out, the first: id 3", 2),
        ({"category_id": 1}, "1 of 4 annotations point to no category and are left out, the first: id 3", 2),
        ({"bbox": [3, 3, 0, 5]}, "have a box of zero or negative size and are left out, the first: id 3", 2),
        ({"bbox": [3, 3, 5, -1]}, "1 of 4 annotations have a box of zero or negative size and are left out", 2),
        ({"bbox": [3, NAN, 5, 5]}, "1 of 4 annotations have a box with NaN or infinity and are left out", 2),
        ({"bbox": [3, None, 5, 5]}, "1 of 4 annotations have a box with NaN or infinity and are left out", 2),
        ({"bbox": [60, 3, 5, 5]}, "1 of 4 annotations have a box that lies wholly outside its image and are left", 2),
        ({"bbox": [55, 3, 25, 5]}, "1 of 4 boxes reach beyond their image and are clipped to it, the first: id 3", 3),
        ({"id": 1}, "1 of 4 annotations have no id of their own; all are kept and numbered anew", 3),
        ({"area": None}, "1 of 4 annotations have no area: width x height of the box is taken", 3),
        ({"area": "big"}, "1 of 4 annotations have no area: width x height of the box is taken", 3),
        ({"area": 0}, "1 of 4 annotations have no area: width x height of the box is taken", 3),
        ({"area": 1}, "1 of 4 annotations have no area: width x height of the box is taken", 3),
        ({"bbox": []}, "1 of 4 annotations have no box of four numbers [x, y, width, height] and are left out", 2),
        ({"bbox": None}, "1 of 4 annotations have no box of four numbers [x, y, width, height] and are left out", 2),
        ({"bbox": [1, 2, 3, "wide"]}, "1 of 4 annotations have no box of four numbers", 2),
        ({"bbox": [1, 2, True, 3]}, "1 of 4 annotations have no box of four numbers", 2),
        ({"image_id": None}, "1 of 4 annotations point to no image and are left out, the first: id 3", 2),
        ({"category_id": ["kite"]}, "1 of 4 annotations point to no category and are left out, the first: id 3", 2),
        (
            {"iscrowd": "no"},
            "1 of 4 annotations have an iscrowd that is not 0 or 1 and are left out, the first: id 3",
            2,
        ),
        ({"iscrowd": 2}, "1 of 4 annotations have an iscrowd that is not 0 or 1 and are left out, the first: id 3", 2),
        ({"id": None}, "1 of 4 annotations have no id of their own; all are kept and numbered anew", 3),
        ({"id": [3]}, "1 of 4 annotations have no id of their own; all are kept and numbered anew", 3),
    ],
)
def test_odd_annotations_are_left_out_or_repaired_and_reported(write, change, line, left):
    changed = content()
    changed["annotations"][2] |= change
    data = write(changed)
    assert len(data.report) == 2 and line in data.report[0] and "no box: unicorn" in data.report[1]
    boxes = torch.cat([data[i]["boxes"] for i in range(3)])
    assert len(boxes) == left and len(data) == 3 and boxes.isfinite().all()
    assert (boxes >= 0).all() and (boxes[:, 2] <= 60).all() and (boxes[:, 3] <= 40).all()
    assert len(data.ground_truth()["annotations"]) == left + 1  # and the crowd
    assert all(a["area"] > 0 for a in data.ground_truth()["annotations"])


def test_what_is_odd_but_changes_no_label_is_noted(write):
    changed = content()
    changed["annotations"][2]["area"] = 0.03
    changed["annotations"] += [{**changed["annotations"][0], "id": 100 + number} for number in range(100)]
    assert write().notes == []
    data = write(changed)
    assert data.notes == [
        "1 of 104 annotations have an area far from their box's, the first: id 3: 0.03 px for 72",
        "100 boxes occur more than once in an image, with the same class",
        "images hold more than 100 objects of a class (1 times, at most 101): COCO's evaluation counts the 100 best "
        "boxes of a class in an image; see data.max_detections",
    ]
    assert data.report == write().report and len(data[2]["boxes"]) == 101


@pytest.mark.parametrize("entry", [None, 3, [], {}])
def test_an_entry_that_is_no_annotation_is_left_out(write, entry):
    changed = content()
    changed["annotations"][2] = entry
    data = write(changed)
    assert "1 of 4 annotations" in data.report[0] and "left out, the first: number 2" in data.report[0]
    assert [len(data[i]["boxes"]) for i in range(3)] == [1, 0, 1]


def as_text(changed: dict[str, Any]) -> None:
    for name, keys in (("images", ["id"]), ("categories", ["id"]), ("annotations", ["image_id", "category_id", "id"])):
        for entry in changed[name]:
            entry.update({key: str(entry[key]) for key in keys})


def as_floats(changed: dict[str, Any]) -> None:
    for name, keys in (("images", ["id"]), ("categories", ["id"]), ("annotations", ["image_id", "category_id", "id"])):
        for entry in changed[name]:
            entry.update({key: float(entry[key]) for key in keys})


def sizes_as_text(changed: dict[str, Any]) -> None:
    for image in changed["images"]:
        image |= {"height": "40", "width": 60.0}


def numbers_as_text(changed: dict[str, Any]) -> None:
    for annotation in changed["annotations"]:
        annotation |= {"bbox": [str(side) for side in annotation["bbox"]], "area": str(annotation["area"])}


def crowds_as(values: list[Any]) -> Callable[[dict[str, Any]], None]:
    """values: for iscrowd 0 and 1."""

    def change(changed: dict[str, Any]) -> None:
        for annotation in changed["annotations"]:
            annotation["iscrowd"] = values[annotation.get("iscrowd", 0)]

    return change


@pytest.mark.parametrize(
    "change",
    [as_text, as_floats, sizes_as_text, numbers_as_text]
    + [crowds_as(values) for values in (["0", "1"], [0.0, 1.0], ["false", "True"], [None, True])],
)
def test_a_value_written_in_another_way_is_the_same(write, change):
    plain, changed = write(), content()
    change(changed)
    data = write(changed)
    assert data.report == plain.report
    for sample, expected in ((data[i], plain[i]) for i in range(3)):
        assert torch.equal(sample["boxes"], expected["boxes"]) and torch.equal(sample["labels"], expected["labels"])
    truth, same = (set_.ground_truth()["annotations"] for set_ in (data, plain))
    assert [(a["bbox"], a["area"], a["iscrowd"]) for a in truth] == [(a["bbox"], a["area"], a["iscrowd"]) for a in same]


def test_results_have_the_ids_of_a_file_with_text(write):
    changed = content()
    as_text(changed)
    changed["images"][1]["id"] = "0007"  # still 7, which no annotation has
    data = write(changed)
    assert data.image_ids == ["900", "0007", "33"] and data.category_ids == ["3", "44", "90"]
    metric = DetectionMetric(data.ground_truth(), data.class_names, data.category_ids)
    for sample in (data[i] for i in range(3)):
        prediction = {"boxes": sample["boxes"], "labels": sample["labels"], "scores": torch.ones(len(sample["boxes"]))}
        metric.update([prediction], [sample["image_id"]])
    assert metric.compute()["mAP"] == pytest.approx(1.0)
    results = metric.results()
    assert {(result["image_id"], result["category_id"]) for result in results} == {
        ("900", "90"), ("900", "3"), ("33", "90")
    }  # fmt: skip
    assert pycocotools(data.ground_truth(), results, "bbox").stats[0] == pytest.approx(1.0)


def test_where_nothing_is_left_the_commonest_reason_is_told(write):
    changed = content()
    for annotation in changed["annotations"]:
        annotation["bbox"] = [0, 0, 0, 0]
    changed["annotations"][0]["image_id"] = 8
    message = r"no annotation can be used \(3 of 4 annotations have a box of zero or negative size and are left"
    with pytest.raises(DataError, match=message):
        write(changed)


def test_a_split_needs_a_box_that_is_not_a_crowd(write):
    for annotations, reason in (
        (content()["annotations"][1:2], "all 1 annotations are crowds"),
        ([], "no annotations"),
    ):
        data = write(content() | {"annotations": annotations})
        with pytest.raises(DataError, match=f"boxes.json: no box to evaluate on: .*{reason}"):
            data.check_evaluable()
        with pytest.raises(DataError, match=f"boxes.json: no box to train on: .*{reason}"):
            check_same_categories(data, data)
    data = write()
    data.check_evaluable()
    data.keep_only([False, True, False])  # the image without boxes
    with pytest.raises(DataError, match="no box to evaluate on: its images have no annotations"):
        data.check_evaluable()


def test_a_file_without_annotations_has_no_labels(write):
    data = write(broken("annotations"))
    assert not data.has_labels and len(data) == 3 and data.report == []
    assert len(data[0]["boxes"]) == 0 and data.ground_truth()["annotations"] == []


def test_rounding_beyond_the_border_is_clipped_without_a_report(write):
    changed = content()
    changed["annotations"][2]["bbox"] = [50, 3, 10.4, 5]
    data = write(changed)
    assert len(data.report) == 1 and data[0]["boxes"][0].tolist() == [50, 3, 60, 8]
    assert [50, 3, 10.4, 5] in [a["bbox"] for a in data.ground_truth()["annotations"]]  # as for published scores


def test_names_may_be_anything(write):
    changed = content()
    changed["categories"] = [{"id": 90, "name": "hat"}, {"id": 3, "name": "hat"}, {"id": 44}]
    assert write(changed).class_names == ["hat (3)", "44", "hat (90)"]


def broken(path: str, value: Any = None) -> dict[str, Any]:
    """The content with a changed (or without the) value at a path such as `annotations.0.bbox`."""
    changed = content()
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    node: Any = changed
    for part in parents:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (broken("images"), "not COCO: the key `images` is missing; it has annotations, categories"),
        (broken("categories"), "the key `categories` is missing"),
        ({}, "the key `images` is missing; it has none"),
        ("COCO", "not COCO: expected an object with images, annotations and categories, found text"),
        ([1, 2], "not COCO: expected an object"),
        (content() | {"annotations": {"a": 1}}, "`annotations` is not a list of objects"),
        (broken("images.1.file_name"), "`images` number 1 has no `file_name`"),
        (broken("images.1.id", 900), "the image id 900 occurs more than once"),
        (broken("categories.1.id", 44), "the category id 44 occurs more than once"),
        (broken("images.0.id", "x"), "the image id 'x' is not a whole number"),
        (broken("images.0.id", 2.5), "the image id '2.5' is not a whole number"),
        (broken("images.0.id", 2.0**60), "is not a whole number"),  # which one, the float does not tell
        (broken("images.1.id", "7"), r"some image ids are numbers \(900\) and some text \('7'\): write all alike"),
        (broken("categories.1.id", "3"), "some category ids are numbers .90. and some text .'3'.: write all alike"),
        (broken("categories.0.id", [1]), r"the category id '\[1\]' is not a whole number"),
        (broken("categories.0.name", ["kite"]), "the name of category 90 is .'kite'.: give text"),
        (broken("images.0.height", NAN), "the height of image 900 is 'nan': give a whole number of pixels, or null"),
        (broken("images.0.height", [40]), r"the height of image 900 is '\[40\]': give"),
        (broken("images.0.width", "wide"), "the width of image 900 is 'wide': give"),
        (broken("images.0.file_name", 12), "the file_name of `images` number 0 is '12': give a file name"),
        (broken("images.0.file_name", "../secret.png"), "lies outside the image folder"),
        (content() | {"images": []}, "`images` is empty"),
        (content() | {"categories": []}, "`categories` is empty"),
    ],
)
def test_files_that_are_not_coco_are_refused_in_one_line(write, changed, message):
    with pytest.raises(DataError, match=message) as error:
        write(changed)
    assert "boxes.json" in str(error.value) and "\n" not in str(error.value)


def test_missing_and_truncated_files(write, tmp_path):
    data = write()
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        CocoDetection(tmp_path, images="images", annotations="none.json")
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        CocoDetection(tmp_path, images="elsewhere", annotations="boxes.json")
    (tmp_path / "broken.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"broken\.json: not JSON"):
        CocoDetection(tmp_path, images="images", annotations="broken.json")
    (tmp_path / "images" / "more" / "b.png").write_bytes(b"no image")
    (tmp_path / "images" / "c.png").unlink()
    with pytest.raises(DataError, match=r"images/(more/b|c)\.png: "):
        verify(data)
    assert [bad.path.name for bad in verify(data, "skip")] == ["b.png", "c.png"]
    assert data.names == ["a"] and [image["id"] for image in data.ground_truth()["images"]] == [900]


def test_an_image_of_another_size_than_annotated(write):
    data = write(broken("images.0.width", 61))
    for look in (verify, lambda data: data[0]):
        with pytest.raises(DataError, match=r"a\.png: the image is 60x40 .* says 61x40"):
            look(data)


def test_boxes_belong_to_the_shown_or_the_stored_image(write, tmp_path):
    """A JPEG 60 wide and 40 high that is shown turned, 40 wide and 60 high."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "images" / "a.jpg", exif=exif)
    stored = broken("images.0.file_name", "a.jpg")
    data = write(stored)
    for look in (verify, lambda data: data[0]):
        with pytest.raises(DataError, match=r"a\.jpg: the image is 40x60 .* says 60x40, .*: set data.boxes_on=stored"):
            look(data)
    data = write(stored, boxes_on="stored")
    assert verify(data) == [] and data[0]["image"].shape == (3, 40, 60) and data[0]["size"] == (40, 60)
    assert data.notes[-1] == "1 of 3 images are read as stored, not turned as their EXIF data say"
    data.keep_decoded()
    assert torch.equal(data[0]["image"], data[0]["image"])
    for image in stored["images"][:1]:
        image |= {"height": 60, "width": 40}
    data = write(stored)
    assert verify(data, "skip") == [] and data[0]["image"].shape == (3, 60, 40)
    assert data.notes[-1] == "1 of 3 images are turned as their EXIF data say"
    data.keep_only([False, True, True])
    assert not any("turned" in line for line in data.notes)
    with pytest.raises(LightsegError, match=r"data\.boxes_on=both: choose from shown, stored"):
        write(boxes_on="both")


def test_sizes_may_be_missing(write):
    changed = content()
    for image in changed["images"]:
        del image["height"], image["width"]
    data = write(changed)
    assert len(data[0]["boxes"]) == 2 and verify(data) == []


def test_splits_must_agree_in_their_categories(write):
    train, val = write(), write(broken("categories.2"))
    check_same_categories(train, write())
    with pytest.raises(DataError, match="differ in their categories: 44 is unicorn / missing"):
        check_same_categories(train, val)


@pytest.mark.parametrize("folder", ["coco128", "coco_person"])
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_photographs(folder, split):
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    file = f"annotations/instances_{split}.json"
    data = CocoDetection(root, images=split, annotations=file)
    assert verify(data) == [] and data.num_classes == 80 and data.category_ids[-1] == 90
    raw = json.loads((root / file).read_text())
    assert len(data.ground_truth()["annotations"]) == len(raw["annotations"]) and len(data) == len(raw["images"])
    singles = sum(not a.get("iscrowd", 0) for a in raw["annotations"])
    assert sum(len(data.read(i)["boxes"]) for i in range(len(data))) == singles
    assert all("no box" in line for line in data.report)
