"""The procedural world by class: balanced, the same however it is made, whole or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lightseg.data.datasets.imagefolder import ClassificationFolder, check_same_classes
from lightseg.data.io.integrity import verify
from lightseg.errors import DataError
from lightseg.streets import class_writing, making, render, write_cityscapes, write_imagefolder

SMALL = {"seed": 5, "train": 19, "val": 8, "size": 32}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return write_imagefolder(tmp_path_factory.mktemp("mini") / "classes", **SMALL, workers=1)


def test_the_folder_reader_reads_it(data_set):
    train, val = (ClassificationFolder(data_set, split) for split in ("train", "val"))
    check_same_classes(train, val)
    assert verify(train) == verify(val) == [] == verify(val, "skip")
    assert train.class_names == sorted(class_writing.CLASS_FOLDERS.values()) and train.num_classes == 8
    assert np.bincount(train.labels).tolist() == [3, 3, 3, 2, 2, 2, 2, 2] and len(val) == 8
    assert train[0]["image"].shape == (3, 32, 32)
    pictures = [train[i]["image"].numpy().tobytes() for i in range(len(train))]
    pictures += [val[i]["image"].numpy().tobytes() for i in range(len(val))]
    assert len(set(pictures)) == 27  # none twice, train and val apart


def test_files_do_not_depend_on_the_workers(data_set, tmp_path, monkeypatch):
    other = write_imagefolder(tmp_path / "two", **SMALL, workers=2)
    assert digest(other) == digest(data_set)
    monkeypatch.setattr(class_writing, "SHARD", 1)  # 5 shards
    settings = json.loads((data_set / "mini.json").read_text())
    assert [shard[:2] for shard in class_writing._shards(settings)] == [
        ("train", 0), ("train", 1), ("train", 2), ("val", 0)
    ]  # fmt: skip
    for split, share in (("train", 19), ("val", 8)):
        assert sum(sum(quota.values()) for s, _, quota in class_writing._shards(settings) if s == split) == share


def test_a_cut_shows_the_thing_it_is_named_after():
    seen = set()
    for seed in range(6):
        scene = render(seed, 128, 256)
        marked = np.zeros_like(scene.image)
        for thing in class_writing.whole_things(scene, 24):
            marked[:] = 0
            marked[scene.mask(thing)] = 255
            stencil = class_writing.cut_out(
                type(scene)(marked, scene.label_ids, scene.instances, scene.objects), thing, 64
            )
            x0, y0, x1, y1 = thing.box_xyxy
            assert y1 - y0 >= 24 and x0 > 0 and y0 > 0 and x1 < 256 and y1 < 128
            share = (stencil > 128).mean()
            side = min(128, 1.3 * max(x1 - x0, y1 - y0))
            assert share == pytest.approx(scene.mask(thing).sum() / side**2, rel=0.15)
            assert class_writing.cut_out(scene, thing, 64).shape == (64, 64, 3)
            seen.add(thing.name)
    assert len(seen) >= 6


def test_what_is_mostly_covered_small_or_cut_is_left_out():
    for seed in range(6):
        scene = render(seed, 128, 256)
        kept = {thing.instance for thing in class_writing.whole_things(scene, 24)}
        assert 0 < len(kept) < len(scene.objects)
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.box_xyxy
            box = scene.instances[y0:y1, x0:x1]
            by_others = sum(
                (box == other.instance).mean()
                for other in scene.objects
                if other is not thing and {other.name, thing.name} != {"rider", "bicycle"}
            )
            whole = min(x0, y0) > 0 and x1 < 256 and y1 < 128 and y1 - y0 >= 24
            clear = by_others <= 0.4 and (box == thing.instance).mean() >= 0.3
            assert (thing.instance in kept) == (whole and clear)


def test_one_machinery_makes_both_kinds_of_set(data_set, tmp_path):
    before = digest(data_set)
    assert write_imagefolder(data_set, **SMALL) == data_set and digest(data_set) == before
    with pytest.raises(DataError, match=r"size=32 \(now 48\).*delete that folder"):
        write_imagefolder(data_set, **{**SMALL, "size": 48})
    with pytest.raises(DataError, match=r"layout=imagefolder \(now cityscapes\)"):
        write_cityscapes(data_set)
    assert making.scene_seed(0, "train", 2**31 - 1) < making.scene_seed(0, "val", 0)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no more ink")

    monkeypatch.setattr(class_writing, "render", fail)
    with pytest.raises(RuntimeError, match="no more ink"):
        write_imagefolder(tmp_path / "set", **SMALL, workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"train": 7}, {"val": 0}, {"size": 16}, {"seed": -1}])
def test_impossible_settings_are_refused(tmp_path, change):
    with pytest.raises(DataError, match=r"at least 8 pictures a split.*got seed="):
        write_imagefolder(tmp_path / "set", **{**SMALL, **change})
    assert not list(tmp_path.iterdir())
