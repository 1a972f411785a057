"""`lightseg profile`: the same figures as a table, as JSON and as a plot; one line for errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightseg.catalog.backbones import COUNTED
from lightseg.cli import main
from lightseg.commands.profile import read_overrides
from lightseg.model import create_model
from lightseg.profile.api import profile
from lightseg.profile.latency import measure_runtimes
from lightseg.profile.model_args import requested_model
from lightseg.profile.report import profile_plot

SMALL = ["backbone=squeezenet1_1", "task=seg", "image_size=64x96", "num_classes=5"]


def json_report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["profile", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_totals_stages_and_layers(capsys, tmp_path):
    report = json_report(capsys, *SMALL, "--runs", "1", "--no-onnx", "--plot", str(tmp_path / "bars.png"))
    assert report["model"] == {
        "backbone": "squeezenet1_1", "task": "seg", "num_classes": 5, "output_stride": 16,
        "head": {"name": "lraspp"},
    }  # fmt: skip
    assert report["image_size"] == [64, 96] and report["skipped"] == {}
    for key in ("params", "madds", "activations", "mac"):
        assert report[key] == sum(layer[key] for layer in report["layers"]) == sum(s[key] for s in report["stages"]) > 0
    times = [sum(row["time_ms"] for row in report[part]) for part in ("layers", "stages")]
    assert times[0] == pytest.approx(times[1], rel=0.01) and times[0] > 0
    assert {row["runtime"] for row in report["latency"]} == {"eager"}
    assert report["latency"][0]["threads"] == 1 and report["latency"][0]["latency_ms"] > 0
    with Image.open(tmp_path / "bars.png") as plot:
        assert np.array_equal(np.asarray(plot), profile_plot(report))
    assert plot.height > 15 * sum(bool(layer["madds"]) for layer in report["layers"])


def test_the_cost_of_a_classifier_is_that_of_the_catalog(capsys):
    counted = json.loads(COUNTED.read_text(encoding="utf-8"))["micronet_m0"]
    report = json_report(capsys, "backbone=micronet_m0", "task=cls", "--runs", "0")
    assert (report["params"], report["madds"]) == (counted["params"], counted["madds"])
    assert report["madds_with_shift_max"] == counted["madds_shift_max"]
    assert report["image_size"] == [224, 224] and report["latency"] == []


def test_table_has_a_line_per_stage_and_layer(capsys):
    assert main(["profile", *SMALL, "--runs", "0", "--layers"]) == 0
    text = capsys.readouterr().out
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "one image of 64x96" in lines["squeezenet1_1, task=seg, 5 classes, one image of 64x96"]
    assert {"stride 2", "stride 4", "stride 8", "stride 16", "head.cbr", "whole"} <= set(lines)
    assert "Conv2d" in lines["backbone.net.features_0"]
    model = create_model("squeezenet1_1", "seg", 5)
    assert str(sum(p.numel() for p in model.parameters())) in lines["whole"]


def test_a_checkpoint_is_profiled(capsys, tmp_path):
    model = create_model("squeezenet1_1", "det", 3)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    report = json_report(capsys, str(path), "--runs", "0")
    assert report["image_size"] == [320, 320] and report["model"]["num_classes"] == 3
    assert report["params"] == sum(p.numel() for p in model.parameters())
    assert requested_model(str(path), {"image_size": (352, 288)})[1] == (352, 288)


def test_a_runtime_that_fails_does_not_stop_the_others(monkeypatch):
    from lightseg.errors import LightsegError

    def missing(name: str) -> None:
        raise LightsegError(f"{name} is not installed")

    monkeypatch.setattr("lightseg.profile.latency.need", missing)
    rows, skipped = measure_runtimes(create_model("squeezenet1_1", "cls", 3), (1, 3, 32, 32), runs=1)
    assert {row["runtime"] for row in rows} == {"eager"}
    assert skipped == {"onnxruntime": "onnxruntime is not installed"}


@pytest.mark.slow
def test_onnx_runtime_is_measured_and_the_model_not_changed():
    model = create_model("squeezenet1_1", "seg", 3).train()
    report = profile(model, (64, 64), runs=2)
    assert {row["runtime"] for row in report["latency"]} == {"eager", "onnxruntime"} and not report["skipped"]
    assert model.training


def test_overrides_are_read_as_in_train_py():
    assert read_overrides(["backbone=fbnet_a", "image_size=[256,512]", "head.name=raspp", "head.filters=64"]) == (
        None, {"backbone": "fbnet_a", "image_size": (256, 512), "head": {"name": "raspp", "filters": 64}},
    )  # fmt: skip
    assert read_overrides(["runs/best.ckpt", "image_size=320"]) == ("runs/best.ckpt", {"image_size": (320, 320)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a checkpoint, or backbone=NAME"),
        (["task=seg"], "give a checkpoint, or backbone=NAME"),
        (["backbne=fbnet_a"], "profile has no key 'backbne': did you mean backbone?"),
        (["backbone=fbnet_x"], "unknown backbone 'fbnet_x': did you mean"),
        (["backbone="], "backbone= has no value"),
        (["backbone=fbnet_a", "task=sge"], "no task named 'sge': did you mean seg"),
        (["backbone=fbnet_a", "image_size=0"], "image_size=0: give pixels"),
        (["backbone=fbnet_a", "image_size=12x"], "image_size=12x: give pixels"),
        (["backbone=fbnet_a", "image_size=99999"], "up to 16384"),
        (["backbone=fbnet_a", "image_size=[1,2,3]"], "image_size=[1,2,3]: give pixels"),
        (["backbone=fbnet_a", "num_classes=many"], "num_classes=many: give a whole number"),
        (["backbone=fbnet_a", "head.name=[raspp"], "head.name=[raspp cannot be read"),
        (["backbone=fbnet_a", "head.colour=3"], "head lraspp has no option 'colour'"),
        (["backbone=fbnet_a", "head.filters=many"], "head lraspp cannot be built with num_classes=19, filters=many"),
        (["backbone=fbnet_a", "output_stride=5"], "no output stride 5"),
        (["backbone=mixer_s32_224", "task=cls", "image_size=100"], "cannot take images of 100x100"),
        (["no/such/best.ckpt"], "no/such/best.ckpt: no such checkpoint"),
        (["a.ckpt", "b.ckpt"], "'b.ckpt' is a second checkpoint"),
        (["a.ckpt", "task=seg"], "task= is for a new model"),
        (["backbone=fbnet_a", "--picture", "bars.jpg"], "a name that ends in .png"),
        (["backbone=fbnet_a", "--plot", "no/such/folder/bars.png"], "cannot be written there"),
        (["backbone=fbnet_a", "--plot", "bars.png", "--runs", "0"], "give --runs 1 or more"),
        (["backbone=fbnet_a", "--runs", "-1"], "--runs must be 0 or more"),
        (["--guidelines", "backbone=fbnet_a"], "leave out 'backbone=fbnet_a'"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys):
    assert main(["profile", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert not Path("bars.png").exists()
