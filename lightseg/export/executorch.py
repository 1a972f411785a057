"""ExecuTorch: a `.pte` file for phones and boards, with convolutions by XNNPACK. Batch and size are fixed.

The metadata are a method of the program, `metadata`, that returns a JSON object.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import LightsegError
from lightseg.export.metadata import Metadata
from lightseg.optional_imports import need, quiet, refusal


def write(program: Any, path: Path, metadata: Metadata, opset: int | None = None) -> None:
    """Raises LightsegError where executorch is missing or has no kernel for an operator, which is named."""
    exir = need("executorch.exir")
    xnnpack = need("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    if opset is not None:
        raise LightsegError("an opset is ONNX's: leave --opset out, or export to onnx")
    try:
        with quiet():
            edge = exir.to_edge_transform_and_lower(
                program,
                partitioner=[xnnpack.XnnpackPartitioner()],
                constant_methods={"metadata": json.dumps(metadata.to_strings())},
            )
            path.write_bytes(edge.to_executorch().buffer)
    except Exception as error:  # its passes raise errors of many kinds
        raise refusal("ExecuTorch", error) from error


class Runner:
    """A `.pte` in ExecuTorch's Python runtime. See `lightseg.export.runner.Runner`; `threads` is ignored."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        runtime = need("executorch.runtime")
        try:
            self.program = runtime.Runtime.get().load_program(path)
            self.method = self.program.load_method("forward")
            has_metadata = "metadata" in self.program.method_names
            text = self.program.load_method("metadata").execute([])[0] if has_metadata else "{}"
        except RuntimeError as error:
            raise LightsegError(f"{path} cannot be run by ExecuTorch: {str(error).splitlines()[0]}") from error
        self.metadata = Metadata.from_strings(json.loads(text), path)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        outputs = self.method.execute([torch.from_numpy(images)])
        return {name: output.numpy().copy() for name, output in zip(self.metadata.outputs, outputs, strict=True)}
