"""ONNX: a file by torch's dynamo exporter, run by ONNX Runtime."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import LightsegError
from lightseg.export.metadata import INPUT, Metadata
from lightseg.optional_imports import need, quiet, refusal


def write(program: Any, path: Path, metadata: Metadata, opset: int | None = None) -> None:
    """program: torch.export's. opset: of ONNX's operators. None: the exporter's default.

    Raises:
        LightsegError: a package is missing, or an operator has no counterpart in ONNX, which is named.
    """
    need("onnx")
    need("onnxscript")
    import torch

    try:
        with quiet("torch.onnx", "onnx_ir", "onnxscript"):
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(metadata.outputs),
            )
        assert exported is not None
        exported.model.metadata_props.update(metadata.to_strings())
        exported.model.producer_name, exported.model.producer_version = "lightseg", metadata.version
        _name_axes(exported.model.graph)
        exported.save(str(path), external_data=False)
    except Exception as error:  # the exporter's errors, onnxscript's and onnx's have no common class
        raise refusal("ONNX", error) from error


def _name_axes(graph: Any) -> None:
    """Rename the exporter's symbols (such as s34) to batch, height and width, in every shape."""
    ir = need("onnx_ir")
    names = ("batch", "channels", "height", "width")
    symbols = {
        side.value: name for side, name in zip(graph.inputs[0].shape, names, strict=True) if hasattr(side, "value")
    }
    values = [*graph.inputs, *graph.outputs, *(value for node in graph for value in node.outputs)]
    for value in values:
        if value.shape is not None and symbols:
            value.shape = ir.Shape([_renamed(side, symbols) for side in value.shape])


def _renamed(side: Any, symbols: dict[str, str]) -> int | str | None:
    if isinstance(side, int):
        return side
    return None if side.value is None else re.sub(r"\w+", lambda match: symbols.get(match[0], match[0]), side.value)


class Runner:
    """A file in ONNX Runtime, on the CPU. See `lightseg.export.runner.Runner`."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors only
        if threads:
            options.intra_op_num_threads = threads
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions derive from Exception directly
            first = str(error).splitlines()[0]
            raise LightsegError(f"{path} cannot be run by ONNX Runtime: {first}") from error
        self.metadata = Metadata.from_strings(self.session.get_modelmeta().custom_metadata_map, path)
        self.names = [output.name for output in self.session.get_outputs()]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.names, self.session.run(None, {INPUT: images}), strict=True))
