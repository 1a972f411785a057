"""`profile`: the complete cost of a model for one image."""

from dataclasses import asdict
from typing import Any

import torch

from lightseg.errors import LightsegError, one_line
from lightseg.model import Model
from lightseg.profile.cost import count_madds_and_memory, count_params, deployed_form, input_type
from lightseg.profile.latency import measure_runtimes
from lightseg.profile.layers import count_modules, time_layers
from lightseg.profile.stages import sum_stages


def profile(
    model: Model, image_size: tuple[int, int], *, runs: int = 20, onnx: bool = True, compiled: bool = False
) -> dict[str, Any]:
    """The cost of a model in its deployed form on the CPU for one image, in total, by stage and by layer.

    Args:
        image_size: (height, width) in pixels.
        runs: timed forward passes per runtime; 0: nothing is timed, and the result does not depend on the machine.
        onnx: also time ONNX Runtime, where it is installed.
        compiled: also time torch.compile, which takes minutes.

    Returns:
        `model` (its spec), `image_size`, `params`, `madds` (for MicroNet also `madds_with_shift_max`; for a
        reparameterisable net `training_form` has `params` and `madds` of its training form), `activations`, `mac` (see
        `lightseg.profile.layers`), `peak_memory_mb` (weights and live tensors of one forward), `stages` and `layers`
        (lists that add up to these figures), `latency` and `skipped` (see `measure_runtimes`). `time_ms` of a layer is
        a median over forward passes in eager mode with `layer_threads` threads, torch's present setting.

    Raises:
        LightsegError: the model cannot process images of that size.
    """
    shape = (1, model.spec.get("in_chans", 3), *image_size)
    try:
        model, training_form = deployed_form(model, shape)
        modules = count_modules(model, shape, input_type(model))
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # the nets raise different errors
        name = model.spec.get("backbone")
        raise LightsegError(f"{name} cannot take images of {shape[2]}x{shape[3]}: {one_line(error)[:160]}") from error
    layers = [module for module in modules.values() if module.computes or module.params]
    shift_max = sum(layer.shift_max for layer in layers)
    madds, memory = count_madds_and_memory(model, shape, input_type(model))
    totals = {
        "model": {key: model.spec.get(key) for key in ("backbone", "task", "num_classes", "output_stride", "head")},
        "image_size": list(image_size),
        "params": count_params(model),
        "madds": madds,
        **({"madds_with_shift_max": madds + shift_max} if shift_max else {}),
        **training_form,
        "activations": sum(layer.activations for layer in layers),
        "mac": sum(layer.mac for layer in layers),
        "peak_memory_mb": round(memory / 2**20, 2),
    }
    latency: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    if runs:
        latency, skipped = measure_runtimes(model, shape, runs=runs, onnx=onnx, compiled=compiled)
        times = time_layers(model, torch.zeros(shape, dtype=input_type(model)), runs)
        for layer in layers:
            layer.time_ms = round(times.get(layer.name, 0.0), 4)
    return {
        **totals,
        "latency": latency,
        "skipped": skipped,
        "layer_threads": torch.get_num_threads(),
        "stages": sum_stages(model, modules, image_size[0]),
        "layers": [{key: value for key, value in asdict(layer).items() if key != "computes"} for layer in layers],
    }
