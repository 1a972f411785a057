"""`data=auto`: what a folder is recognized as, and what is asked where it could be several."""

from functools import partial

import pytest
import yaml

from lightseg.config import paths
from lightseg.config.compose import compose, plain
from lightseg.errors import LightsegError
from tests.data.datasets.label_writers import (
    make_scenes,
    save_image,
    write_coco,
    write_cvat,
    write_folder,
    write_labelme,
    write_voc,
    write_voc_masks,
    write_yolo,
)

SCENES = make_scenes(2)
SPLITS = {"train": SCENES[:1], "val": SCENES[1:]}
WHOLE = {"all": SCENES}
_SPLIT_BY_FOLDER = "data.split.train=train data.split.val=val"
FOUND = {
    "yolo": (write_yolo, SPLITS, "det", "yolo", "YOLO (data.yaml has `names`): data=yolo"),
    "yolo of roboflow": (partial(write_yolo, roboflow=True), SPLITS, "seg", "yolo_seg", ": data=yolo_seg"),
    "yolo pose": (partial(write_yolo, kind="pose"), SPLITS, "pose", "yolo_pose", ": data=yolo_pose"),
    "yolo without a split": (write_yolo, {"train": SCENES}, "det", "yolo", "data=yolo data.split.val=0.2"),
    "coco": (write_coco, SPLITS, "det", "coco", "COCO (train.json has images and annotations): data=coco 'data.split."),
    "coco masks": (write_coco, SPLITS, "seg", "coco_seg", "data=coco_seg 'data.split.train={images: train, "),
    "coco keypoints": (write_coco, WHOLE, "pose", "coco_pose", "annotations: all.json}' data.split.val=0.2"),
    "voc": (write_voc, SPLITS, "det", "voc", "has `<annotation>`): data=voc"),
    "voc masks": (write_voc_masks, SPLITS, "seg", "voc_seg", ": data=voc_seg"),
    "voc of roboflow": (partial(write_voc, beside=True), SPLITS, "det", "voc", f"data=voc {_SPLIT_BY_FOLDER}"),
    "labelme": (write_labelme, SPLITS, "pose", "labelme_pose", f"data=labelme_pose {_SPLIT_BY_FOLDER}"),
    "labelme without a split": (write_labelme, WHOLE, "det", "labelme", "data.split.train=. data.split.val=0.2"),
    "cvat": (write_cvat, SPLITS, "det", "cvat", "'data.split.train={images: images, annotations: train.xml}'"),
    "cvat without a split": (write_cvat, WHOLE, "seg", "cvat_seg", "annotations: all.xml}' data.split.val=0.2"),
    "masks": (write_folder, SPLITS, "seg", "folder", "images and masks (folders images and masks): data=folder "),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_folder_in_each_format(case, tmp_path, capsys):
    write, splits, task, name, line = FOUND[case]
    write(tmp_path, splits)
    classes = ["data.classes=[a, b]"] if name == "folder" else []
    data = compose([f"task={task}", "data=auto", f"data.root={tmp_path}", *classes]).data
    assert data.name == name
    shown = capsys.readouterr().err
    assert shown.startswith(f"data=auto: {tmp_path} is ") and shown.count("\n") == 1 and line in shown


def test_a_csv_and_folders_of_classes(tmp_path):
    for name in ("a/0", "a/1", "b/0"):
        save_image(tmp_path / f"{name}.png", SCENES[0])
    overrides = ["task=cls", "data=auto", f"data.root={tmp_path}"]
    data = compose(overrides).data
    assert data.name == "imagefolder" and data.split == {"train": ".", "val": 0.2, "group": None}
    (tmp_path / "labels.csv").write_text("file,label\na/0.png,a\nb/0.png,b\n")
    data = compose([*overrides, "data.split.val=0.5"]).data
    assert data.name == "csv" and data.split == {"train": "labels.csv", "val": 0.5, "group": None}


def test_images_and_masks_without_a_split(tmp_path):
    write_folder(tmp_path / "x", {".": SCENES})
    data = compose(["data=auto", f"data.root={tmp_path}/x", "data.classes=[a, b]", "data.split.group=(.*)_[0-9]+"]).data
    assert data.split.train == {"images": "images", "masks": "masks", "list": None} and data.split.val == 0.2


@pytest.mark.parametrize(
    ("writers", "task", "text"),
    [
        ((write_yolo, write_voc), "det", " holds YOLO (data.yaml has `names`) and Pascal VOC (Annotations/"),
        ((write_yolo, write_voc), "det", ": choose one of them with data=yolo or data=voc"),
        ((write_yolo,), "cls", "which has no labels for task=cls: give task=det or task=seg"),
        ((), "det", " has no format that data=auto knows (YOLO, COCO, "),
    ],
)
def test_a_folder_of_no_or_of_two_formats(writers, task, text, tmp_path):
    for write in writers:
        write(tmp_path, SPLITS)
    with pytest.raises(LightsegError) as error:
        compose([f"task={task}", "data=auto", f"data.root={tmp_path}"])
    assert text in str(error.value) and str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)


def test_auto_needs_a_folder(tmp_path):
    with pytest.raises(LightsegError, match=r"data=auto needs data\.root=<folder of the data set>"):
        compose(["data=auto"])
    with pytest.raises(LightsegError, match="no such folder"):
        compose(["data=auto", f"data.root={tmp_path}/none"])


def test_a_name_means_the_format_s_file_for_the_task(tmp_path, monkeypatch):
    for task, name in (("det", "yolo"), ("seg", "yolo_seg"), ("pose", "yolo_pose")):
        assert compose([f"task={task}", "data=yolo", f"data.root={tmp_path}"]).data.name == name
    with pytest.raises(LightsegError, match="data=yolo is for task=det"):
        compose(["task=cls", "data=yolo", f"data.root={tmp_path}"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "data").mkdir(parents=True)
    text = (paths.SHIPPED / "data" / "yolo_seg.yaml").read_text().replace("workers: 2", "workers: 0")
    (tmp_path / "configs" / "data" / "yolo.yaml").write_text(text)
    assert compose(["task=seg", "data=yolo", f"data.root={tmp_path}"]).data.workers == 0  # the user's own file


def test_a_run_goes_on_with_what_was_recognized(tmp_path):

    write_labelme(tmp_path / "set", WHOLE)
    config = plain(compose(["task=det", "data=auto", f"data.root={tmp_path}/set"]))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    resumed = plain(compose([f"resume={tmp_path}/run"]))
    assert resumed["data"] == config["data"] and resumed["data"]["split"]["val"] == 0.2
