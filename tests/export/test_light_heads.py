"""Files of MobileSeg and RTMCC: the outputs of the model, at every size that the file takes, from plain operators."""

import numpy as np
import onnx
import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.export.api import export
from lightseg.export.runner import open_exported
from lightseg.task_specs import task_spec

pytestmark = pytest.mark.slow
ENDINGS = {"onnx": "onnx", "openvino": "xml", "executorch": "pte"}


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("form", ENDINGS)
def test_mobileseg(checkpoint, tmp_path, form):
    if form == "executorch":
        pytest.importorskip("executorch")
    path = tmp_path / f"net.{ENDINGS[form]}"
    report = export(checkpoint("mobileseg"), path, format=form, size=(64, 96))
    assert report["comparison"]["equal"]
    model, runner = load_model(checkpoint("mobileseg")), open_exported(path)
    sizes = [(64, 96)] if form == "executorch" else [(64, 96), (101, 167), (333, 417)]
    for size in sizes:
        batch = images(1, 3, *size)
        with torch.no_grad():
            logits = model(torch.from_numpy(batch))
        full = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        assert full.std() > 0.01
        torch.testing.assert_close(torch.from_numpy(runner.run(batch)["logits"]), full, rtol=0, atol=1e-3)
    if form == "onnx":
        operators = {node.op_type for node in onnx.load(path).graph.node}
        assert not {name for name in operators if "Adaptive" in name or name in ("Loop", "If", "GatherND")}
        assert not any("auxiliary" in tensor.name for tensor in onnx.load(path).graph.initializer)


@pytest.mark.parametrize("form", ENDINGS)
def test_rtmcc(checkpoint, tmp_path, form):
    if form == "executorch":
        pytest.importorskip("executorch")
    path = tmp_path / f"net.{ENDINGS[form]}"
    report = export(checkpoint("rtmcc"), path, format=form, size=(64, 48))
    assert report["comparison"]["equal"] and list(report["comparison"]["outputs"]) == ["x", "y"]
    model, runner, batch = load_model(checkpoint("rtmcc")), open_exported(path), images(1, 3, 64, 48)
    with torch.no_grad():
        outputs = model(torch.from_numpy(batch))
        expected = model.head.decode(outputs, (64, 48))
    found = runner.run(batch)
    for axis in "xy":
        assert outputs[axis].std() > 0.01
        np.testing.assert_allclose(found[axis], outputs[axis], atol=1e-3, rtol=0)
    (one,) = task_spec("pose").decode(found, runner.metadata.decoding, (64, 48))
    np.testing.assert_allclose(one["keypoints"], expected["keypoints"][0], atol=1e-3)
    np.testing.assert_allclose(one["scores"], expected["scores"][0], atol=1e-3)
