"""The layouts and files of docs/own_data.md, made in small: each is read by the real loaders, and trained on."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import train
from lightseg.config.compose import compose, plain
from tasks.data import DataModule
from tasks.run.progressive import Progressive
from tests.docs.test_docs import OWN_DATA, add_data_files, data_files

POINTS = ["nose", "left_ear", "right_ear"]


def save_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def make(root: Path) -> None:
    """All four layouts below `root`, four images of 48x64 a split."""
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(4)]
    for split, folder in (("train", "train"), ("val", "valid")):
        images = [{"id": i + 1, "file_name": f"{i}.jpg", "height": 48, "width": 64} for i in range(4)]
        box = {"category_id": 7, "bbox": [10, 8, 30, 32]}
        points = {**box, "keypoints": [20, 12, 2, 16, 14, 2, 30, 20, 1]}
        for name, one in (("birds", box), ("horses", points)):
            annotations = [{"id": i + 1, "image_id": i + 1, **one} for i in range(4)]
            category = {"id": 7, "name": name, **({"keypoints": POINTS} if name == "horses" else {})}
            content = {"images": images, "annotations": annotations, "categories": [category]}
            for i, pixels in enumerate(noise):
                save_image(root / name / folder / f"{i}.jpg", pixels)
            (root / name / f"{folder}.json").write_text(json.dumps(content))
        for i, pixels in enumerate(noise):
            save_image(root / "rooms" / "images" / split / "a" / f"{i}.jpg", pixels)
            save_image(root / "rooms" / "masks" / split / "a" / f"{i}.png", (pixels[..., 0] % 5))
            save_image(root / "fruit" / split / ("apple" if i % 2 else "pear") / f"{i}.jpg", pixels)


@pytest.fixture
def place(tmp_path, monkeypatch):
    files = data_files(tmp_path)
    make(tmp_path)
    add_data_files(files, tmp_path, monkeypatch)
    return tmp_path


TASKS = {"rooms": "seg", "fruit": "cls", "birds": "det", "horses": "pose"}


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_the_layout_is_read(place, name, task):
    assert list(data_files(place)) == list(TASKS) and f"{name}/" in OWN_DATA
    config = plain(compose([f"data={name}", f"task={task}", "data.workers=0"]))
    options = config["data"]
    if task == "cls":
        options["eval"] = {"size": 32, "crop_pct": 1.0, "interpolation": "bilinear"}
    data = DataModule(options, 0, Progressive(config["schedule"], config["trainer"]["max_epochs"]))
    data.check()
    assert [len(data.dataset(split)) for split in ("train", "val")] == [4, 4] and not data.skipped
    names = {
        "rooms": ["wall", "floor", "door"], "fruit": ["apple", "pear"], "birds": ["birds"], "horses": POINTS,
    }  # fmt: skip
    assert list(data.dataset("train").class_names) == names[name]
    batch = data.spec.collate([data.dataset("train")[index] for index in range(2)])
    assert batch["images"].shape[:2] == (2, 3)
    if name == "rooms":  # ids 1, 2 and 3, 4 of the file; 0 is ignored
        assert set(np.unique(data.dataset("val")[0]["mask"])) == {0, 1, 2, 255}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_a_run_on_it(place, name, task, capsys):
    size = {"rooms": "data.augment.crop_size=[32,32]", "fruit": "data.augment.size=32"}.get(name)
    sizes = [size] if size else ["data.augment.size=[64,64]", "data.eval.size=[64,64]"]
    words = [f"data={name}", f"task={task}", "backbone=mobilenetv3_small_050", *sizes, f"runs_dir={place / 'runs'}"]
    words += ["data.batch_size=2", "data.workers=0", "trainer.max_epochs=1", "schedule.warmup_steps=0", "logger=csv"]
    assert train.main([*words, "profile.runs=1"]) == 0, capsys.readouterr().err
    assert len(list(place.glob("runs/*/*/*/*/record.json"))) == 1
