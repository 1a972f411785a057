"""Files of pose nets: ONNX Runtime gives the model's maps and bins, numpy makes the head's own keypoints of them."""

import numpy as np
import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.decoding.keypoints import heatmap_keypoints, simcc_keypoints
from lightseg.export.api import export
from lightseg.export.exportable import Exportable
from lightseg.export.runner import open_exported
from lightseg.heads.heatmap import HeatmapHead
from lightseg.heads.simcc import SimCCHead
from lightseg.task_specs import task_spec

SIZE = (64, 48)


def maps(count=3, points=4, height=16, width=12):
    """Peaks everywhere, on borders and in corners too, over a little noise; one map is empty, one below zero."""
    random = np.random.default_rng(0)
    places = random.uniform([0, 0], [width - 1, height - 1], (count, points, 2))
    places[0, :, 0], places[1, 0] = [0, width - 1, 0.4, width - 1.2], (0, 0)
    x, y = np.arange(width) - places[..., :1], np.arange(height) - places[..., 1:]
    found = np.exp(-(x[..., None, :] ** 2 + y[..., :, None] ** 2) / 8) + random.normal(0, 0.01, (1, 1, height, width))
    found[2, 2], found[2, 3] = 0, -1 - found[2, 3]
    return found.astype(np.float32)


@pytest.mark.parametrize(
    "options", [{}, {"dark": False}, {"codec": "msra"}, {"codec": "msra", "dark": True, "sigma": 1.5}]
)
@pytest.mark.parametrize("size", [(16, 12), (2, 12)])
def test_numpy_keypoints_of_heatmaps_are_the_heads(options, size):
    head = HeatmapHead([(8, 16), (8, 32)], 4, width=4, **options)
    what = task_spec("pose").export("heatmap")
    heatmaps = maps(height=size[0])
    image_size = (4 * size[0], 48)
    expected = head.decode(torch.from_numpy(heatmaps), image_size)
    names = {name.rpartition(".")[2]: getattr(head.codec, name.rpartition(".")[2]) for name in what.decoding}
    found = heatmap_keypoints(heatmaps, image_size=image_size, **names)
    for one, points, scores in zip(found, expected["keypoints"], expected["scores"], strict=True):
        np.testing.assert_allclose(one["keypoints"], points, atol=2e-3)
        np.testing.assert_allclose(one["scores"], scores, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"split": 1.5, "sigma": [3.0, 4.0]}])
def test_numpy_keypoints_of_simcc_are_the_heads(options):
    head = SimCCHead([(8, 32)], 4, image_size=SIZE, **options)
    generator = torch.Generator().manual_seed(0)
    bins = head.codec.bins(SIZE)
    outputs = {axis: torch.randn(3, 4, side, generator=generator) * 0.3 for axis, side in zip("xy", bins, strict=True)}
    expected = head.decode(outputs, SIZE)
    found = simcc_keypoints(
        *(outputs[axis].numpy() for axis in "xy"), image_size=SIZE, split=head.codec.split, sigma=head.codec.sigma
    )
    for one, points, scores in zip(found, expected["keypoints"], expected["scores"], strict=True):
        np.testing.assert_allclose(one["keypoints"], points, atol=1e-5)
        np.testing.assert_allclose(one["scores"], scores, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pose", "simple"])  # an ONNX file of SimCC: tests/inference
def test_onnx(checkpoint, tmp_path, kind):
    path = tmp_path / "net.onnx"
    report = export(checkpoint(kind), path, size=SIZE)
    assert report["comparison"]["equal"] and report["comparison"]["agreement"] == 1
    assert all(one["max_difference"] <= 1e-3 for one in report["comparison"]["outputs"].values())
    runner, model = open_exported(path), load_model(checkpoint(kind))
    metadata = runner.metadata
    assert metadata.batch is None
    assert metadata.image_size == (None if kind == "pose" else SIZE)  # deconvolutions are cut to one size
    assert metadata.contract == model.contract and metadata.contract.skeleton["edges"] == [[0, 1], [1, 2]]
    assert list(metadata.outputs) == ["heatmaps"]
    for shape in [(1, 3, *SIZE), (3, 3, *SIZE), *([(2, 3, 101, 83)] if kind == "pose" else [])]:
        batch = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            outputs = model(torch.from_numpy(batch))
            expected = model.head.decode(outputs, shape[-2:])
            raw = Exportable(model, task_spec("pose").export(model.spec["head"]["name"]))(torch.from_numpy(batch))
        found = runner.run(batch)
        for one, tensor in zip(found.values(), raw, strict=True):
            assert tensor.std() > 0.01
            np.testing.assert_allclose(one, tensor, atol=1e-3, rtol=0)
        for one, points in zip(
            task_spec("pose").decode(found, metadata.decoding, shape[-2:]), expected["keypoints"], strict=True
        ):
            assert (np.abs(one["keypoints"] - points.numpy()).max(1) < 0.1).mean() >= 0.8


@pytest.mark.slow
def test_openvino(checkpoint, tmp_path):
    report = export(checkpoint("simcc"), tmp_path / "net.xml", format="openvino", size=SIZE)
    assert report["comparison"]["equal"]
    metadata = open_exported(tmp_path / "net.xml").metadata
    assert metadata.contract == load_model(checkpoint("simcc")).contract and metadata.contract.oks_nms == 0.9


def test_agreement_counts_clear_keypoints():
    points = np.array([[0, 0], [5, 5], [9, 9]], np.float32)
    one = [{"keypoints": points, "scores": np.array([0.9, 0.8, 0.1])}]
    moved = points + np.array([[0.5, 0], [0, 3], [7, 7]])
    other = [{"keypoints": moved, "scores": np.array([0.9, 0.1, 0.1])}]
    assert task_spec("pose").agreement(one, one) == (2, 2)
    assert task_spec("pose").agreement(one, other) == task_spec("pose").agreement(other, one) == (1, 2)
