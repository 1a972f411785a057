"""Faults of class folders, weights and schedules: one line and exit code 2."""

import json
import shutil

import pytest
import timm
import torch

import train
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.conftest import NAMES


def refused(overrides: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train.main(overrides) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    return line


@pytest.fixture
def dataset(own_classes, cls_words):
    return own_classes, cls_words(f"data.root={own_classes}", "data.batch_size=2", "trainer.max_epochs=1")


def test_an_empty_class_folder(dataset, capsys):
    root, overrides = dataset
    (root / "train" / "cat").mkdir()
    assert "train/cat" in (line := refused(overrides, capsys)) and "holds no image" in line


def test_a_single_class(dataset, capsys):
    root, overrides = dataset
    for split in ("train", "val"):
        shutil.rmtree(root / split / "bee")
    assert "ant is the only class" in refused(overrides, capsys)


def test_classes_that_differ_between_the_splits(dataset, capsys, tmp_path):
    root, overrides = dataset
    (root / "val" / "bee").rename(root / "val" / "wasp")
    line = refused(overrides, capsys)
    assert "only train has bee" in line and "only val has wasp" in line
    assert not (tmp_path / "runs").exists()


def test_a_class_folder_that_is_missing_in_one_split(dataset, capsys, tmp_path):
    """A class that is not trained is refused; one that is not evaluated is left out of the mean, also in a test."""
    root, overrides = dataset
    shutil.copytree(root / "train" / "ant", root / "train" / "cat")
    shutil.copytree(root / "train" / "ant", root / "val" / "dog")
    assert "only val has dog" in refused(overrides, capsys)
    shutil.rmtree(root / "val" / "dog")
    assert train.main(overrides) == 0
    assert "val: 1 of 3 classes have no image and are not evaluated: cat" in capsys.readouterr().out
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "record.json").read_text())
    classes = ["ant", "bee"]
    figures = {key: value for key, value in record["metrics"].items() if key.startswith("val/class_accuracy/")}
    assert [key.split("/")[-1] for key in figures] == classes
    assert record["metrics"]["val/mean_class_accuracy"] == pytest.approx(sum(figures.values()) / 2)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    assert train.main(["mode=test", f"ckpt={checkpoint}", f"runs_dir={tmp_path / 'again'}"]) == 0
    again = json.loads((only_run(tmp_path / "again") / "record.json").read_text())
    assert again["metrics"].keys() == record["metrics"].keys()


def test_a_file_that_is_no_image_is_named_or_skipped_and_counted(dataset, capsys, tmp_path):
    root, overrides = dataset
    shutil.copy(root / "train" / "ant" / "0.jpg", root / "train" / "ant" / "2.jpg")
    (root / "train" / "ant" / "notes.txt").write_text("three ants on the left")
    (root / "train" / "ant" / "notes.jpg").write_text("three ants on the left")
    assert "train/ant/notes.jpg" in refused(overrides, capsys)
    assert train.main([*overrides, "data.on_error=skip"]) == 0
    assert "1 unreadable left out" in (out := capsys.readouterr().out) and "notes.jpg" in out
    assert "train: 1 files are no images by their ending and are left out: ant/notes.txt" in out
    record = json.loads((only_run(tmp_path / "runs") / "record.json").read_text())
    (skipped,) = record["protocol"]["skipped"]
    assert skipped["path"].endswith("train/ant/notes.jpg") and skipped["reason"]


def test_a_class_whose_only_image_is_broken(dataset, capsys):
    root, overrides = dataset
    for number in range(2):
        path = root / "train" / "bee" / f"{number}.jpg"
        path.write_bytes(path.read_bytes()[:300])
    assert "train/bee" in (line := refused([*overrides, "data.on_error=skip"], capsys)) and "no usable image" in line


def test_weights_for_other_classes_are_loaded_without_their_classifier(cls_words, tmp_path, caplog):
    net = timm.create_model(SHALLOW, num_classes=10)
    torch.save(net.state_dict(), tmp_path / "ten.pth")
    overrides = cls_words(f"pretrained={tmp_path / 'ten.pth'}", "trainer.max_epochs=1", "optimizer.lr=1e-12")
    assert train.main([*overrides, "optimizer.weight_decay=0"]) == 0
    assert "classifier is for other classes and was not loaded" in caplog.text and "classifier.weight" in caplog.text
    checkpoint = torch.load(only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    loaded, wanted = state["model.backbone.net.conv_stem.weight"], net.conv_stem.weight
    assert torch.allclose(loaded, wanted, atol=1e-6)  # trained on from the file's weights
    assert state["model.backbone.net.classifier.weight"].shape[0] == len(NAMES)


def test_weights_of_another_net(cls_words, tmp_path, capsys):
    torch.save(timm.create_model("test_efficientnet_ln").state_dict(), tmp_path / "other.pth")
    line = refused(cls_words(f"pretrained={tmp_path / 'other.pth'}"), capsys)
    assert f"other.pth does not hold weights of {SHALLOW}" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["schedule.image_size=[16,64]", "schedule.stages=2"], "numbers, 32 or more"),
        (["schedule.image_size=[32,64]", "schedule.stages=3"], "schedule.stages=3 is more than the 2 epochs"),
        (["schedule.image_size=[32,48,64]", "schedule.stages=2"], "3 values for schedule.stages=2"),
        (["schedule.image_size=[32,48,64,96]", "schedule.stages=2"], "4 values for schedule.stages=2"),
        (["schedule.image_size=64"], "must be a list"),
        (["schedule.image_size=[32,large]"], "must be a list"),
        (["schedule.image_size=[32,64]", "schedule.stages=0"], "schedule.stages=0"),
        (["schedule.images_per_step=true"], "give schedule.image_size"),
        (["schedule.mixup=[-1,0]", "schedule.stages=2"], "schedule.mixup=[-1, 0]"),
        (["schedule.dropout=[0.1,1.5]", "schedule.stages=2"], "schedule.dropout"),
        (["schedule.drop_path=[0,1]", "schedule.stages=2"], "schedule.drop_path"),
        (["schedule.randaugment=[5,50]", "schedule.stages=2"], "schedule.randaugment=[5, 50]"),
        (["schedule.image_size=[32,96]", "schedule.stages=2", "schedule.images_per_step=true"], "18 training images"),
        (["evaluation.scales=[0.5,1.0]"], "evaluation.scales"),
        (["data.augment.randaugment=9", "data.augment.trivialaugment=true"], "choose one"),
        (["head.name=lraspp"], "choose from native, linear"),
        (["optimizer.name=sgd", "optimizer.eps=0.001"], "takes no optimizer.eps"),
    ],
)
def test_invalid_settings_are_refused_before_training(cls_words, capsys, tmp_path, options, message):
    assert message in refused(cls_words("trainer.max_epochs=2", *options), capsys)
    assert not list((tmp_path / "runs").glob("*/*/*/*/checkpoints"))


def test_randaugment_of_segmentation_is_not_ignored_in_silence(words, capsys):
    assert "schedule.randaugment" in refused(words("schedule.randaugment=[5,15]", "schedule.stages=2"), capsys)
