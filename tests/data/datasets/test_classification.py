"""Class folders: classes, files, errors, and samples that depend on their key alone."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lightseg.data.collate import collate
from lightseg.data.datasets.imagefolder import ClassificationFolder, check_same_classes
from lightseg.data.io.images import check_image
from lightseg.data.io.integrity import verify
from lightseg.data.transforms.classification import train_transform
from lightseg.data.transforms.phase_transform import PhaseTransform
from lightseg.errors import DataError, LightsegError


@pytest.fixture
def classes(tmp_path: Path, save_image) -> Path:
    """train: 2 ants, 3 bees (one in a subfolder), 1 wasp; val: 1 each. JPEG and PNG, 24x32 and larger."""
    rng = np.random.default_rng(0)

    def save(name: str, *size: int) -> None:
        save_image(tmp_path / name, rng.integers(0, 256, (*size, 3), dtype=np.uint8))

    for name in ("ant/1.jpg", "ant/2.JPEG", "bee/b.png", "bee/a.jpg", "bee/more/c.png", "wasp/x.webp"):
        save(f"train/{name}", 24, 32)
    for name in ("ant", "bee", "wasp"):
        save(f"val/{name}/1.png", 40, 30)
    (tmp_path / "train" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "ant" / "._1.jpg").write_bytes(b"x")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "README.md").write_text("beside the class folders")
    return tmp_path


def test_folders_are_classes_in_alphabetic_order(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train")
    assert dataset.class_names == ["ant", "bee", "wasp"] and dataset.num_classes == 3 == len(dataset.palette)
    assert dataset.names == ["ant/1.jpg", "ant/2.JPEG", "bee/a.jpg", "bee/b.png", "bee/more/c.png", "wasp/x.webp"]
    assert dataset.labels == [0, 0, 1, 1, 1, 2] and dataset.has_labels and len(dataset) == 6
    assert dataset.paths[4] == classes / "train/bee/more/c.png"
    sample = dataset[4]
    assert sample["image"].shape == (3, 24, 32) and sample["image"].dtype == torch.uint8
    assert sample["image"].permute(1, 2, 0).is_contiguous()
    assert (sample["label"], sample["name"], sample["index"]) == (1, "bee/more/c.png", 4)


def test_named_classes_are_taken_in_their_order(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train", class_names=["wasp", "ant"])
    assert dataset.names == ["wasp/x.webp", "ant/1.jpg", "ant/2.JPEG"] and dataset.labels == [0, 1, 1]
    with pytest.raises(DataError, match=r"train: no folder of class fly; there are ant, bee, wasp"):
        ClassificationFolder(classes, "train", class_names=["ant", "fly"])
    with pytest.raises(LightsegError, match="must differ"):
        ClassificationFolder(classes, "train", class_names=["ant", "ant"])


def test_both_splits_have_the_same_classes(classes: Path, save_image) -> None:
    train, val = ClassificationFolder(classes, "train"), ClassificationFolder(classes, "val")
    check_same_classes(train, val)
    save_image(classes / "val/fly/1.png", np.zeros((8, 8, 3), np.uint8))
    (classes / "val/wasp").rename(classes / "val/hornet")
    with pytest.raises(DataError, match=r"train and .*val differ.*only train has wasp; only val has fly, hornet$"):
        check_same_classes(train, ClassificationFolder(classes, "val"))
    with pytest.raises(DataError, match="order"):
        check_same_classes(train, ClassificationFolder(classes, "train", class_names=["bee", "ant", "wasp"]))


def test_an_evaluation_may_lack_classes(classes: Path) -> None:
    """A class without a folder, and one whose folder has no image."""
    train = ClassificationFolder(classes, "train")
    (classes / "val/ant/1.png").unlink()
    (classes / "val/wasp/1.png").unlink()
    (classes / "val/wasp").rmdir()
    val = ClassificationFolder(classes, "val", may_lack=True)
    check_same_classes(train, val)
    assert val.class_names == train.class_names and val.palette == train.palette and val.labels == [1]
    assert val.notes == ["2 of 3 classes have no image and are not evaluated: ant, wasp"]
    val = ClassificationFolder(classes, "val", class_names=["wasp", "bee"], may_lack=True)
    assert val.labels == [1] and val.num_classes == 2
    with pytest.raises(DataError, match="differ"):
        check_same_classes(train, ClassificationFolder(classes, "val", class_names=["bee", "fly"], may_lack=True))
    (classes / "val/bee/1.png").unlink()
    with pytest.raises(DataError, match=r"val: the class folders hold no image: give files that end in \.jpg"):
        ClassificationFolder(classes, "val", may_lack=True)


def test_files_that_are_no_images_by_their_ending_are_counted(classes: Path) -> None:
    plain = ClassificationFolder(classes, "train")
    for name in ("ant/Thumbs.db", "bee/more/labels.csv"):
        (classes / "train" / name).write_bytes(b"x")
    (classes / "train/ant/7").write_bytes((classes / "train/ant/1.jpg").read_bytes())
    dataset = ClassificationFolder(classes, "train")
    assert dataset.names == sorted([*plain.names, "ant/7"]) and verify(dataset) == []
    assert dataset.notes == [
        "2 files are no images by their ending and are left out: ant/Thumbs.db, bee/more/labels.csv"
    ]


def test_symlinked_classes_are_followed_and_loops_are_not(classes: Path) -> None:
    (classes / "elsewhere").mkdir()
    (classes / "train/bee").rename(classes / "elsewhere/bee")
    (classes / "train/bee").symlink_to(classes / "elsewhere/bee")
    (classes / "train/ant/loop").symlink_to(classes / "train")
    dataset = ClassificationFolder(classes, "train")
    assert [name for name in dataset.names if name.startswith("bee")] == ["bee/a.jpg", "bee/b.png", "bee/more/c.png"]
    assert len(dataset) < 20


@pytest.mark.parametrize("orientation", [6, 9])
def test_turned_images_are_kept_in_memory(classes: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 10)).save(classes / "train/wasp/turned.tif", exif=exif)
    dataset = ClassificationFolder(classes, "train")
    index = dataset.names.index("wasp/turned.tif")
    expected = dataset[index]["image"]
    assert expected.shape == ((3, 20, 10) if orientation == 6 else (3, 10, 20))
    dataset.keep_decoded()
    assert all(torch.equal(dataset[index]["image"], expected) for _ in range(2))


def test_a_batch_has_labels(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train")
    batch = collate([dataset[i] for i in (0, 3, 5)])
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["label"].tolist() == [0, 1, 2] and batch["label"].dtype == torch.int64
    assert torch.equal(batch["image"][1], dataset[3]["image"])


def test_missing_folders_and_classes_are_one_clear_line(classes: Path, save_image) -> None:
    with pytest.raises(DataError, match="no such folder"):
        ClassificationFolder(classes, "test")
    with pytest.raises(DataError, match=r"train/wasp: the folder of class 'wasp' holds no image"):
        (classes / "train/wasp/x.webp").rename(classes / "train/wasp/.hidden")
        ClassificationFolder(classes, "train")
    with pytest.raises(DataError, match=r"train/ant: class folders are missing; expected ant/<class>/<image>"):
        ClassificationFolder(classes, "train/ant")
    with pytest.raises(DataError, match=r"bee: more is the only class"):
        ClassificationFolder(classes / "train", "bee")
    save_image(classes / "flat/ILSVRC2012_val_00000001.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"flat: ImageNet's validation images must be moved into a folder for each"):
        ClassificationFolder(classes, "flat")


def damage(classes: Path) -> None:
    (classes / "train/ant/notes.jpg").write_text("not an image")
    (classes / "train/bee/empty.jpg").write_bytes(b"")
    (classes / "train/bee/cut.png").write_bytes((classes / "train/bee/b.png").read_bytes()[:-40])


def test_a_file_that_is_no_image_is_named(classes: Path) -> None:
    assert verify(ClassificationFolder(classes, "train")) == []
    damage(classes)
    dataset = ClassificationFolder(classes, "train")
    with pytest.raises(DataError, match=r"train/ant/notes\.jpg: not readable as an image"):
        verify(dataset)
    (classes / "train/ant/notes.jpg").unlink()
    with pytest.raises(DataError, match=r"train/bee/empty\.jpg: the file is empty"):
        verify(ClassificationFolder(classes, "train"))


def test_skip_removes_broken_files(classes: Path) -> None:
    before = ClassificationFolder(classes, "train")
    damage(classes)
    dataset = ClassificationFolder(classes, "train")
    assert dataset.fingerprint() != before.fingerprint() and len(dataset) == 9
    bad = verify(dataset, "skip")
    assert [file.path.name for file in bad] == ["notes.jpg", "cut.png", "empty.jpg"]
    assert "truncated" in bad[1].reason
    assert dataset.names == before.names and dataset.labels == before.labels
    assert dataset.fingerprint() == before.fingerprint()


def test_a_class_that_loses_its_last_image_is_an_error(classes: Path) -> None:
    (classes / "train/wasp/x.webp").write_bytes(b"x")
    with pytest.raises(DataError, match=r"train/wasp: no usable image of this class is left"):
        verify(ClassificationFolder(classes, "train"), "skip")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm"])
def test_images_are_recognized_by_their_signature(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.new("RGB", (8, 8)).save(path)
    check_image(path)
    path.write_bytes(b"\0\0" + path.read_bytes())
    with pytest.raises(DataError, match="not readable as an image"):
        check_image(path)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        check_image(path)


def by_phase(phase: int):
    return train_transform(8 * (phase + 1))


def test_a_key_has_index_seed_and_phase(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train", transform=PhaseTransform(by_phase))
    assert dataset[1]["image"].shape == dataset[1, 7]["image"].shape == (3, 8, 8)
    assert dataset[1, 7, 2]["image"].shape == (3, 24, 24)
    assert torch.equal(dataset[1]["image"], dataset[1, 0, 0]["image"])
    assert torch.equal(dataset[1, 7, 1]["image"], dataset[1, 7, 1]["image"])
    assert not torch.equal(dataset[1, 7, 1]["image"], dataset[1, 8, 1]["image"])
    plain = ClassificationFolder(classes, "train", transform=by_phase(1))
    assert torch.equal(plain[1, 7]["image"], dataset[1, 7, 1]["image"])
    copy = pickle.loads(pickle.dumps(dataset))  # as for spawned workers
    assert torch.equal(copy[1, 7, 2]["image"], dataset[1, 7, 2]["image"])


def test_the_transform_of_a_phase_is_built_once_on_first_use() -> None:
    built = []
    transform = PhaseTransform(lambda phase: built.append(phase) or by_phase(phase))
    assert built == []
    assert transform.at(3) is transform.at(3) and built == [3]
    transform(0, image=np.zeros((9, 9, 3), np.uint8))
    assert built == [3, 0]


def test_phases_reach_worker_processes(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train", transform=PhaseTransform(by_phase))
    keys = [(0, 1, 0), (3, 2, 0), (5, 3, 2), (1, 4, 2)]
    loader = DataLoader(dataset, batch_size=2, sampler=keys, num_workers=2, collate_fn=collate)
    small, large = list(loader)
    assert small["image"].shape == (2, 3, 8, 8) and large["image"].shape == (2, 3, 24, 24)
    assert torch.equal(large["image"][0], dataset[5, 3, 2]["image"])


def test_decoded_images_are_kept(classes: Path) -> None:
    dataset = ClassificationFolder(classes, "train")
    expected = [dataset[i]["image"] for i in range(6)]
    dataset.keep_decoded()
    assert dataset._cache.memory.size == 6 + 6 * 24 * 32 * 3  # nothing for masks
    for _ in range(2):
        for index in range(6):
            image = dataset[index]["image"]
            assert torch.equal(image, expected[index])
            image.zero_()
        for path in dataset.paths:
            path.unlink(missing_ok=True)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._cache.masks is False


def test_a_prediction_is_written_with_names(classes: Path, tmp_path: Path) -> None:
    dataset = ClassificationFolder(classes, "train")
    path = dataset.write_prediction(np.array([0.2, 0.7, 0.1], np.float32), "bee/more/c.png", tmp_path / "out")
    assert path == tmp_path / "out/bee/more/c.png.json"
    assert json.loads(path.read_text()) == {
        "name": "bee/more/c.png",
        "class": "bee",
        "top": [
            {"class": "bee", "probability": 0.7},
            {"class": "ant", "probability": 0.2},
            {"class": "wasp", "probability": 0.1},
        ],
    }
