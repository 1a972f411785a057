"""Latency of a model as it runs in torch, compiled, and in ONNX Runtime, with one thread and with all."""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightseg import timing
from lightseg.errors import LightsegError, one_line
from lightseg.optional_imports import need, quiet
from lightseg.profile.cost import measure_latency
from lightseg.profile.machine import cpu_count

INPUT = "images"


def measure_runtimes(
    model: nn.Module, input_shape: Sequence[int], *, runs: int = 20, onnx: bool = True, compiled: bool = False
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """
    Args:
        model: a `lightseg.model.Model` on the CPU; it stays as it was.
        input_shape: of its uint8 images, [B, C, H, W].
        runs: timed forwards of each, fewer where those would take over 10 s.
        onnx: ONNX Runtime too, on the same outputs; writing the graph takes some seconds.
        compiled: torch.compile too, which takes a minute or more for each number of threads.

    Returns:
        One dict each of `runtime` (eager, compiled, onnxruntime), `threads`, `latency_ms` (median), `latency_min_ms`
        and `runs`; and why a runtime could not be measured, by its name.
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
            except Exception as error:  # compilers and exporters fail in ways of their own; the others still count
                skipped[name] = one_line(error)[:200]
    return rows, skipped


def _torch(model: nn.Module, input_shape: Sequence[int], runs: int) -> Any:
    def measure(threads: int) -> dict[str, Any]:
        found = measure_latency(model, input_shape, threads=threads, runs=runs, dtype=torch.uint8)
        return {key: found[key] for key in ("latency_ms", "latency_min_ms", "runs")}

    return measure


class _OnnxRuntime:
    """Writes the model as ONNX when it is first asked for, then times a session of so many threads."""

    def __init__(self, model: nn.Module, input_shape: Sequence[int], runs: int, path: Path) -> None:
        self.model = model
        self.images = np.zeros(tuple(input_shape), np.uint8)
        self.runs = runs
        self.path = path

    def __call__(self, threads: int) -> dict[str, Any]:
        runtime = need("onnxruntime")
        if not self.path.exists():
            self._write()
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        options.intra_op_num_threads = threads
        session = runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        return timing.summary(timing.repeated(lambda: session.run(None, {INPUT: self.images}), self.runs))

    def _write(self) -> None:
        need("onnx")
        need("onnxscript")
        model = copy.deepcopy(self.model).eval()
        with quiet("torch.onnx", "onnx_ir", "onnxscript"), torch.no_grad():
            program = torch.onnx.export(
                model, (torch.from_numpy(self.images),), dynamo=True, verbose=False, input_names=[INPUT]
            )
        if program is None:
            raise LightsegError("the model cannot be written as ONNX")
        program.save(str(self.path), external_data=False)
