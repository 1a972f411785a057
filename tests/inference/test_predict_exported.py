"""An exported file in the checkpoint's place. The fast tests run ONNX graphs written by hand, of known answers."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.export.metadata import Metadata
from lightseg.inference.api import predict
from lightseg.input_contract import InputContract
from tests.inference.conftest import EVALUATION, save_checkpoint


def write_onnx(path: Path, metadata: Metadata | None, *, ids: bool = False, pool: bool = False) -> Path:
    """A graph whose logits are the red, green and blue of a pixel (`pool`: their means over the image)."""
    sides = (
        [None, 3, None, None] if metadata is None or metadata.image_size is None else [None, 3, *metadata.image_size]
    )
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weight")
    nodes = [helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT)]
    name, kind, shape = "logits", TensorProto.FLOAT, [None, 3, None, None]
    if pool:
        nodes.append(helper.make_node("ReduceMean", ["pixels"], ["logits"], axes=[2, 3], keepdims=0))
        shape = [None, 3]
    else:
        nodes.append(helper.make_node("Conv", ["pixels", "weight"], ["logits"]))
    if ids:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["class_ids"], axis=1, keepdims=0))
        name, kind, shape = "class_ids", TensorProto.INT64, [None, None, None]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, sides)],
        [helper.make_tensor_value_info(name, kind, shape)],
        [] if pool else [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in ({} if metadata is None else metadata.to_strings()).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, str(path))
    return path


def describe(task: str, size: tuple[int, int] | None = None, batch: int | None = None, **more: object) -> Metadata:
    names = ["red", "green", "blue"]
    contract = InputContract(class_names=tuple(names), **more)  # type: ignore[arg-type]
    return Metadata(task, contract, size, size or (64, 64), batch, {"logits": "colors"})


@pytest.fixture
def stripes(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Red, green and blue stripes, 30 x 20 px each, and their class ids."""
    ids = np.repeat(np.arange(3, dtype=np.uint8), 20)[None].repeat(30, 0)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.eye(3, dtype=np.uint8)[ids] * 250).save(tmp_path / "in" / "stripes.png")
    return tmp_path / "in", ids


@pytest.mark.parametrize(("size", "ids"), [(None, False), (None, True), ((60, 120), False), ((60, 120), True)])
def test_masks_of_a_graph_that_tells_colours(stripes, tmp_path, size, ids):
    folder, expected = stripes
    file = write_onnx(tmp_path / "model.onnx", describe("seg", size, 1), ids=ids)
    assert main(["predict", str(file), str(folder), "--output", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "masks" / "stripes.png") as mask:
        np.testing.assert_array_equal(np.array(mask), expected)
    legend = json.loads((tmp_path / "out" / "legend.json").read_text())
    assert [row["name"] for row in legend] == ["red", "green", "blue"]


def test_classes_of_a_graph_that_tells_colours(stripes, tmp_path):
    evaluation = {"crop_pct": 1.0, "interpolation": "bilinear"}
    file = write_onnx(tmp_path / "model.onnx", describe("cls", (16, 16), **evaluation), pool=True)
    assert predict(file, stripes[0], output=tmp_path / "out").done == 1
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert entry["class"] == "green" and len(entry["top"]) == 3  # the middle stripe


def test_files_that_do_not_fit_are_one_line(stripes, tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    files = [
        (tmp_path / "none.onnx", {}, "no such file"),
        (tmp_path / "noise.onnx", {}, "cannot be run by ONNX Runtime"),
        (write_onnx(tmp_path / "foreign.onnx", None), {}, "was not exported by lightseg"),
        (write_onnx(tmp_path / "depth.onnx", describe("depth")), {}, "no task named 'depth'"),
        (write_onnx(tmp_path / "fixed.onnx", describe("seg", (64, 64))), {"size": [32, 64]}, "of 64x64 .* alone"),
        (
            write_onnx(tmp_path / "cls.onnx", describe("cls")),
            {},
            "its input contract has no size, crop_pct and interpolation",
        ),
        (tmp_path / "model.pt2", {}, "no exported file that can be opened"),
    ]
    for file, more, said in files:
        with pytest.raises(LightsegError, match=said):
            predict(file, stripes[0], output=tmp_path / "out", **more)
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_export_answers_as_its_checkpoint(pixels, tmp_path):
    from lightseg.export.api import export

    # the scores of the shallow net lie so close that rounding decides which boxes NMS keeps
    checkpoint = save_checkpoint(tmp_path / "det", "det", EVALUATION["det"], backbone="mobilenetv3_small_050")

    Image.fromarray(pixels).save(tmp_path / "a.png")
    export(checkpoint, tmp_path / "model.onnx", format="onnx")
    for name, model in (("ours", checkpoint), ("onnx", tmp_path / "model.onnx")):
        assert predict(model, tmp_path / "a.png", output=tmp_path / name, overlays=False).done
    ours, theirs = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("ours", "onnx"))
    assert len(ours) == len(theirs) > 50
    for one, other in zip(ours[:20], theirs[:20], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
