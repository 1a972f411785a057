"""The generated Cityscapes data set: bytes depend on the settings alone, complete or not there, never overwritten."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightseg.errors import DataError
from lightseg.streets import cityscapes_writer, dataset_folder, render, write_cityscapes
from lightseg.streets.canvas import LABEL_IDS
from lightseg.streets.dataset_folder import scene_seed

SMALL = {"seed": 3, "train": 4, "val": 2, "height": 48, "width": 96}


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("mini") / "set", **SMALL, workers=1)


def test_layout_is_cityscapes(data_set):
    images = sorted(path.name for path in (data_set / "leftImg8bit" / "train" / "mini").iterdir())
    assert images == [f"mini_{i:06d}_000000_leftImg8bit.png" for i in range(4)]
    labels = {path.name for path in (data_set / "gtFine" / "val" / "mini").iterdir()}
    assert labels == {
        f"mini_{i:06d}_000000_gtFine_{kind}.png" for i in range(2) for kind in ("labelIds", "instanceIds")
    }
    settings = json.loads((data_set / "mini.json").read_text())
    assert {key: settings[key] for key in SMALL} == SMALL and settings["version"] == cityscapes_writer.VERSION


def test_files_equal_the_scene(data_set):
    scene = render(scene_seed(3, "val", 1), 48, 96)
    name = "val/mini/mini_000001_000000"
    image = cv2.imread(str(data_set / f"leftImg8bit/{name}_leftImg8bit.png"), cv2.IMREAD_COLOR)[..., ::-1]
    labels = cv2.imread(str(data_set / f"gtFine/{name}_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    instances = cv2.imread(str(data_set / f"gtFine/{name}_gtFine_instanceIds.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(image, scene.image)
    assert labels.dtype == np.uint8 and np.array_equal(labels, scene.label_ids)
    assert instances.dtype == np.uint16
    assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), labels)
    for name in ("person", "car", "bicycle"):
        count = sum(thing.name == name for thing in scene.objects)
        label = LABEL_IDS[name]
        assert sorted(np.unique(instances[labels == label])) == [label * 1000 + n for n in range(count)]


def test_the_cityscapes_reader_reads_it(data_set):
    from lightseg.data.datasets.cityscapes import Cityscapes
    from lightseg.data.io.integrity import verify

    for split, count in (("train", 4), ("val", 2)):
        dataset = Cityscapes(data_set, split)
        assert len(dataset) == count and verify(dataset) == []
        sample = dataset[0]
        scene = render(scene_seed(3, split, 0), 48, 96)
        assert np.array_equal(sample["image"].numpy(), scene.image.transpose(2, 0, 1))
        mask = sample["mask"].numpy()
        assert np.array_equal(mask == 255, scene.label_ids < 7)
        for name in cityscapes_writer.CLASSES:
            assert np.array_equal(mask == dataset.class_names.index(name), scene.label_ids == LABEL_IDS[name])


def test_files_do_not_depend_on_the_workers(data_set, tmp_path):
    several = write_cityscapes(tmp_path / "several", **SMALL, workers=3)
    assert digest(several) == digest(data_set)


def test_workers_need_no_torch():
    code = "import sys, lightseg.streets; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_seeds_of_sets_and_splits_are_disjoint():
    seeds = [scene_seed(seed, split, i) for seed in (0, 1, 2) for split in ("train", "val") for i in (0, 1, 99_999)]
    assert len(set(seeds)) == len(seeds)


def test_another_seed_is_another_set(data_set, tmp_path):
    other = write_cityscapes(tmp_path / "other", **{**SMALL, "seed": 4, "train": 1, "val": 1}, workers=1)
    name = "leftImg8bit/train/mini/mini_000000_000000_leftImg8bit.png"
    assert (other / name).read_bytes() != (data_set / name).read_bytes()


def test_an_existing_data_set_is_not_written_again(data_set):
    before = {path: path.stat().st_mtime_ns for path in data_set.rglob("*")}
    start = time.perf_counter()
    assert write_cityscapes(data_set, **SMALL) == data_set
    assert time.perf_counter() - start < 0.2
    assert {path: path.stat().st_mtime_ns for path in data_set.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 9}, {"train": 5}, {"width": 128}])
def test_another_setting_is_an_error_that_names_it(data_set, change):
    before = digest(data_set)
    ((key, value),) = change.items()
    with pytest.raises(DataError, match=rf"{key}={SMALL[key]} \(now {value}\).*delete that folder or choose another"):
        write_cityscapes(data_set, **{**SMALL, **change})
    assert digest(data_set) == before


def test_another_version_is_an_error(data_set, monkeypatch):
    monkeypatch.setattr(cityscapes_writer, "VERSION", cityscapes_writer.VERSION + 1)
    with pytest.raises(DataError, match="version="):
        write_cityscapes(data_set, **SMALL)


def test_other_files_are_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_cityscapes(tmp_path, **SMALL)
    with pytest.raises(DataError, match="is a file"):
        write_cityscapes(tmp_path / "thesis.txt", **SMALL)
    (tmp_path / "mini.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        write_cityscapes(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / "empty"
    root.mkdir()
    write_cityscapes(root, **{**SMALL, "train": 1, "val": 0}, workers=1)
    assert (root / "mini.json").is_file()


@pytest.mark.parametrize("change", [{"height": 8}, {"train": 0, "val": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(tmp_path, change):
    with pytest.raises(DataError, match=r"32 x 32.*seed"):
        write_cityscapes(tmp_path / "set", **{**SMALL, **change})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, workers):
    def fail(*_):
        raise RuntimeError("no more ink")

    if workers == 1:
        monkeypatch.setattr(cityscapes_writer, "render", fail)
    else:
        monkeypatch.setattr(
            cityscapes_writer, "scene_seed", None
        )  # in this process only; the workers fail for a missing folder
        original = cityscapes_writer._render_all
        monkeypatch.setattr(cityscapes_writer, "_render_all", lambda folder, *rest: original(folder / "missing", *rest))
    with pytest.raises(RuntimeError if workers == 1 else DataError, match=r"no more ink|No such file"):
        write_cityscapes(tmp_path / "set", **SMALL, workers=workers)
    assert not list(tmp_path.iterdir())


def test_a_kill_leaves_no_incomplete_data_set(tmp_path):
    root = tmp_path / "set"
    code = f"from lightseg.streets import write_cityscapes; write_cityscapes({str(root)!r}, train=2000, workers=2)"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*.tmp/leftImg8bit/train/mini/*.png")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    deadline, count = time.monotonic() + 60, -1
    while count != (count := len(list(tmp_path.rglob("*.png")))):  # the workers end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert count < 2 * 2000

    (abandoned,) = leftovers(tmp_path)
    old = time.time() - 7200
    os.utime(abandoned, (old, old))
    write_cityscapes(root, **SMALL, workers=1)
    assert (root / "mini.json").is_file() and not leftovers(tmp_path)


def test_concurrent_writers_all_succeed(data_set, tmp_path):
    root = tmp_path / "set"
    failures: list[BaseException] = []

    def make() -> None:
        try:
            write_cityscapes(root, **SMALL, workers=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert digest(root) == digest(data_set) and not leftovers(tmp_path)


def test_an_installed_lightseg_puts_nothing_before_the_standard_library(monkeypatch, tmp_path):
    """PYTHONPATH goes before it, and site-packages may hold an old `typing`."""
    monkeypatch.setenv("PYTHONPATH", "/mine")
    library = str(Path(dataset_folder.__file__).parents[2])
    assert dataset_folder._python_path() == {"PYTHONPATH": f"{library}:/mine"}
    monkeypatch.setattr("sysconfig.get_path", lambda name: library)
    assert dataset_folder._python_path() == {}
