"""The parts of an export that need no format: boxes, windows, metadata, images, comparison."""

import cv2
import numpy as np
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional as F

from lightseg.data.io.pixels import PixelFormat
from lightseg.decoding.boxes import detections
from lightseg.errors import LightsegError
from lightseg.export.calibration_images import read_folder, render_streets
from lightseg.export.dynamic_shapes import AnySizeConv2dSame, make_any_size, window_matrices
from lightseg.export.metadata import Metadata
from lightseg.heads.ssdlite import SSDLite
from lightseg.input_contract import InputContract
from lightseg.model import create_model
from lightseg.task_specs import task_spec

METADATA = Metadata(
    task="det",
    contract=InputContract(size=(64, 96), keep_aspect=True, class_names=("car", "straße")),
    image_size=(64, 96),
    example_size=(64, 96),
    batch=None,
    outputs={"class_logits": "raw"},
    decoding={"nms_threshold": 0.5},
    spec={"backbone": "squeezenet1_1", "arch": None},
    version="0.0.9",
)


@pytest.mark.parametrize("options", [{}, {"score_threshold": 0.2, "topk_candidates": 7, "detections_per_image": 12}])
def test_numpy_boxes_are_the_heads(options):
    generator = torch.Generator().manual_seed(0)
    head = SSDLite([(8, 16), (8, 32)], 4, **options)
    corner = torch.rand(500, 2, generator=generator) * 60
    outputs = {
        "class_logits": torch.randn(2, 500, 5, generator=generator) * 2,
        "box_deltas": torch.randn(2, 500, 4, generator=generator),
        "default_boxes": torch.cat([corner, corner + 5 + torch.rand(500, 2, generator=generator) * 40], 1),
    }
    expected = head.decode(outputs, (64, 96))
    found = detections(**{key: value.numpy() for key, value in outputs.items()}, image_size=(64, 96), **options)
    for one, other in zip(found, expected, strict=True):
        assert len(other["scores"]) >= 12
        np.testing.assert_array_equal(one["labels"], other["labels"])
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-3)
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)


def test_no_box_is_an_empty_answer():
    logits = np.tile(np.array([9.0, -9.0], np.float32), (1, 3, 1))
    (found,) = detections(logits, np.zeros((1, 3, 4), np.float32), np.ones((3, 4), np.float32), image_size=(8, 8))
    assert found["boxes"].shape == (0, 4) and found["labels"].shape == found["scores"].shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (48, 49), (50, 68), (64, 69), (65, 128)])
def test_windows_as_matrices_are_pooling_and_resizing(size):
    maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    (rows, up), (columns, across) = window_matrices(maps, 0), window_matrices(maps, 1)
    pooled = F.avg_pool2d(maps, (min(49, size[0]), min(49, size[1])), (16, 20))
    n, m = pooled.shape[-2:]
    torch.testing.assert_close((rows @ maps @ columns.T)[:, :, :n, :m], pooled)
    expected = F.interpolate(pooled, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up @ (rows @ maps @ columns.T) @ across.T, expected)


@pytest.mark.parametrize("size", [(64, 128), (101, 417), (32, 32)])
def test_the_exchanged_context_is_the_same_function(size):
    torch.manual_seed(0)
    model = create_model("mobilenetv3_small_050", "seg", 3, head={"name": "mobileseg"}).eval()
    batch = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(batch)
        assert type(make_any_size(model).head.context).__name__ == "AnySizeContext"
        torch.testing.assert_close(model(batch), expected)


def test_the_exchanged_head_is_the_same_function():
    torch.manual_seed(0)
    model = create_model("squeezenet1_1", "seg", 3).eval()
    batch = torch.randint(0, 256, (1, 3, 200, 1100), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(batch)
        assert type(make_any_size(model).head).__name__ == "AnySizeLRASPP"
        torch.testing.assert_close(model(batch), expected)
    other = create_model("squeezenet1_1", "seg", 3, head={"name": "raspp"})
    assert type(make_any_size(other).head).__name__ == "RASPP"


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (2, 2), (3, 1), (3, 2), (3, 3), (5, 2), (7, 2)])
def test_same_padding_for_any_size_is_timms(kernel, stride, dilation):
    torch.manual_seed(0)
    layer = Conv2dSame(2, 3, kernel, stride, dilation=dilation)
    batches = [torch.rand(1, 2, *size) for size in [(7, 8), (9, 9), (10, 13), (33, 32), (12, 11)]]
    expected = [layer(batch) for batch in batches]
    assert type(make_any_size(nn.ModuleDict({"head": nn.Identity(), "conv": layer}))["conv"]) is AnySizeConv2dSame
    for batch, one in zip(batches, expected, strict=True):
        torch.testing.assert_close(layer(batch), one)


def test_openvino_takes_same_padding_of_any_size():
    import openvino

    from lightseg.export.openvino import _rules

    torch.manual_seed(0)
    layer = Conv2dSame(3, 4, 3, stride=2)
    expected = {size: layer(torch.ones(1, 3, *size)).detach() for size in [(64, 96), (65, 97), (33, 40)]}
    net = make_any_size(nn.ModuleDict({"head": nn.Identity(), "conv": layer}))["conv"]
    side = {"min": 33}
    shapes = {2: torch.export.Dim("height", **side), 3: torch.export.Dim("width", **side)}
    program = torch.export.export(nn.Sequential(net).eval(), (torch.rand(1, 3, 64, 96),), dynamic_shapes=(shapes,))
    compiled = openvino.compile_model(openvino.convert_model(program, extension=_rules()), "CPU")
    for size, one in expected.items():
        found = compiled(np.ones((1, 3, *size), np.float32))[0]
        np.testing.assert_allclose(found, one, atol=1e-2)  # where the CPU has bfloat16 it is used


def test_metadata_come_back_as_they_were():
    assert Metadata.from_strings(METADATA.to_strings(), "net.onnx") == METADATA
    assert all(isinstance(text, str) for text in METADATA.to_strings().values())


def test_metadata_that_are_not_ours():
    strings = METADATA.to_strings()
    with pytest.raises(LightsegError, match=r"net\.onnx was not exported by lightseg"):
        Metadata.from_strings({"task": "det"}, "net.onnx")
    with pytest.raises(LightsegError, match=r"lightseg 0\.0\.9, whose metadata has no decoding"):
        Metadata.from_strings({key: text for key, text in strings.items() if key != "decoding"}, "net.onnx")
    for key, text in (("input", "{}"), ("decoding", "[1"), ("spec", "3")):
        with pytest.raises(LightsegError, match=r"net\.onnx: its metadata is damaged"):
            Metadata.from_strings({**strings, key: text}, "net.onnx")


def test_images_of_a_folder(tmp_path):
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((10, 20, 3), 50 * index, np.uint8))
    found = read_folder(tmp_path, (8, 12), max_images=3)
    assert [one.shape for one in found] == [(1, 3, 8, 12)] * 3
    assert [int(one[0, 0, 0, 0]) for one in found] == [0, 50, 150]
    assert read_folder(tmp_path, None)[0].shape == (1, 3, 10, 20)
    with pytest.raises(LightsegError, match="no such folder"):
        read_folder(tmp_path / "none", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LightsegError, match="has no images"):
        read_folder(tmp_path / "empty", None)


def test_drawn_images_have_the_models_channels():
    for channels in (1, 3, 5):
        images = render_streets((40, 48), PixelFormat(channels), count=2)
        assert [image.shape for image in images] == [(1, channels, 40, 48)] * 2
    gray, color = (render_streets((40, 48), PixelFormat(channels), count=1)[0][0].astype(int) for channels in (1, 3))
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]  # ITU-R BT.601
    assert np.abs(gray[0] - luma).max() < 2


def test_agreement_counts_clear_boxes_once():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.2], [20, 20, 30, 30]], np.float32)
    one = [{"boxes": boxes, "labels": np.array([1, 1, 0]), "scores": np.array([0.9, 0.8, 0.2])}]
    other = [{"boxes": boxes[:1], "labels": np.array([1]), "scores": np.array([0.9])}]
    assert task_spec("det").agreement(one, one) == (2, 2)
    assert task_spec("det").agreement(one, other) == task_spec("det").agreement(other, one) == (1, 2)
