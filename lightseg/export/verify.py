"""Comparison of an exported file with its model: differences of the outputs, and latency."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lightseg import timing
from lightseg.export.runner import Runner
from lightseg.task_specs import task_spec

ATOL, RTOL = 1e-3, 1e-5  # of outputs in float32. RTOL is relative to the largest value of an output


def eager(model: nn.Module, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The outputs of a `lightseg.export.exportable.Exportable`, named as in the file."""
    with torch.inference_mode():
        return dict(zip(names, (output.numpy() for output in model(torch.from_numpy(images))), strict=True))


def compare(model: nn.Module, runner: Runner, batches: Iterable[np.ndarray]) -> dict[str, Any]:
    """Compare the outputs and predictions of model and file.

    Args:
        model: the `Exportable` in float32, in evaluation mode.
        batches: uint8 [B, C, H, W], of sizes that the file takes.

    Returns:
        `images`, their number; `outputs`, for each `max_difference`, `mean_difference` and `largest` (the largest
        eager value); `agreement`, the fraction of predictions that are the same (`TaskSpec.agreement`); `equal`,
        whether every difference is within rounding.
    """
    metadata = runner.metadata
    spec = task_spec(metadata.task)
    sums: dict[str, float] = dict.fromkeys(metadata.outputs, 0.0)
    counts, max_difference, largest = dict.fromkeys(sums, 0), dict.fromkeys(sums, 0.0), dict.fromkeys(sums, 0.0)
    agreeing, compared, images = 0.0, 0, 0
    for batch in batches:
        expected, actual = eager(model, batch, list(metadata.outputs)), runner.run(batch)
        for name, a in expected.items():
            difference = np.abs(a.astype(np.float32) - actual[name].astype(np.float32))
            max_difference[name] = max(max_difference[name], float(difference.max()))
            largest[name] = max(largest[name], float(np.abs(a).max()))
            sums[name] += float(difference.sum(dtype=np.float64))
            counts[name] += difference.size
        size = (batch.shape[-2], batch.shape[-1])
        decoded = (spec.decode(outputs, metadata.decoding, size) for outputs in (expected, actual))
        same, total = spec.agreement(*decoded)
        agreeing, compared, images = agreeing + same, compared + total, images + len(batch)
    agreement = agreeing / compared if compared else None
    within = all(max_difference[name] <= ATOL + RTOL * largest[name] for name in sums)
    return {
        "images": images,
        "outputs": {
            name: {
                "max_difference": max_difference[name],
                "mean_difference": sums[name] / max(1, counts[name]),
                "largest": largest[name],
            }
            for name in sums
        },
        "agreement": agreement,
        # class ids have no tolerance: where two logits tie, rounding decides
        "equal": bool(agreement is not None and agreement >= 0.999) if "class_ids" in sums else within,
    }


def latencies(model: nn.Module, runner: Runner, images: np.ndarray, rounds: int = 10) -> dict[str, Any]:
    """Median milliseconds of one batch, eager and exported in turn, with the same number of threads."""
    runs: dict[str, Callable[[], object]] = {
        "eager_ms": lambda: eager(model, images, list(runner.metadata.outputs)),
        "exported_ms": lambda: runner.run(images),
    }
    times = timing.interleaved(runs, rounds)
    medians = {name: round(statistics.median(all_times) * 1e3, 3) for name, all_times in times.items()}
    return {
        **medians,
        "ratio": round(medians["eager_ms"] / medians["exported_ms"], 3),
        "rounds": len(times["eager_ms"]),
        "threads": torch.get_num_threads(),
        "input": "x".join(map(str, images.shape)) + " uint8",
    }
