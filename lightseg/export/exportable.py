"""What of a model goes into a file: uint8 pixels in, and the outputs that its task's `TaskSpec.export` lists."""

from typing import Any

import torch
from torch import Tensor, nn

from lightseg.errors import LightsegError
from lightseg.export.dynamic_shapes import make_any_size
from lightseg.input_contract import Size
from lightseg.optional_imports import quiet
from lightseg.task_specs import TaskExport

MIN_SIDE = 33  # pixels of an image of any size: the map of stride 16 has three cells then, and none of stride 32 one


class Exportable(nn.Module):
    """A `lightseg.model.Model` whose outputs are a tuple of tensors, as `what` lists them."""

    def __init__(self, model: nn.Module, what: TaskExport) -> None:
        super().__init__()
        self.model = model
        self.what = what

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: uint8 RGB [B, C, H, W], 0..255."""
        return self.what.of_head(self.model(images), (images.shape[-2], images.shape[-1]))


def trace(
    model: nn.Module, what: TaskExport, size: Size, *, in_chans: int = 3, static: bool = False
) -> tuple[Any, bool]:
    """torch.export's program of the model, with a symbol for the batch, and where the task allows it for the size too.

    Some nets can have no symbol for the size (SqueezeNet: its poolings round up, so that each size is a case of its
    own): theirs is fixed, and only the batch is free.

    model: exchanged in place, where its head has to be, for one that takes any size.

    Returns:
        The program, and whether it takes any size.

    Raises:
        LightsegError: the size is too small, or the model cannot be traced.
    """
    if what.any_size and not static:
        if min(size) < MIN_SIDE:
            raise LightsegError(f"size {size[0]}x{size[1]} is too small: from {MIN_SIDE} on, or any with --static")
        make_any_size(model)
        side = {"min": MIN_SIDE}
        symbols = {0: _batch(), 2: torch.export.Dim("height", **side), 3: torch.export.Dim("width", **side)}
        try:
            with quiet("torch.fx.experimental.symbolic_shapes"):  # pages on each inequality that it cannot solve
                return _program(model, what, (2, in_chans, *size), symbols), True
        except Exception:  # torch's own errors for what its tracer cannot follow have no common class
            pass
    try:
        symbols = {} if static else {0: _batch()}
        return _program(model, what, (1 if static else 2, in_chans, *size), symbols), False
    except LightsegError:
        raise
    except Exception as error:
        why = next((line.strip(" -") for line in str(error).splitlines()[1:2]), "") or str(error)
        way_out = "" if static else "; --static fixes batch and size"
        raise LightsegError(f"the model cannot be traced ({type(error).__name__}: {why[:200]}){way_out}") from error


def _batch() -> Any:
    return torch.export.Dim("batch", min=1, max=4096)


def _program(model: nn.Module, what: TaskExport, shape: tuple[int, ...], symbols: dict[int, Any]) -> Any:
    example = torch.randint(0, 256, shape, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(Exportable(model, what).eval(), (example,), dynamic_shapes={"images": symbols})
