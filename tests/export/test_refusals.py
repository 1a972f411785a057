"""What cannot be exported is one line, and nothing is written or run."""

import logging
import os
import sys

import cv2
import numpy as np
import onnx
import pytest
import torch

from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.export import onnx as onnx_format
from lightseg.export import openvino as openvino_format
from lightseg.export import verify
from lightseg.export.api import export
from lightseg.export.metadata import Metadata
from lightseg.export.runner import open_exported
from lightseg.input_contract import InputContract
from lightseg.optional_imports import need, refusal

SIZE = (64, 96)


def refused(*arguments, **options):
    with pytest.raises(LightsegError) as error:
        export(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_existing_file_stays(checkpoint, tmp_path):
    path = tmp_path / "net.pt2"
    path.write_text("precious")
    assert "exists: give another --output, or --overwrite" in refused(checkpoint("cls"), path, format="torch")
    assert path.read_text() == "precious"
    report = export(checkpoint("cls"), path, format="torch", size=SIZE, overwrite=True)
    assert report["comparison"]["equal"] and report["bytes"] == path.stat().st_size > 1e5


def test_a_file_that_answers_otherwise_is_not_kept(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "ATOL", -1.0)
    said = refused(checkpoint("cls"), tmp_path / "net.pt2", format="torch", size=SIZE)
    assert "outputs differ" in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("net.onnx", {"format": "onxn"}, "did you mean onnx"),
        ("net.pt", {"format": "onnx"}, "ends in .onnx"),
        ("net.onnx", {"int8": True}, "--calibrate FOLDER"),
        ("net.onnx", {"calibrate": "."}, "--calibrate is for --int8"),
        ("net.pt2", {"format": "torch", "int8": True, "calibrate": "."}, "int8 is for onnx and openvino"),
        ("net.onnx", {"argmax": True}, "argmax is for segmentation"),
        ("net.onnx", {"size": (0, 96)}, "give height and width"),
        ("net.onnx", {"verify": "nowhere"}, "nowhere: no such folder"),
        ("net.xml", {"format": "openvino", "opset": 18, "size": SIZE}, "an opset is ONNX's"),
    ],
)
def test_words_that_cannot_be(checkpoint, tmp_path, name, options, said):
    assert said in refused(checkpoint("cls"), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be created" in refused(checkpoint("cls"), tmp_path / "file" / "net.onnx")


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


def test_a_strangers_files_run_no_code(checkpoint, tmp_path, capsys):
    ran = tmp_path / "ran"
    torch.save({"hyper_parameters": Evil(f"touch {ran}")}, tmp_path / "evil.ckpt")
    assert main(["export", str(tmp_path / "evil.ckpt")]) == 2
    assert "can be read safely" in capsys.readouterr().err

    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    content = torch.load(checkpoint("cls"), weights_only=True)
    del content["hyper_parameters"]["model"]["input"]  # a release before 0.2: the run's config.yaml is read
    torch.save(content, folder / "best.ckpt")
    (tmp_path / "run" / "config.yaml").write_text(f"data: !!python/object/apply:os.system ['touch {ran}']\n")
    assert main(["export", str(folder / "best.ckpt")]) == 2
    assert "cannot be read safely" in capsys.readouterr().err
    assert not ran.exists() and [path.name for path in folder.iterdir()] == ["best.ckpt"]


def test_a_missing_package_names_its_extra(checkpoint, tmp_path, monkeypatch):
    for module in ("openvino", "executorch"):
        monkeypatch.setitem(sys.modules, module, None)
    said = refused(checkpoint("cls"), tmp_path / "net.xml", format="openvino", size=SIZE)
    assert said == "openvino is not installed: pip install 'lightseg[export]', or only openvino"
    said = refused(checkpoint("cls"), tmp_path / "net.pte", format="executorch", size=SIZE)
    assert said == "executorch is not installed: pip install 'lightseg[executorch]', or only executorch"
    assert not list(tmp_path.iterdir())


class Bessel(torch.nn.Module):
    def forward(self, images):
        return (torch.special.bessel_j1(images.float()).mean((2, 3)),)


@pytest.mark.parametrize(("module", "form"), [(onnx_format, "ONNX"), (openvino_format, "OpenVINO")])
def test_an_operator_that_a_format_lacks_is_named(tmp_path, module, form):
    program = torch.export.export(Bessel(), (torch.zeros(1, 3, 4, 4, dtype=torch.uint8),))
    metadata = Metadata("cls", InputContract(class_names=("a",)), (4, 4), (4, 4), 1, {"logits": ""})
    level = logging.getLogger().level
    with pytest.raises(LightsegError) as error:
        module.write(program, tmp_path / "net.file", metadata)
    assert str(error.value).startswith(f"{form} has no operator for ") and "bessel_j1" in str(error.value)
    assert not list(tmp_path.iterdir())
    assert logging.getLogger().level == level, "warnings of others are silenced from here on"


def test_what_executorch_says_of_an_operator_is_read_too():
    error = RuntimeError("Operator torch._ops.aten.special_bessel_j1.default is not in Core ATen opset (https...")
    assert "no operator for aten.special_bessel_j1.default" in str(refusal("ExecuTorch", error))
    assert "no operator for aten::a, aten::b:" in str(
        refusal("X", RuntimeError("Missing out variants: {'aten::a', 'aten::b'}"))
    )
    assert "(RuntimeError: first)" in str(refusal("X", RuntimeError("first\nsecond")))


def test_files_of_others(tmp_path):
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1])
    same = onnx.helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["images"], ["same"])], "g", [value], [same])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "theirs.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(LightsegError, match=r"theirs\.onnx was not exported by lightseg"):
        open_exported(tmp_path / "theirs.onnx")
    with pytest.raises(LightsegError, match=r"text\.onnx cannot be run"):
        open_exported(tmp_path / "text.onnx")
    with pytest.raises(LightsegError, match=r"none\.onnx: no such file"):
        open_exported(tmp_path / "none.onnx")
    with pytest.raises(LightsegError, match="no exported file that can be opened"):
        open_exported(tmp_path / "net.pt2")


def test_need_says_which_part_is_missing(tmp_path, monkeypatch):
    (tmp_path / "onnxscript.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "openvino.py").write_text("raise ImportError('libtorch.so: undefined symbol')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("onnxscript", "openvino"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(LightsegError, match="onnxscript is installed, but a_package_that_is_not_there"):
        need("onnxscript")
    with pytest.raises(LightsegError, match=r"openvino is installed and cannot be loaded: libtorch\.so"):
        need("openvino")


def test_the_report_says_what_was_measured(checkpoint, tmp_path, capsys):
    path = tmp_path / "net.pt2"
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), noise)
    words = ["--format", "torch", "--output", str(path), "--size", "64", "96", "--verify", str(tmp_path), "--static"]
    assert main(["export", str(checkpoint("cls")), *words, "--images", "2"]) == 0
    said = capsys.readouterr().out
    assert f"on 2 images ({tmp_path})" in said and "uint8 RGB [1, C, 64, 96]" in said and "ratio" in said
