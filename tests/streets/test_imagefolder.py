"""The generated ImageFolder: balanced classes, files that depend on the settings alone, complete or not there."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lightseg.data.datasets.imagefolder import ClassificationFolder, check_same_classes
from lightseg.data.io.integrity import verify
from lightseg.errors import DataError
from lightseg.streets import imagefolder_writer, render, write_cityscapes, write_imagefolder
from lightseg.streets.dataset_folder import scene_seed

SMALL = {"seed": 5, "train": 19, "val": 8, "size": 32}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return write_imagefolder(tmp_path_factory.mktemp("mini") / "classes", **SMALL, workers=1)


def test_classification_folder_reads_it(data_set):
    train, val = (ClassificationFolder(data_set, split) for split in ("train", "val"))
    check_same_classes(train, val)
    assert verify(train) == verify(val) == [] == verify(val, "skip")
    assert train.class_names == sorted(imagefolder_writer.CLASS_FOLDERS.values()) and train.num_classes == 8
    assert np.bincount(train.labels).tolist() == [3, 3, 3, 2, 2, 2, 2, 2] and len(val) == 8
    assert train[0]["image"].shape == (3, 32, 32)
    images = [train[i]["image"].numpy().tobytes() for i in range(len(train))]
    images += [val[i]["image"].numpy().tobytes() for i in range(len(val))]
    assert len(set(images)) == 27  # no image twice, nor in both splits


def test_files_do_not_depend_on_the_workers(data_set, tmp_path, monkeypatch):
    other = write_imagefolder(tmp_path / "two", **SMALL, workers=2)
    assert digest(other) == digest(data_set)
    monkeypatch.setattr(imagefolder_writer, "SHARD", 1)  # 5 shards
    settings = json.loads((data_set / "mini.json").read_text())
    assert [shard[:2] for shard in imagefolder_writer._shards(settings)] == [
        ("train", 0), ("train", 1), ("train", 2), ("val", 0)
    ]  # fmt: skip
    for split, count in (("train", 19), ("val", 8)):
        assert sum(sum(quota.values()) for s, _, quota in imagefolder_writer._shards(settings) if s == split) == count


def test_a_crop_shows_the_object_of_its_class():
    seen = set()
    for seed in range(6):
        scene = render(seed, 128, 256)
        marked = np.zeros_like(scene.image)
        for thing in imagefolder_writer.clear_objects(scene, 24):
            marked[:] = 0
            marked[scene.mask(thing)] = 255
            stencil = imagefolder_writer.crop_object(
                type(scene)(marked, scene.label_ids, scene.instances, scene.objects), thing, 64
            )
            x0, y0, x1, y1 = thing.box_xyxy
            assert y1 - y0 >= 24 and x0 > 0 and y0 > 0 and x1 < 256 and y1 < 128
            fraction = (stencil > 128).mean()
            side = min(128, 1.3 * max(x1 - x0, y1 - y0))
            assert fraction == pytest.approx(scene.mask(thing).sum() / side**2, rel=0.15)
            assert imagefolder_writer.crop_object(scene, thing, 64).shape == (64, 64, 3)
            seen.add(thing.name)
    assert len(seen) >= 6


def test_covered_small_and_cropped_objects_are_left_out():
    for seed in range(6):
        scene = render(seed, 128, 256)
        kept = {thing.instance for thing in imagefolder_writer.clear_objects(scene, 24)}
        assert 0 < len(kept) < len(scene.objects)
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.box_xyxy
            box = scene.instances[y0:y1, x0:x1]
            by_others = sum(
                (box == other.instance).mean()
                for other in scene.objects
                if other is not thing and {other.name, thing.name} != {"rider", "bicycle"}
            )
            complete = min(x0, y0) > 0 and x1 < 256 and y1 < 128 and y1 - y0 >= 24
            clear = by_others <= 0.4 and (box == thing.instance).mean() >= 0.3
            assert (thing.instance in kept) == (complete and clear)


def test_existing_data_sets_are_never_overwritten(data_set, tmp_path):
    before = digest(data_set)
    assert write_imagefolder(data_set, **SMALL) == data_set and digest(data_set) == before
    with pytest.raises(DataError, match=r"size=32 \(now 48\).*delete that folder"):
        write_imagefolder(data_set, **{**SMALL, "size": 48})
    with pytest.raises(DataError, match=r"layout=imagefolder \(now cityscapes\)"):
        write_cityscapes(data_set)
    assert scene_seed(0, "train", 2**31 - 1) < scene_seed(0, "val", 0)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no more ink")

    monkeypatch.setattr(imagefolder_writer, "render", fail)
    with pytest.raises(RuntimeError, match="no more ink"):
        write_imagefolder(tmp_path / "set", **SMALL, workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"train": 7}, {"val": 0}, {"size": 16}, {"seed": -1}])
def test_impossible_settings_are_refused(tmp_path, change):
    with pytest.raises(DataError, match=r"at least 8 images per split.*got seed="):
        write_imagefolder(tmp_path / "set", **{**SMALL, **change})
    assert not list(tmp_path.iterdir())
