"""The generated COCO data sets: annotations equal the scenes and depend on the settings alone."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lightseg.data.datasets.coco import CocoDetection, check_same_categories
from lightseg.data.datasets.coco_keypoints import CocoKeypoints, check_same_skeletons
from lightseg.data.io.integrity import verify
from lightseg.errors import DataError
from lightseg.streets import coco_writer, layout, render, write_cityscapes, write_coco, write_persons
from lightseg.streets.dataset_folder import scene_seed

SMALL = {"seed": 4, "train": 5, "val": 3, "height": 64, "width": 128}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("mini") / "coco", **SMALL, workers=1)


def load(root: Path, kind: str, split: str) -> dict:
    return json.loads((root / f"annotations/{kind}_{split}.json").read_text())


def read(root: Path, split: str, kind: str = "instances") -> CocoDetection:
    return CocoDetection(root, images=f"images/{split}", annotations=f"annotations/{kind}_{split}.json")


def test_the_coco_reader_reads_it(data_set):
    train, val = read(data_set, "train"), read(data_set, "val")
    check_same_categories(train, val)
    assert verify(train) == verify(val) == verify(val, "skip") == []
    assert len(train) == 5 and len(val) == 3 and train.class_names == list(coco_writer.CATEGORIES)
    assert not set(train.image_ids) & set(val.image_ids)
    assert all("no box" in line for line in train.report + val.report)
    assert np.diff(train.category_ids).max() > 1  # gaps, as in COCO's
    assert all(5 <= len(train[i]["boxes"]) <= 25 for i in range(5))
    assert sorted(path.name for path in data_set.iterdir()) == ["annotations", "images", "mini.json"]


def test_boxes_and_areas_equal_the_scenes(data_set):
    for split in ("train", "val"):
        data = read(data_set, split)
        for index in range(len(data)):
            scene = render(scene_seed(4, split, index), 64, 128)
            arrays = data.read(index)
            assert np.array_equal(arrays["image"], scene.image)
            truth = [a for a in data.ground_truth()["annotations"] if a["image_id"] == data.image_ids[index]]
            assert len(truth) == len(arrays["boxes"])
            for annotation, (x0, y0, x1, y1), label in zip(truth, arrays["boxes"], arrays["labels"], strict=True):
                matches = [t for t in scene.objects if t.box_xyxy == (x0, y0, x1, y1)]
                thing = next(t for t in matches if t.name == data.class_names[label])
                mask = scene.mask(thing)
                rows, columns = np.nonzero(mask)
                assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
                assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0


def test_hardly_visible_objects_have_no_box():
    left_out = 0
    for seed in range(8):
        scene = render(seed, 64, 128)
        kept = {thing.instance for thing in coco_writer.boxed_objects(scene)}
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.box_xyxy
            area = int(scene.mask(thing).sum())
            clear = area >= 20 and area >= 0.1 * (x1 - x0) * (y1 - y0) and min(x1 - x0, y1 - y0) >= 3
            assert (thing.instance in kept) == (clear and thing.name in coco_writer.CATEGORIES)
            left_out += thing.name in coco_writer.CATEGORIES and not clear
    assert left_out > 5


def test_keypoints_equal_the_scenes(data_set):
    content = load(data_set, "person_keypoints", "train")
    (person,) = content["categories"]
    assert person["id"] == 1 and person["name"] == "person" and len(person["keypoints"]) == 17
    assert person["keypoints"][0] == "nose" and person["keypoints"][16] == "right_ankle"
    assert len(person["skeleton"]) == 19 and np.unique(person["skeleton"]).tolist() == list(range(1, 18))
    boxes = {(a["image_id"], tuple(a["bbox"])) for a in load(data_set, "instances", "train")["annotations"]}
    seen: set[int] = set()
    for index, image in enumerate(content["images"]):
        scene = render(scene_seed(4, "train", index), 64, 128)
        people = [thing for thing in coco_writer.boxed_objects(scene) if thing.name in ("person", "rider")]
        annotations = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert len(people) == len(annotations) > 0
        for thing, annotation in zip(people, annotations, strict=True):
            x, y, visible = np.array(annotation["keypoints"]).reshape(17, 3).T
            assert np.array_equal(visible, thing.visible)
            labeled = visible > 0
            np.testing.assert_allclose(np.stack([x, y], 1)[labeled], thing.keypoints_xy[labeled], atol=0.051)
            assert (x[~labeled] == 0).all() and (y[~labeled] == 0).all()
            assert annotation["num_keypoints"] == labeled.sum() and annotation["category_id"] == 1
            assert (annotation["image_id"], tuple(annotation["bbox"])) in boxes
            seen |= set(visible.tolist())
    assert seen == {0, 1, 2}


def test_the_data_set_for_pose_has_more_and_larger_people(tmp_path):
    root = write_persons(tmp_path / "pose", seed=4, train=2, val=1, workers=1)
    train, val = (
        CocoKeypoints(root, images=f"images/{split}", annotations=f"annotations/person_keypoints_{split}.json")
        for split in ("train", "val")
    )
    check_same_skeletons(train, val)
    assert verify(train) == verify(val) == [] and train.skeleton.lower[11:] == [True] * 6
    assert 8 <= len(train) <= 24 and train[0]["image"].shape == (3, 256, 512)
    with_points = [train[i] for i in range(len(train))]
    assert np.median([sample["box"][3] - sample["box"][1] for sample in with_points]) > 80
    for sample in with_points:
        assert sample["area"] >= 32**2 and (sample["visible"] == 2).sum() >= 6
    people = train.ground_truth()["annotations"]
    assert len(people) > len(train)  # the others have a box and no keypoints
    for person in people:
        assert (person["num_keypoints"] > 0) == (person["area"] >= 1024 and person["keypoints"][2::3].count(2) >= 6)
    with pytest.raises(DataError, match=r"height=64 \(now 256\).*persons=None \(now 1\)"):
        write_persons(write_coco(tmp_path / "boxes", **SMALL, workers=1))


def test_extra_people_change_nothing_else():
    plain, more = (layout.sample_plan(np.random.default_rng([3, 0]), 256, 512, extra) for extra in (0, 12))
    assert more.people[: len(plain.people)] == plain.people and len(more.people) >= len(plain.people) + 6
    assert more.bicycles == plain.bicycles and more.camera == plain.camera


def test_files_do_not_depend_on_the_workers(data_set, tmp_path):
    assert digest(write_coco(tmp_path / "three", **SMALL, workers=3)) == digest(data_set)


def test_a_data_set_is_written_once_and_never_overwritten(data_set, tmp_path, monkeypatch):
    before = digest(data_set)
    assert write_coco(data_set, **SMALL) == data_set and digest(data_set) == before
    with pytest.raises(DataError, match=r"height=64 \(now 96\).*delete that folder"):
        write_coco(data_set, **{**SMALL, "height": 96})
    with pytest.raises(DataError, match=r"layout=coco \(now cityscapes\)"):
        write_cityscapes(data_set)

    def fail(*_):
        raise RuntimeError("no more ink")

    monkeypatch.setattr(coco_writer, "render", fail)
    with pytest.raises(RuntimeError, match="no more ink"):
        write_coco(tmp_path / "set", **SMALL, workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"train": 0}, {"val": 0}, {"height": 31}, {"seed": -1}])
def test_impossible_settings_are_refused(tmp_path, change):
    with pytest.raises(DataError, match=r"an image in each split.*got seed="):
        write_coco(tmp_path / "set", **{**SMALL, **change})
    assert not list(tmp_path.iterdir())
