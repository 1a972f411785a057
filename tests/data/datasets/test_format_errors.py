"""Faults in the labels of the formats: a line with the file, before training; a bad label is left out and counted."""

import json
from typing import Any

import pytest
import yaml

from lightseg.data.datasets.opening import open_split
from lightseg.data.datasets.yolo_yaml import keypoint_names
from lightseg.errors import LightsegError
from tests.data.datasets.label_writers import (
    labelme_json,
    make_scenes,
    mask_of,
    options_of,
    save_image,
    voc_xml,
    write_coco,
    write_cvat,
    write_labelme,
    write_panoptic,
    write_voc,
    write_yolo,
)

SCENES = make_scenes(4)
SPLITS = {"train": SCENES[:2], "val": SCENES[2:]}
FIRST = SCENES[0].name


def opened(root, task: str, *overrides: str, split: str = "train") -> Any:
    return open_split(options_of(root, task, *overrides), split, None)


def message(root, task: str, *overrides: str) -> str:
    with pytest.raises(LightsegError) as error:
        opened(root, task, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_class_that_data_yaml_does_not_name(tmp_path):
    write_yolo(tmp_path, SPLITS)
    file = tmp_path / "labels" / "train" / f"{FIRST}.txt"
    lines = file.read_text()
    file.write_text(lines + "7 0.5 0.5 0.1 0.1\n")
    line = lines.count("\n") + 1
    where = f"{file} line {line}: class 7, but {tmp_path}/data.yaml names 3 classes (0 to 2)"
    assert message(tmp_path, "det", "data=yolo") == f"{where}: make both agree"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"nc": 4}, "nc is 4, but `names` has 3 classes"),
        ({"names": {0: "a", 2: "b"}}, "`names` has the numbers 0, 2: use all from 0 on"),
        ({"names": ["a", "a"]}, "`names` is ['a', 'a']: give a list of different names"),
        ({"train": "nowhere"}, "'nowhere' of split 'train' does not exist"),
        ({"kpt_shape": [3, 4]}, "kpt_shape is [3, 4]: give [number of keypoints, 2 or 3]"),
        ({"kpt_shape": [3, 3], "flip_idx": [0, 2]}, "flip_idx is [0, 2]: give each of the numbers 0 to 2 once"),
        ({"kpt_shape": [3, 3], "flip_idx": [1, 2, 0]}, "does not exchange points in pairs"),
    ],
)
def test_a_data_yaml_that_contradicts_itself(change, text, tmp_path):
    write_yolo(tmp_path, SPLITS)
    file = tmp_path / "data.yaml"
    content = yaml.safe_load(file.read_text())
    if "names" in change:
        del content["nc"]
    file.write_text(yaml.safe_dump(content | change))
    found = message(tmp_path, "det", "data=yolo")
    assert found.startswith(f"{file}: ") and text in found


def test_bad_lines_of_yolo_are_left_out_and_counted(tmp_path):
    write_yolo(tmp_path, SPLITS)
    file = tmp_path / "labels" / "train" / f"{FIRST}.txt"
    good = file.read_text().count("\n")
    bad = (
        "0 0.5 0.5",
        "0 0.1 0.1 0.2 0.2 0.3",
        "0 30 40 20 20",
        "0 nan 0.5 0.1 0.1",
        "cat 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 0 0.1",
    )
    file.write_text(file.read_text() + "".join(f"{line}\n" for line in bad))
    dataset = opened(tmp_path, "det", "data=yolo")
    assert len(dataset[0]["boxes"]) == good
    at = f"and are left out, the first: {file} line"
    for line in (
        f"1 labels have 3 numbers, which no box, polygon or keypoints have {at} {good + 1}",
        f"1 labels have 6 numbers, which no box, polygon or keypoints have {at} {good + 2}",
        f"2 labels are not shares of the image's sides (0 to 1) {at} {good + 3}",
        f"1 labels are not numbers {at} {good + 5}",
    ):
        assert line in dataset.report
    assert any(
        f"zero or negative size and are left out, the first: {file} line {good + 6}" in r for r in dataset.report
    )
    for path in (tmp_path / "labels" / "train").glob("*.txt"):
        path.write_text("0 30 40 20 20\n")
    assert "(1 labels are not shares of the image's sides (0 to 1) and are left out" in message(
        tmp_path, "det", "data=yolo"
    )


def test_polygons_of_two_points(tmp_path):
    write_labelme(tmp_path, SPLITS, kind="polygon")
    file = tmp_path / "train" / f"{FIRST}.json"
    content = json.loads(file.read_text())
    content["shapes"] = [*content["shapes"], {"label": "cat", "points": [[1, 2], [5, 6]], "shape_type": "polygon"}]
    file.write_text(json.dumps(content))
    count = len(content["shapes"])
    line = f"1 labels are polygons of fewer than three points and are left out, the first: {file} shape {count}"
    for task in ("det", "seg"):
        assert line in opened(tmp_path, task, "data=labelme").report
    for path in (tmp_path / "train").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "shapes": content["shapes"][-1:]}))
    found = message(tmp_path, "seg", "data=labelme")
    assert found.startswith(
        f"{tmp_path}/train: no outline (polygon or mask) in it that can be used (2 labels are polygons"
    )


def test_voc_xml_without_a_size_takes_the_image_s(tmp_path):
    write_voc(tmp_path, SPLITS)
    expected = opened(tmp_path, "det", "data=voc")[0]
    (tmp_path / "Annotations" / f"{FIRST}.xml").write_text(voc_xml(SCENES[0], size=False))
    dataset = opened(tmp_path, "det", "data=voc")
    assert dataset[0]["boxes"].tolist() == expected["boxes"].tolist()
    assert any(note.startswith("1 images have no size in their XML file: that of the image") for note in dataset.notes)


def test_difficult_objects_are_neither_trained_on_nor_missed(tmp_path):
    write_voc(tmp_path, SPLITS)
    (tmp_path / "Annotations" / f"{FIRST}.xml").write_text(voc_xml(SCENES[0], difficult=1))
    dataset = opened(tmp_path, "det", "data=voc")
    assert len(dataset[0]["boxes"]) == 0
    assert sum(entry["iscrowd"] for entry in dataset.ground_truth()["annotations"]) == len(SCENES[0].objects)


def test_voc_lists_and_files_that_are_missing(tmp_path):
    write_voc(tmp_path, SPLITS)
    assert message(tmp_path, "det", "data=voc", "data.split.train=trainval").endswith(
        "set data.split.train to one of train, val, or data.split.val=0.2"
    )
    file = tmp_path / "Annotations" / f"{FIRST}.xml"
    file.write_text("<annotation><filename>x.png</filename")
    assert message(tmp_path, "det", "data=voc").startswith(f"{file}: not XML (")
    file.write_text("<annotations/>")
    assert message(tmp_path, "det", "data=voc").startswith(f"{file}: the XML is a <annotations>, not an <annotation>")
    file.unlink()
    assert message(tmp_path, "det", "data=voc").startswith(f"{file}: no such file")


def test_a_labelme_file_whose_image_is_elsewhere(tmp_path):
    write_labelme(tmp_path, SPLITS)
    file = tmp_path / "train" / f"{FIRST}.json"
    content = json.loads(file.read_text()) | {"imagePath": "C:\\work\\" + f"{FIRST}.png"}
    file.write_text(json.dumps(content))
    assert len(opened(tmp_path, "det", "data=labelme")) == 2  # it lies beside, as most do
    (tmp_path / "train" / f"{FIRST}.png").rename(tmp_path / "gone.png")
    found = message(tmp_path, "det", "data=labelme")
    assert found.startswith(f"{file}: its image 'C:/work/{FIRST}.png' is not there (looked in ")


def test_what_labelme_has_besides_objects(tmp_path):
    write_labelme(tmp_path, SPLITS)
    file = tmp_path / "train" / f"{FIRST}.json"
    content = labelme_json(SCENES[0])
    content["shapes"] += [
        {"label": "cat", "points": [[5, 5], [9, 5]], "shape_type": "circle"},
        {"label": "cat", "points": [[5, 5], [9, 5]], "shape_type": "line"},
        {"label": "cat", "points": "x", "shape_type": "polygon"},
        7,
    ]
    file.write_text(json.dumps(content))
    (tmp_path / "train" / "other.json").write_text("{}")
    save_image(tmp_path / "train" / "unlabeled.png", SCENES[0])
    dataset = opened(tmp_path, "det", "data=labelme")
    assert len(dataset) == 2 and dataset[0]["boxes"][-1].tolist() == pytest.approx([1, 1, 9, 9], abs=0.01)
    assert any(line.startswith("1 labels are of type 'line', which is no object") for line in dataset.report)
    assert any(line.startswith("2 labels have no label, or no points of two numbers") for line in dataset.report)
    assert any(line.startswith("1 images have no JSON file and are left out") for line in dataset.notes)
    assert any(line.startswith("1 files are no JSON of LabelMe") for line in dataset.notes)


def test_cvat_of_a_video_or_without_labels(tmp_path):
    write_cvat(tmp_path, SPLITS)
    file, overrides = tmp_path / "train.xml", ("det", "data=cvat")
    text = file.read_text()
    file.write_text(text.replace("<image ", "<track></track><image ", 1))
    assert message(tmp_path, *overrides).startswith(f"{file}: made for a video (it has tracks): export it as")
    file.write_text(text.replace("label>", "lable>"))
    assert message(tmp_path, *overrides).startswith(f"{file}: names no labels")
    file.write_text(text.replace(f"{FIRST}.png", "gone.png"))
    assert message(tmp_path, *overrides).startswith(f"{file}: its image 'gone.png' is not there")
    file.write_text(text.replace('xtl="', 'xtl="x'))
    assert "are a <box> that is no object, or lacks numbers" in message(tmp_path, *overrides)


def test_masks_of_coco_that_are_none(tmp_path):
    write_coco(tmp_path, SPLITS)
    overrides = [f"data.split.{s}={{images: {s}, annotations: {s}.json}}" for s in SPLITS]
    file = tmp_path / "train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = {"size": [64, 128], "counts": [5, 5]}
    content["annotations"].append(content["annotations"][0] | {"id": 90, "segmentation": [[1, 2, "x"]]})
    content["annotations"].append(content["annotations"][0] | {"id": 91, "image_id": 77})
    file.write_text(json.dumps(content))
    dataset = opened(tmp_path, "seg", "data=coco", *overrides)
    assert any("1 labels have polygons that are not lists of numbers" in line for line in dataset.report)
    assert any("1 labels point to no image, or to no category" in line for line in dataset.report)
    with pytest.raises(LightsegError, match=f"{file} annotation 1: its mask is no RLE of 64 x 128 "):
        dataset.mask(0)


def test_panoptic_segments_that_are_not_in_the_file(tmp_path):
    write_panoptic(tmp_path, SPLITS)
    overrides = [f"data.split.{s}={{images: {s}, annotations: panoptic_{s}.json}}" for s in SPLITS]
    assert "give the folder of their PNG files, data.split.train.masks=" in message(
        tmp_path, "seg", "data=coco", *overrides
    )
    overrides += [f"data.split.{s}.masks=panoptic_{s}" for s in SPLITS]
    file = tmp_path / "panoptic_train.json"
    content = json.loads(file.read_text())
    segments = content["annotations"][0]["segments_info"]
    lost = segments.pop()["id"]
    file.write_text(json.dumps(content))
    with pytest.raises(LightsegError, match=f"segment {lost} is not in {file}"):
        opened(tmp_path, "seg", "data=coco", *overrides).mask(0)


def test_a_label_file_of_2_gb_is_refused_by_its_size(tmp_path, monkeypatch):
    write_coco(tmp_path, SPLITS)
    overrides = [f"data.split.{s}={{images: {s}, annotations: {s}.json}}" for s in SPLITS]
    with (tmp_path / "train.json").open("r+b") as file:
        file.truncate(2_100_000_000)  # without its blocks
    assert message(tmp_path, "det", "data=coco", *overrides).startswith(
        f"{tmp_path}/train.json: the label file has 2.1 GB; it takes some 10 times that in memory: give smaller"
    )
    monkeypatch.setenv("LIGHTSEG_MAX_LABEL_GB", "0.0000001")
    assert "val.json: the label file has" in message(
        tmp_path, "det", "data=coco", *overrides, "data.split.train.annotations=val.json"
    )


def test_an_unlabeled_pixel_is_background_or_ignored(tmp_path):
    write_labelme(tmp_path, SPLITS, kind="polygon")
    scene = min(SPLITS["train"], key=lambda scene: scene.name)
    mask = opened(tmp_path, "seg", "data=labelme").mask(0)
    ignored = opened(tmp_path, "seg", "data=labelme", "data.background=null")
    assert (mask == mask_of(scene)).all() and ignored.class_names == ["bird", "cat", "dog"]
    assert (ignored.mask(0) == mask_of(scene) - 1).all()  # 0 becomes 255


def test_smaller_objects_lie_on_larger_ones_in_yolo(tmp_path):
    write_yolo(tmp_path, SPLITS, kind="polygon")
    small, large = "1 0.3 0.3 0.4 0.3 0.4 0.4 0.3 0.4", "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9"
    masks = []
    for lines in ((small, large), (large, small)):
        (tmp_path / "labels" / "train" / f"{FIRST}.txt").write_text("\n".join(lines))
        masks.append(opened(tmp_path, "seg", "data=yolo").mask(0))
    assert (masks[0] == masks[1]).all() and {1, 2} <= set(masks[0].ravel().tolist())


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("image,label\na.png,cat;dog\n", "several classes in 'cat;dog'"),
        ("image,cat,dog\na.png,1,0\n", "the columns are image, cat, dog: set those of file and class"),
        ("image,label\na.png\n", "line 2: it has 1 columns; give a file and a class"),
        ("image,label\na.png,\n", "line 2: the file or the class is empty"),
        ("image,label\nz.png,cat\n", "the image 'z.png' is not in"),
        ("image,label\na.png,cat\na.png,dog\n", "a.png has more than one line"),
        ("image,label\na.png,cat\n", "cat is the only class; a classifier needs two"),
    ],
)
def test_a_csv_that_cannot_be_read(rows, text, tmp_path):
    save_image(tmp_path / "a.png", SCENES[0])
    (tmp_path / "train.csv").write_text(rows)
    found = message(tmp_path, "cls", "data=csv")
    assert found.startswith(f"{tmp_path}/train.csv") and text in found


@pytest.mark.parametrize(
    "rows",
    ["filename;class\nb;bee\na.png;ant\n", "b.png,bee\na.png,ant\n", "what\tkind\tx\na\tant\t1\nb.png\tbee\t2\n"],
)
def test_a_csv_in_the_forms_that_there_are(rows, tmp_path):
    for name in "ab":
        save_image(tmp_path / "images" / f"{name}.png", SCENES[0])
    (tmp_path / "train.csv").write_text(rows)
    columns = "data.columns={file: what, label: kind}" if "what" in rows else "data.columns={file: null, label: null}"
    dataset = opened(tmp_path, "cls", "data=csv", "data.images=images", columns)
    assert dataset.class_names == ["ant", "bee"]
    assert {sample["name"]: sample["label"] for sample in map(dataset.__getitem__, range(2))} == {
        "a.png": 0,
        "b.png": 1,
    }


def test_points_of_yolo_and_cvat(tmp_path):
    """Visibility 2 where a file has none, pairs of flip_idx; points of CVAT without a skeleton, by their group."""
    scene = SCENES[0]
    for split in SPLITS:
        save_image(tmp_path / "images" / split / "a.png", scene)
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.5 0.5 0.25 0.25 0 0 0.75 0.5\n")
    content = {
        "train": "images/train",
        "val": "images/val",
        "names": ["cat"],
        "kpt_shape": [3, 2],
        "flip_idx": [2, 1, 0],
    }
    (tmp_path / "data.yaml").write_text(json.dumps(content))
    dataset = opened(tmp_path, "pose", "data=yolo")
    assert dataset.class_names == ["point_1", "point_2", "point_3"] and dataset.skeleton.pairs == ((0, 2),)
    assert dataset[0]["visible"].tolist() == [2, 0, 2] and dataset[0]["keypoints"].tolist() == [
        [32, 16],
        [0, 0],
        [96, 32],
    ]
    named = opened(tmp_path, "pose", "data=yolo", "data.skeleton.names=[a, b, c]")
    assert named.class_names == ["a", "b", "c"] and named.skeleton.pairs == ((0, 2),)

    points = '<points label="cat" group_id="1" occluded="1" points="3,4;5,6"></points>'
    write_cvat(tmp_path, {split: [SCENES[2]] for split in SPLITS}, kind="box")
    for split in SPLITS:
        text = (tmp_path / f"{split}.xml").read_text()
        (tmp_path / f"{split}.xml").write_text(text.replace("</image>", f"{points}</image>"))
    first = opened(tmp_path, "pose", "data=cvat")[0]
    assert first["keypoints"].tolist() == [[3, 4], [5, 6]] and first["visible"].tolist() == [1, 1]
    assert first["box"].tolist() == SCENES[2].objects[0].box


def test_seventeen_points_of_yolo_with_coco_s_mirror_are_coco_s():
    flip = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]  # of Ultralytics' coco-pose.yaml
    names = keypoint_names({"flip_idx": flip}, 17, None)
    assert names[:3] == ["nose", "left_eye", "right_eye"] and names[-2:] == ["left_ankle", "right_ankle"]
    assert keypoint_names({}, 17, None)[0] == "point_1"
