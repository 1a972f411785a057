"""Latency of a model in eager torch, torch.compile and ONNX Runtime, with one thread and with all processors."""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightseg import timing
from lightseg.errors import LightsegError, one_line
from lightseg.optional_imports import need, quiet
from lightseg.profile.cost import input_type, measure_latency
from lightseg.profile.machine import cpu_count

INPUT_NAME = "images"


def measure_runtimes(
    model: nn.Module, input_shape: Sequence[int], *, runs: int = 20, onnx: bool = True, compiled: bool = False
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Latency by runtime and number of threads.

    Args:
        model: a `lightseg.model.Model` on the CPU; it is not changed.
        input_shape: [B, C, H, W] of its images.
        runs: timed forward passes per runtime, fewer where they would take over 10 s.
        onnx: also time ONNX Runtime; the export takes some seconds.
        compiled: also time torch.compile, which takes a minute or more per number of threads.

    Returns:
        A list of dicts with `runtime` (eager, compiled, onnxruntime), `threads`, `latency_ms` (median),
        `latency_min_ms` and `runs`; and for runtimes that failed, name -> reason.
    """
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    counts = sorted({1, cpu_count()})
    runtimes = {"eager": _torch(model, input_shape, runs)}
    if compiled:
        runtimes["compiled"] = _torch(torch.compile(copy.deepcopy(model)), input_shape, runs)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="lightseg-profile-") as folder:
        if onnx:
            runtimes["onnxruntime"] = _OnnxRuntime(model, input_shape, runs, Path(folder) / "model.onnx")
        for name, measure in runtimes.items():
            try:
                rows += [{"runtime": name, "threads": count, **measure(count)} for count in counts]
            except Exception as error:  # compilers and exporters raise many kinds; the other runtimes still count
                skipped[name] = one_line(error)[:200]
    return rows, skipped


def _torch(model: nn.Module, input_shape: Sequence[int], runs: int) -> Any:
    def measure(threads: int) -> dict[str, Any]:
        latency = measure_latency(model, input_shape, threads=threads, runs=runs, dtype=input_type(model))
        return {key: latency[key] for key in ("latency_ms", "latency_min_ms", "runs")}

    return measure


class _OnnxRuntime:
    """Exports the model to ONNX with the first call. Each call times a session with a number of threads."""

    def __init__(self, model: nn.Module, input_shape: Sequence[int], runs: int, path: Path) -> None:
        self.model = model
        self.images = torch.zeros(tuple(input_shape), dtype=input_type(model)).numpy()
        self.runs = runs
        self.path = path

    def __call__(self, threads: int) -> dict[str, Any]:
        runtime = need("onnxruntime")
        if not self.path.exists():
            self._export()
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = threads
        session = runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        return timing.summary(timing.repeated(lambda: session.run(None, {INPUT_NAME: self.images}), self.runs))

    def _export(self) -> None:
        need("onnx")
        need("onnxscript")
        model = copy.deepcopy(self.model).eval()
        with quiet("torch.onnx", "onnx_ir", "onnxscript"), torch.no_grad():
            program = torch.onnx.export(
                model, (torch.from_numpy(self.images),), dynamo=True, verbose=False, input_names=[INPUT_NAME]
            )
        if program is None:
            raise LightsegError("the model cannot be exported to ONNX")
        program.save(str(self.path), external_data=False)
