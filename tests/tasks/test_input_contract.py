"""A checkpoint carries what its net wants of an image: it scores elsewhere what it scored in its run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import train
from lightseg.backbones.pyramid import InputFormat
from lightseg.checkpoint import load_model
from lightseg.cli import main as lightseg
from lightseg.config.sweep import identity, read_sweep
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract
from lightseg.model import create_model
from tasks.run.build import match_class_names
from tests.conftest import only_run
from tests.tasks.conftest import NAMES, write_classes

SIZE = 64  # the publisher of the backbone's weights evaluated at 224, bicubic


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict, list[str]]:
    """A run's folder, its record, and the overrides of its data."""
    folder = tmp_path_factory.mktemp("contract")
    data = [
        "task=cls",
        "data=imagefolder",
        f"data.root={write_classes(folder / 'classes')}",
        *("data.batch_size=6", "data.eval_batch_size=6", "data.workers=0", "data.eval.interpolation=bilinear"),
    ]
    options = [
        *("backbone=mobilenetv3_small_050", f"data.augment.size={SIZE}", "trainer.max_epochs=2", "profile.runs=1"),
        *("schedule.warmup_steps=0", "logger=csv", f"runs_dir={folder / 'runs'}", "optimizer.lr=0.01", "ema.decay=0"),
    ]
    assert train.main([*data, *options]) == 0
    path = only_run(folder / "runs")
    return path, json.loads((path / "record.json").read_text()), data


def evaluate(path: Path, data: list[str], folder: Path, *more: str) -> dict:
    words = ["mode=test", f"ckpt={path}", "logger=csv", "profile.runs=1", f"runs_dir={folder}"]
    # how an image is made to fit is not said
    assert train.main([*(word for word in data if "eval.interpolation" not in word), *words, *more]) == 0
    return json.loads((only_run(folder) / "record.json").read_text())


def moved(run_folder: Path, folder: Path, name: str = "best.ckpt") -> Path:
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(run_folder / "checkpoints" / name, folder / name))


def test_a_moved_checkpoint_scores_what_its_run_scored(run, tmp_path):
    folder, record, data = run
    again = evaluate(moved(folder, tmp_path / "elsewhere"), data, tmp_path / "test")
    assert again["metrics"] == record["metrics"] and again["metrics"]["val/ece"] is not None
    crop = {"size": SIZE, "interpolation": "bilinear"}
    for content in (record, again):
        assert crop.items() <= content["protocol"]["crop"].items()
    assert again["backbone"] == again["config"]["backbone"] == "mobilenetv3_small_050"
    assert only_run(tmp_path / "test").parent.name == "mobilenetv3_small_050"
    assert again["input"] == record["input"] and again["input"]["size"] == [SIZE, SIZE]


@pytest.mark.slow
def test_a_moved_exported_file_is_taken_anywhere(run, tmp_path):
    folder, record, data = run
    assert lightseg(["export", str(moved(folder, tmp_path / "elsewhere"))]) == 0
    (tmp_path / "far").mkdir()
    file = shutil.move(tmp_path / "elsewhere" / "best.onnx", tmp_path / "far" / "net.onnx")
    again = evaluate(Path(file), data, tmp_path / "test")
    for key, value in record["metrics"].items():
        assert again["metrics"][key] == pytest.approx(value, abs=1e-4), key


def test_the_configuration_that_ran_has_no_open_values(run):
    folder, record, data = run
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert None not in config["data"]["eval"].values() and config["profile"]["image_size"] == [SIZE, SIZE]
    assert {"data.eval.size", "data.eval.crop_pct", "profile.image_size"} <= set(config["resolved"])
    assert "data.eval.interpolation" not in config["resolved"]
    # what was filled in does not tell two runs apart
    words = [*data, "backbone=mobilenetv3_small_050", f"data.augment.size={SIZE}", "trainer.max_epochs=2"]
    words += ["schedule.warmup_steps=0", "optimizer.lr=0.01", "ema.decay=0", f"runs_dir={folder.parents[3]}"]
    assert identity(config) == identity(record["config"]) == read_sweep(words).runs[0].identity
    assert not any(key.startswith(("data.eval.size", "head.", "profile")) for key in record["setting"])


def test_values_that_contradict_the_checkpoint_are_refused(run, tmp_path, capsys):
    folder, _, data = run
    words = ["mode=test", f"ckpt={moved(folder, tmp_path / 'm')}", f"runs_dir={tmp_path / 'test'}"]
    for override, message in (("backbone=mobilenetv2", "is of backbone=mobilenetv3_small_050, not mobilenetv2"),
                              ("head.name=linear", "has head.name=native, not linear")):  # fmt: skip
        assert train.main([*data, *words, override]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "test").exists()
    record = evaluate(tmp_path / "m" / "best.ckpt", data, tmp_path / "own", "data.eval.size=48")
    assert record["protocol"]["crop"]["size"] == 48  # what is said goes first


def test_other_statistics_of_the_installed_timm_change_nothing(run, monkeypatch):
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    path = run[0] / "checkpoints" / "best.ckpt"
    with torch.no_grad():
        expected = load_model(path)(images)
        monkeypatch.setattr(InputFormat, "of", lambda *arguments: InputFormat((0.1,) * 3, (0.9,) * 3, bgr=True))
        assert torch.equal(load_model(path)(images), expected)
        assert not torch.equal(create_model("mobilenetv3_small_050", "cls", len(NAMES)).normalize(images),
                               load_model(path).normalize(images))  # fmt: skip


def test_classes_in_another_order_are_mapped_by_name(run, tmp_path, capsys):
    folder, record, data = run
    order = f"data.classes=[{','.join(reversed(NAMES))}]"
    again = evaluate(moved(folder, tmp_path / "m"), data, tmp_path / "test", order)
    assert "are in another order: mapped by name" in capsys.readouterr().out
    for key, value in record["metrics"].items():
        assert again["metrics"][key] == pytest.approx(value, abs=1e-7), key


def test_other_classes_are_refused_with_both_lists(tmp_path, run, capsys):
    folder, _, data = run
    others = write_classes(tmp_path / "others", ("ant", "bee", "cow", "dog", "elk", "fox"))
    words = [f"data.root={others}" if word.startswith("data.root") else word for word in data]
    words += ["mode=test", f"ckpt={moved(folder, tmp_path / 'm')}", f"runs_dir={tmp_path / 'test'}"]
    assert train.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ant, bee, cat, dog, elk, fox / ant, bee, cow, dog, elk, fox" in line


@pytest.mark.parametrize("task", ["seg", "det", "pose"])
def test_names_are_compared_for_every_task(task):
    orders: list[list[str]] = []
    dataset = SimpleNamespace(class_names=["a", "b", "c"], add_classes=lambda names: None)
    data = SimpleNamespace(
        evaluation_split="val", dataset=lambda split: dataset, options={"name": "x"}, use_class_order=orders.append
    )

    def match(*names: str) -> None:
        spec = {"task": task, "num_classes": len(names)}
        match_class_names("best.ckpt", spec, InputContract(class_names=names), data)

    match("a", "b", "c")
    assert not orders
    match("c", "a", "b")
    assert orders == [["c", "a", "b"]]
    for names in (("a", "b", "d"), ("a", "b"), ("a", "b", "c", "d")):
        with pytest.raises(LightsegError, match=f"{', '.join(names)} / a, b, c"):
            match(*names)


def test_a_checkpoint_of_an_older_release(run, tmp_path, caplog):
    """In its run it is evaluated as there; without it with the publisher's preprocessing, and a warning names it."""
    folder, record, data = run
    old = tmp_path / "run"
    shutil.copytree(folder, old)
    content = torch.load(old / "checkpoints" / "best.ckpt", weights_only=True)
    spec = content["hyper_parameters"]["model"]
    contract = spec.pop("input")
    spec |= {"pixels": spec.pop("input_format"), "class_names": contract["class_names"], "skeleton": None}
    torch.save(content, old / "checkpoints" / "best.ckpt")
    config = yaml.safe_load((old / "config.yaml").read_text())
    config["pixels"] = config.pop("input_format")
    config["logger"]["pictures"] = config["logger"].pop("images")
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    assert evaluate(old / "checkpoints" / "best.ckpt", data, tmp_path / "a")["metrics"] == record["metrics"]
    assert not caplog.text
    again = evaluate(moved(old, tmp_path / "elsewhere"), data, tmp_path / "b")
    assert again["protocol"]["crop"]["size"] == 224
    assert caplog.text.count("an older release without its run's config.yaml: images are prepared at 224x224") == 1
