"""torch.export and ONNX with a dynamic batch give the maps of the net: tried on nets that have, between them, every
kind of layer of the catalog."""

import warnings

import onnxruntime
import pytest
import torch
from torch import nn

from lightseg.backbones import create_backbone
from lightseg.catalog.backbones import CATALOG
from tests.marks import slow_except
from tests.nets import LIGHTEST

# A net with a layer that none of these has is refused by the last test: add it here.
EXPORTED = (
    *LIGHTEST.values(),
    *("mobilenetv3_small_minimal", "shufflenetv2_x0_5_megvii", "squeezenet1_0_complex_bypass", "xception71"),
)


@pytest.mark.parametrize("name", slow_except(["squeezenet1_1"], EXPORTED))
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


def kinds_of_layers(name: str) -> set[tuple[str, ...]]:
    """Each layer of the net as (module around it, kind, what of it decides how it is exported): all but its width."""
    with torch.device("meta"):
        pyramid = create_backbone(name)
    kinds = set()
    for path, layer in pyramid.named_modules():
        if any(True for _ in layer.children()):
            kinds.add((type(layer).__name__,))
            continue
        around = type(pyramid.get_submodule(path.rpartition(".")[0])).__name__
        settings: tuple[object, ...] = ()
        if isinstance(layer, nn.Conv2d):
            groups = "depthwise" if layer.groups == layer.in_channels else "grouped" if layer.groups > 1 else "dense"
            settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, groups, layer.bias is None)
        elif not isinstance(layer, nn.BatchNorm2d | nn.Linear):
            settings = (repr(layer),)
        kinds.add((around, type(layer).__name__, *map(str, settings)))
    return kinds


@pytest.mark.slow
def test_the_exported_nets_have_every_kind_of_layer():
    exported = set().union(*(kinds_of_layers(name) for name in EXPORTED))
    missing = {name: kinds for name in CATALOG if (kinds := kinds_of_layers(name) - exported)}
    assert missing == {}, "export one of these nets too"
