"""The cost of a model by layer. The figures of the layers add up to those of the model.

A layer is a module that has weights or computes something outside of its children: a convolution, a batch norm, also a
residual block, which adds. An operation counts once, for the innermost module that runs it.

    madds        multiply-adds of convolutions, linear layers and matrix products, as in `count_madds`
    activations  elements of their outputs ("Designing Network Design Spaces", arXiv:2003.13678, section 3)
    mac          memory access cost: elements that they read and write, hw(c1 + c2) + k²c1c2/g for a convolution
                 (ShuffleNetV2, arXiv:1807.11164, section 2); hw is of the input for c1, of the output for c2
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lightseg import timing
from lightseg.backbones.shift_max import ShiftMax
from lightseg.profile.cost import evaluation, meta_forward

BIAS_FIRST = (torch.ops.aten.addmm, torch.ops.aten.baddbmm)  # their first operand is added, not multiplied


@dataclass
class Layer:
    """A module."""

    name: str  # its path; "" for the model itself
    kind: str  # its class
    computes: bool = False  # outside of its children
    output: list[int] | None = None  # shape of its last output
    params: int = 0
    madds: int = 0
    activations: int = 0
    mac: int = 0
    shift_max: int = 0  # products of Dynamic Shift-Max, which only MicroNet's published figures include
    time_ms: float = 0.0  # median outside of its children


def count_modules(
    module: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> dict[str, Layer]:
    """All modules by path: first those that compute, in the order of execution, then the others.

    Counted on the meta device, like `count_madds`: nothing is timed, and `module` is not changed. Weights that several
    modules share count for the first; the operations of a layer that runs twice count twice.

    Args:
        input_shape, dtype: as for `count_madds`.
    """
    layers = {name: Layer(name, type(child).__name__) for name, child in module.named_modules()}
    counter = _Counter(layers)
    seen: set[int] = set()
    for name, child in module.named_modules():
        for parameter in child.parameters(recurse=False):
            layers[name].params += 0 if id(parameter) in seen else parameter.numel()
            seen.add(id(parameter))

    def leave(name: str, child: nn.Module, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        layers[name].output = list(tensors[-1].shape) if tensors else None
        if isinstance(child, ShiftMax):
            layers[name].shift_max += tensors[0].numel() * child.madds
        counter.stack.pop()

    with _hooks(module, counter.stack.append, leave), counter:
        meta_forward(module, input_shape, dtype)
    return {name: layers[name] for name in dict.fromkeys([*counter.order, *layers])}


def time_layers(module: nn.Module, images: Tensor, runs: int = 10) -> dict[str, float]:
    """Median milliseconds that each module of a model on the CPU spends outside of its children, by path.

    Fewer than `runs` forward passes are timed where they would take over 10 s. Reading the clock adds some microseconds
    per layer; `measure_latency` times the model without this.
    """
    runs_ms: dict[str, list[float]] = {name: [] for name, _ in module.named_modules()}
    clock = _Clock()
    with evaluation(module), torch.inference_mode(), _hooks(module, clock.enter, clock.leave):
        for number in timing.rounds(runs):
            clock.spent.clear()
            module(images)
            if number:
                for name, seconds in clock.spent.items():
                    runs_ms[name].append(seconds * 1e3)
    return {name: statistics.median(times) for name, times in runs_ms.items() if times}


@contextmanager
def _hooks(
    module: nn.Module, enter: Callable[[str], None], leave: Callable[[str, nn.Module, Any], None]
) -> Iterator[None]:
    """Call `enter(path)` before and `leave(path, module, output)` after the forward pass of each module."""
    handles: list[Any] = []

    def add_hooks(name: str, child: nn.Module) -> None:
        handles.append(child.register_forward_pre_hook(lambda child, inputs: enter(name)))
        handles.append(child.register_forward_hook(lambda child, inputs, output: leave(name, child, output)))

    try:
        for name, child in module.named_modules():
            add_hooks(name, child)
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Counter(TorchDispatchMode):
    """Adds the cost of each operation to the module that is running, the last of `stack`."""

    def __init__(self, layers: dict[str, Layer]) -> None:
        super().__init__()
        self.layers = layers
        self.stack: list[str] = []
        self.order: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.stack:  # copies of the weights, made before the forward pass
            return result
        layer = self.layers[self.stack[-1]]
        if not layer.computes:
            layer.computes = True
            self.order.append(layer.name)
        packet = func._overloadpacket
        if packet in flop_registry:
            layer.madds += flop_registry[packet](*args, **(kwargs or {}), out_val=result) // 2
            output = next(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
            operands = args[1:3] if packet in BIAS_FIRST else args[:2] if "convolution" in str(packet) else args
            layer.activations += output
            layer.mac += output + sum(leaf.numel() for leaf in tree_leaves(operands) if isinstance(leaf, Tensor))
        return result


class _Clock:
    """Seconds spent in each module while it was the innermost running module."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.stack: list[str] = []
        self.since = 0.0

    def enter(self, name: str) -> None:
        self._read()
        self.stack.append(name)
        self.since = time.perf_counter()

    def leave(self, name: str, child: nn.Module, output: Any) -> None:
        self._read()
        self.stack.pop()
        self.since = time.perf_counter()

    def _read(self) -> None:
        if self.stack:
            innermost = self.stack[-1]
            self.spent[innermost] = self.spent.get(innermost, 0.0) + time.perf_counter() - self.since
