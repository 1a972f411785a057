"""OpenVINO: a pair of files, `.xml` and `.bin`, run on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from lightseg.errors import LightsegError
from lightseg.export.metadata import INPUT, Metadata
from lightseg.optional_imports import need, quiet, refusal

SECTION = "lightseg"  # of the runtime information


def write(program: Any, path: Path, metadata: Metadata, opset: int | None = None) -> None:
    """Weights stay float32. Raises LightsegError where openvino is missing or has no rule for an operator."""
    openvino = need("openvino")
    if opset is not None:
        raise LightsegError("an opset is ONNX's: leave --opset out, or export to onnx")
    try:
        with quiet():
            model = openvino.convert_model(program, extension=_rules())
    except Exception as error:  # openvino's frontends raise errors of several kinds
        raise refusal("OpenVINO", error) from error
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, metadata.outputs, strict=True):
        output.get_tensor().set_names({name})
    save(model, path, metadata)


def _rules() -> list[Any]:
    """A conversion that OpenVINO's frontend lacks: the remainder of a size, which TensorFlow's padding needs."""
    frontend, operators = need("openvino.frontend.pytorch"), need("openvino.opset13")

    def remainder(context: Any) -> Any:
        return operators.floor_mod(context.get_input(0), context.get_input(1)).outputs()

    return [frontend.ConversionExtension("<built-in function mod>", remainder)]


def save(model: Any, path: Path, metadata: Metadata) -> None:
    """Write `path` (.xml) and the .bin beside it, with the metadata."""
    for key, text in metadata.to_strings().items():
        model.set_rt_info(text, [SECTION, key])
    need("openvino").save_model(model, str(path), compress_to_fp16=False)


class Runner:
    """A pair of files on the CPU, in the precision of the files. See `lightseg.export.runner.Runner`."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        openvino = need("openvino")
        # the default is bfloat16 where the CPU has it, which was not compared with the model
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            self.compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise LightsegError(f"{path} cannot be run by OpenVINO: {_last_line(error)}") from error
        present = [key for key in (*Metadata.KEYS, "skeleton") if model.has_rt_info([SECTION, key])]
        self.metadata = Metadata.from_strings({k: model.get_rt_info([SECTION, k]).astype(str) for k in present}, path)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self.compiled([images])
        return dict(zip(self.metadata.outputs, (np.array(outputs[i]) for i in range(len(outputs))), strict=True))


def _last_line(error: BaseException) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]
