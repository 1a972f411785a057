"""The cost of a model: parameters, multiply-adds, memory and latency.

Multiply-adds (MAdds) are those of convolutions and linear layers, as the papers of lightweight nets count them; torch
counts two FLOPs for each. MAdds and memory are counted on the meta device: that does not depend on the machine, takes a
fraction of a second for any net and image size, and does not change the module.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lightseg import timing
from lightseg.backbones.shift_max import ShiftMax
from lightseg.profile.machine import processor


def count_params(module: nn.Module) -> int:
    """Number of parameters, trainable or frozen, shared ones once; buffers (statistics of batch norm) do not count."""
    return sum(p.numel() for p in module.parameters())


def count_madds(module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
    """Multiply-adds of convolutions, linear layers and matrix products in one forward pass in evaluation mode.

    Args:
        input_shape: [B, C, H, W] of the single input tensor.
        dtype: uint8 for a `lightseg.model.Model`.
    """
    with FlopCounterMode(display=False) as counter:
        meta_forward(module, input_shape, dtype)
    return counter.get_total_flops() // 2


def count_shift_max(module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
    """Multiply-adds of the products in Dynamic Shift-Max; 0 for nets other than MicroNet.

    MicroNet's published figures include them. `count_madds`, which has the same arguments, does not: multiplications by
    scalars are not counted in other nets either.
    """
    counts: list[int] = []

    def count(layer: Any, inputs: Any, output: Tensor) -> None:
        counts.append(output.numel() * layer.madds)

    handles = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, ShiftMax)]
    try:
        if handles:
            meta_forward(module, input_shape, dtype)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)


def peak_memory(module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
    """Peak bytes of weights, buffers, input and intermediate results in one forward pass without gradients.

    The overhead of the allocator and the workspace of convolutions, which depend on the machine, are not included.
    """
    with LiveBytes() as memory:
        meta_forward(module, input_shape, dtype)
    return memory.peak


def count_madds_and_memory(
    module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> tuple[int, int]:
    """`count_madds` and `peak_memory`, of a single forward pass on the meta device."""
    with FlopCounterMode(display=False) as counter, LiveBytes() as memory:  # memory inside: of whole operations
        meta_forward(module, input_shape, dtype)
    return counter.get_total_flops() // 2, memory.peak


def measure_latency(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    threads: int | None = None,
    runs: int = 20,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Latency of a forward pass in evaluation mode on the module's device.

    Args:
        threads: torch's CPU threads during the measurement; None: the present setting.

    Returns:
        `latency_ms` (median), `latency_min_ms`, and the measurement conditions: `runs` (fewer than the argument where
        they would take over 10 s), `threads`, `device`, `input`.
    """
    device = next(module.parameters()).device
    images = torch.zeros(*input_shape, dtype=dtype, device=device)
    before = torch.get_num_threads()

    def forward() -> None:
        module(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    try:
        torch.set_num_threads(threads or before)
        with evaluation(module), torch.inference_mode():
            times = timing.repeated(forward, runs)
    finally:
        torch.set_num_threads(before)
    return {
        **timing.summary(times),
        "threads": threads or before,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "input": f"{'x'.join(map(str, input_shape))} {str(dtype).removeprefix('torch.')}",
    }


def profile_model(
    module: nn.Module,
    image_size: tuple[int, int],
    in_chans: int | None = None,
    *,
    threads: int | None = None,
    runs: int = 20,
) -> dict[str, Any]:
    """The cost of a `lightseg.model.Model` in its deployed form for one image of `image_size` (height, width) pixels.

    in_chans: channels of the image. None: the model's.

    Returns:
        `params`, `madds` (for MicroNet also `madds_with_shift_max`), `peak_memory_mb`, `latency_ms`, and `measured`,
        the measurement conditions, on the CPU with the name of the `processor`. Where the training form differs (see
        `Model.deployed`), `training_form` has its `params` and `madds`.
    """
    contract: Any = getattr(module, "contract", None)
    channels: int = in_chans if in_chans is not None else getattr(contract, "channels", 3)
    shape = (1, channels, *image_size)
    module, training_form = deployed_form(module, shape)
    dtype = input_type(module)
    latency = measure_latency(module, shape, threads=threads, runs=runs, dtype=dtype)
    cpu = {"processor": processor()} if latency["device"] == "cpu" else {}
    madds, memory = count_madds_and_memory(module, shape, dtype)
    shift_max = count_shift_max(module, shape, dtype)
    return {
        "params": count_params(module),
        "madds": madds,
        **({"madds_with_shift_max": madds + shift_max} if shift_max else {}),
        **training_form,
        "peak_memory_mb": round(memory / 2**20, 2),
        "latency_ms": latency.pop("latency_ms"),
        "measured": {**latency, **cpu, "peak_memory": "weights and living tensors of one forward, without workspace"},
    }


def deployed_form(model: Any, shape: Sequence[int]) -> tuple[Any, dict[str, dict[str, int]]]:
    """The model's deployed form, and the cost of its training form as `training_form` where that is another."""
    deployed = model.deployed() if hasattr(model, "deployed") else model  # any module can be measured
    if deployed is model:
        return model, {}
    madds = count_madds(model, shape, input_type(model))
    return deployed, {"training_form": {"params": count_params(model), "madds": madds}}


def input_type(model: nn.Module) -> torch.dtype:
    """The type of the images that a `lightseg.model.Model` takes; uint8 for other modules."""
    dtype = getattr(model, "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.uint8


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every submodule is back in its own mode."""
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, training in modes.items():
            child.training = training


@torch.no_grad()
def meta_forward(module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype) -> None:
    """One forward pass on the meta device, where tensors have shapes but no values."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
    with evaluation(module):
        torch.func.functional_call(module, shapes, (torch.empty(*input_shape, dtype=dtype, device="meta"),))


class LiveBytes(TorchDispatchMode):
    """Peak bytes of the tensors that operations return: `with LiveBytes() as memory: ...`, then `memory.peak`.

    Inputs and buffers inside an operation do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in self.live:
                    self.live[id(storage)] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, id(storage), None)
        self.peak = max(self.peak, sum(self.live.values()))
        return result
