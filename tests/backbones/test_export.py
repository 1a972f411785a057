"""Every backbone goes through torch.export and through ONNX, with a dynamic batch, and gives the same maps there."""

import warnings

import pytest
import torch

from lightseg.backbones import create_backbone
from lightseg.catalog.backbones import CATALOG

onnxruntime = pytest.importorskip("onnxruntime")
FAST = ("shufflenetv1_g3_x0_5", "shufflenetv2_x0_5", "squeezenet1_1", "micronet_m0", "fbnetv2_f1")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in CATALOG]
)
def test_exported_maps_are_the_same(name, tmp_path):
    torch.manual_seed(0)
    pyramid = create_backbone(name).eval()
    for layer in pyramid.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # offsets, so that the maps of an untrained net do not die out
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(2, 6)  # and gains under 1, so that deep nets do not amplify rounding
    example, images = torch.randn(2, 3, 64, 96), torch.randn(3, 3, 64, 96)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        expected = pyramid(images)
        program = torch.export.export(pyramid, (example,), dynamic_shapes=dynamic)
        torch.onnx.export(program, (), tmp_path / "net.onnx", dynamo=True, verbose=False)
        exported = program.module()(images)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    onnx = [torch.from_numpy(m) for m in session.run(None, {session.get_inputs()[0].name: images.numpy()})]
    for a, b, c in zip(expected, exported, onnx, strict=True):
        scale = a.abs().max()
        assert a.isfinite().all() and scale > 1e-6
        torch.testing.assert_close(b / scale, a / scale)
        torch.testing.assert_close(c / scale, a / scale, rtol=0, atol=1e-3)
