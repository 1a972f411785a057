"""ONNX files of every task: ONNX Runtime gives what the model gives, for batches and sizes other than the example's."""

import json

import cv2
import numpy as np
import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.export.api import export
from lightseg.export.calibration_images import render_streets
from lightseg.export.runner import open_exported
from lightseg.task_specs import task_spec

SIZE = (64, 96)


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def raw(model, batch):
    """What the head itself gives, and what it decodes."""
    with torch.no_grad():
        outputs = model(torch.from_numpy(batch))
        return outputs, model.head.decode(outputs, batch.shape[-2:])


def check(path, report, *, exact=1e-3):
    assert json.loads((path.parent / f"{path.name}.json").read_text()) == report
    assert report["comparison"]["equal"] and report["comparison"]["images"] == 6
    assert all(one["max_difference"] <= exact for one in report["comparison"]["outputs"].values())
    assert min(report["latency"]["eager_ms"], report["latency"]["exported_ms"]) > 0
    assert [part.name for part in path.parent.iterdir() if part.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tiny", "efficientnet_lite0"])  # the latter pads as TensorFlow does
def test_seg_of_any_size(checkpoint, tmp_path, backbone, capsys):
    path = tmp_path / "net.onnx"
    assert main(["export", str(checkpoint("seg", backbone)), "--output", str(path), "--size", "64", "96"]) == 0
    assert "same predictions: 100.00 %" in capsys.readouterr().out
    check(path, json.loads((tmp_path / "net.onnx.json").read_text()))
    model, runner = load_model(checkpoint("seg", backbone)), open_exported(path)
    for shape in ((1, 3, 64, 96), (3, 3, 101, 167), (1, 3, 832, 100), (2, 3, 40, 850)):
        batch = images(*shape)
        logits, ids = raw(model, batch)
        found = runner.run(batch)
        full = torch.nn.functional.interpolate(logits, shape[-2:], mode="bilinear", align_corners=False)
        assert full.std() > 0.1
        torch.testing.assert_close(torch.from_numpy(found["logits"]), full, rtol=0, atol=1e-3)
        assert (task_spec("seg").decode(found, {}, shape[-2:]) == ids.numpy()).mean() > 0.999
    metadata = runner.metadata
    assert (metadata.image_size, metadata.example_size, metadata.batch) == (None, SIZE, None)
    assert metadata.spec["backbone"] == backbone and metadata.contract.class_names[-1] == "sky"


def test_cls(checkpoint, tmp_path):
    path = tmp_path / "net.onnx"
    check(path, export(checkpoint("linear"), path, size=SIZE))
    runner, batch = open_exported(path), images(5, 3, *SIZE)
    logits, probabilities = raw(load_model(checkpoint("linear")), batch)
    found = runner.run(batch)
    assert logits.std() > 1e-3
    np.testing.assert_allclose(found["logits"], logits, atol=1e-3, rtol=0)
    np.testing.assert_allclose(task_spec("cls").decode(found, {}, SIZE), probabilities, atol=1e-4)
    assert runner.metadata.image_size == SIZE and runner.metadata.contract.interpolation


@pytest.mark.slow
def test_det(checkpoint, tmp_path):
    path = tmp_path / "net.onnx"
    report = export(checkpoint("det"), path, size=SIZE)
    check(path, report)
    assert report["comparison"]["agreement"] > 0.99  # random boxes lie thick: rounding decides between a few
    runner, batch = open_exported(path), images(3, 3, *SIZE)
    outputs, boxes = raw(load_model(checkpoint("det")), batch)
    found = runner.run(batch)
    assert list(found) == ["class_logits", "box_deltas", "default_boxes"]
    for name, expected in outputs.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-3, rtol=0)
    for one, expected in zip(task_spec("det").decode(found, runner.metadata.decoding, SIZE), boxes, strict=True):
        assert min(len(one["scores"]), len(expected["scores"])) > 20
        np.testing.assert_allclose(one["scores"][:5], expected["scores"][:5], atol=1e-4)
        np.testing.assert_allclose(one["boxes"][:5], expected["boxes"][:5], atol=1e-2)
    assert runner.metadata.decoding["nms_threshold"] == 0.55


@pytest.mark.slow
def test_a_net_without_a_symbol_for_its_size_keeps_a_free_batch(checkpoint, tmp_path):
    path = tmp_path / "net.onnx"
    check(path, export(checkpoint("seg", "squeezenet1_1"), path, size=SIZE, argmax=True))
    runner, batch = open_exported(path), images(3, 3, *SIZE)
    assert runner.metadata.image_size == SIZE and runner.metadata.batch is None
    _, ids = raw(load_model(checkpoint("seg", "squeezenet1_1")), batch)
    found = runner.run(batch)["class_ids"]
    assert found.dtype == np.uint8 and (found == ids.numpy()).mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize(("form", "kind"), [("onnx", "det"), ("openvino", "seg")])
def test_int8_is_smaller_and_answers_alike(checkpoint, tmp_path, form, kind):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, image in enumerate(render_streets(SIZE, count=8)):
        cv2.imwrite(str(folder / f"{seed}.png"), image[0].transpose(1, 2, 0)[..., ::-1])
    path = tmp_path / ("net.onnx" if form == "onnx" else "net.xml")
    report = export(
        checkpoint(kind, "mobilenetv3_small_050"), path, format=form, size=SIZE, int8=True, calibrate=folder
    )
    assert report["float"]["comparison"]["equal"] and not report["comparison"]["equal"]
    assert report["bytes"] < 0.6 * report["float"]["bytes"]
    for one in report["comparison"]["outputs"].values():
        assert one["mean_difference"] <= 0.1 * one["largest"]
    runner = open_exported(path)
    assert runner.metadata.task == kind and len(runner.run(images(2, 3, *SIZE))) == len(runner.metadata.outputs)
