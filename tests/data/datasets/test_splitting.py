"""A share of the images as the evaluation split, and classes that are merged."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightseg.config.compose import compose
from lightseg.data.datasets.opening import open_split
from lightseg.data.datasets.splitting import evaluated_groups, group_of, position
from lightseg.errors import LightsegError
from tests.data.datasets.label_writers import (
    CLASSES,
    make_scenes,
    options_of,
    save_image,
    write_coco,
    write_folder,
    write_labelme,
)

SCENES = make_scenes(40)
ALL = ["data=labelme", "data.split={train: all, val: 0.25}"]


def sides(root: Path, task: str, *overrides: str) -> tuple[Any, Any]:
    options = options_of(root, task, *overrides)
    return open_split(options, "train", None), open_split(options, "val", None)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labelme")
    write_labelme(folder, {"all": SCENES})
    return folder


def test_each_image_is_on_one_side(root):
    train, val = sides(root, "det", *ALL)
    assert set(train.names) | set(val.names) == {scene.name for scene in SCENES} and not set(train.names) & set(
        val.names
    )
    assert 5 <= len(val) <= 15  # of 40, about 10
    assert val.notes[-1] == f"{len(val)} of 40 images are for evaluation: {len(val) / 40:.0%}, data.split.val is 25%"
    assert len(val.ground_truth()["images"]) == len(val)
    again = sides(root, "det", *ALL)
    assert [again[0].names, again[1].names] == [train.names, val.names]


def test_a_side_stays_when_files_are_added_and_the_folder_moves(root, tmp_path):
    train, val = sides(root, "det", *ALL)
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    write_labelme(moved, {"all": [*SCENES, *(_renamed(scene) for scene in SCENES)]})
    more_train, more_val = sides(moved, "det", *ALL)
    assert set(train.names) <= set(more_train.names) and set(val.names) <= set(more_val.names)
    assert len(more_train) + len(more_val) == 80


def _renamed(scene: Any) -> Any:
    return type(scene)(f"new_{scene.name}", scene.image, scene.objects)


def test_images_of_a_group_stay_together(root):
    train, val = sides(root, "det", *ALL, "data.split.group=(.*)_[0-9]+")
    clips = [{name.split("_")[0] for name in side.names} for side in (train, val)]
    assert clips[0] and clips[1] and not clips[0] & clips[1] and len(clips[0] | clips[1]) == 4
    assert f"in {len(clips[1])} of 4 groups" in val.notes[-1]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (
            "(all).*",
            "data.split.group='(all).*' puts all 40 images into one group, 'all', so that one side would be empty",
        ),
        ("video(.*)", "data.split.group='video(.*)' matches none of the 40 images, such as 'all/clip0_000.png'"),
    ],
)
def test_a_pattern_that_groups_nothing_or_all(pattern, text, root):
    with pytest.raises(LightsegError) as error:
        sides(root, "det", *ALL, f"data.split.group={pattern}")
    assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([*ALL, "data.split.group=clip[0-9]"], "has no brackets: put some around what images share"),
        ([*ALL, "data.split.group=(clip"], "is no regular expression (missing ), unterminated subpattern"),
        (["data=labelme", "data.split.group=(.*)_.*"], "the data has an evaluation split; give data.split.val=0.2 too"),
        (["data=coco", "data.split.val=1.5"], "or a number above 0 and below 1"),
    ],
)
def test_a_split_that_cannot_be(overrides, text, root):
    with pytest.raises(LightsegError) as error:
        compose(["task=det", f"data.root={root}", *overrides])
    assert text in str(error.value) and "\n" not in str(error.value)


def test_every_class_with_two_groups_is_on_both_sides():
    """Three rare classes whose hashes would put them on one side."""
    names = sorted((f"image{n}" for n in range(200)), key=position)
    classes: dict[str, set[int]] = {name: {0} for name in names}
    classes[names[-1]], classes[names[-2]] = {0, 1}, {0, 1}  # both in train
    classes[names[0]], classes[names[1]] = {0, 2}, {0, 2}  # both in val
    classes[names[100]] = {0, 3}  # a single group
    chosen = evaluated_groups(classes, 0.2)
    plainly = {name for name in names if position(name) < 0.2}
    assert chosen == (plainly | {names[-2]}) - {names[1]}
    assert evaluated_groups({"a": set(), "b": set()}, 0.001) == {min("ab", key=position)}


def test_a_pattern_as_it_is_typed():
    """YAML knows no escape `\\d`."""
    for typed in (r'group: "(.*)_\d+"', r"group: '(.*)_\d+'", r"group: (.*)_\d+", r'group: "(.*)_\\d+"'):
        split = compose(["task=det", "data=labelme", "data.root=.", f"data.split={{val: 0.2, {typed}}}"]).data.split
        assert split.group == r"(.*)_\d+" and split.val == 0.2


def test_a_position_is_the_same_in_every_process():
    """Not Python's own hash, which differs between processes: ranks and a resumed run divide alike."""
    assert position("all/clip0_000.png") == pytest.approx(0.08855, abs=1e-4)


def test_groups_of_names():
    assert group_of("clips/a_07.png", "(.*)_[0-9]+") == "clips/a"
    assert group_of("a/b_07.png", "([^/]*)/(.)_.*") == "a/b"
    assert group_of("other.png", "(.*)_[0-9]+") == "other.png"


def test_classes_stay_in_both_sides_of_a_folder_a_class(tmp_path):
    for number, scene in enumerate(SCENES[:16]):
        save_image(tmp_path / ("rare" if number < 2 else "usual") / f"{scene.name}.png", scene)
    train, val = sides(tmp_path, "cls", "data=imagefolder", "data.split={train: ., val: 0.2}")
    assert set(train.labels) == set(val.labels) == {0, 1}


def test_people_without_keypoints_stay_in_the_ground_truth_of_their_side(tmp_path):
    write_coco(tmp_path, {"all": SCENES})
    content = json.loads((tmp_path / "all.json").read_text())
    for annotation in content["annotations"]:
        if annotation["image_id"] % 3 == 0:
            annotation["keypoints"] = [0] * 9
    (tmp_path / "all.json").write_text(json.dumps(content))
    split = "data.split={train: {images: all, annotations: all.json}, val: 0.3}"
    truths = [side.ground_truth()["images"] for side in sides(tmp_path, "pose", "data=coco", split)]
    ids = [{image["id"] for image in images} for images in truths]
    assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == 40 and {i % 3 for i in ids[1]} == {0, 1, 2}


# -- merged classes ----------------------------------------------------------------------------------------------------


def test_merged_classes_of_boxes(root):
    merge = "data.merge_classes={pet: [cat, dog]}"
    plain_val, merged = (sides(root, "det", *ALL, *more)[1] for more in ((), (merge,)))
    assert merged.class_names == ["bird", "pet"] and merged.category_ids == [1, 2]
    for before, after in zip(plain_val, merged, strict=True):
        assert after["labels"].tolist() == [min(label, 1) for label in before["labels"].tolist()]
    assert {entry["category_id"] for entry in merged.ground_truth()["annotations"]} == {1, 2}
    assert merged.ground_truth()["categories"] == [{"id": 1, "name": "bird"}, {"id": 2, "name": "pet"}]
    merged.reorder_classes(["pet", "bird"])
    assert merged.category_ids == [2, 1] and merged.file_classes.tolist() == [1, 0]


def test_one_class_of_all_boxes(root):
    train, val = sides(root, "det", *ALL, "data.single_class=true")
    assert train.class_names == val.class_names == ["object"] and train.category_ids == [1]
    assert {label for sample in train for label in sample["labels"].tolist()} == {0}


def test_merged_classes_of_masks_and_colors(tmp_path):
    write_folder(tmp_path, {"train": SCENES[:4], "val": SCENES[4:8]})
    folder = ["data=folder", f"data.classes=[background, {', '.join(CLASSES)}]"]
    before, after = (
        sides(tmp_path, "seg", *folder, *more)[1] for more in ((), ("data.merge_classes={pet: [cat, dog]}",))
    )
    assert after.class_names == ["background", "bird", "pet"]
    for index in range(4):
        assert (after.mask(index) == np.minimum(before.mask(index), 2)).all()
    colors = "data.colors=[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]"
    colored = sides(tmp_path, "seg", *folder, colors, "data.merge_classes={pet: [dog, cat]}")[1]
    assert (colored.mask(0) == after.mask(0)).all() and colored.palette == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_merged_classes_that_the_evaluation_lacks(tmp_path):
    for split, classes in (("train", "abc"), ("val", "ac")):
        for name in classes:
            save_image(tmp_path / split / name / "0.png", SCENES[0])
    train, val = sides(tmp_path, "cls", "data=imagefolder", "data.merge_classes={x: [b, c]}")
    val.add_classes(train.class_names)
    assert train.class_names == val.class_names == ["a", "x"]
    assert train.labels == [0, 1, 1] and val.labels == [0, 1]


@pytest.mark.parametrize(
    ("merge", "text"),
    [
        ("{pet: [cat, dgo]}", "data.merge_classes.pet: no class 'dgo': did you mean dog?"),
        ("{pet: [cat], x: [cat]}", "data.merge_classes: 'cat' is in 'pet' and 'x': leave it out of one"),
        ("{bird: [cat, dog]}", "data.merge_classes.bird: a class has this name: add it to the list, or choose another"),
    ],
)
def test_merged_classes_that_cannot_be(merge, text, root):
    with pytest.raises(LightsegError) as error:
        sides(root, "det", *ALL, f"data.merge_classes={merge}")
    assert str(error.value) == text
