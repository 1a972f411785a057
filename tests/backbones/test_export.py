"""torch.export and ONNX with a dynamic batch give the maps of the net: tried on nets that have, between them, every
kind of layer of the catalog (tests/backbones/test_contract.py holds that)."""

import warnings

import onnxruntime
import pytest
import torch

from lightseg.backbones import create_backbone
from tests.backbones.kinds_of_layers import EXPORTED


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
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
