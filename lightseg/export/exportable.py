"""The part of a model that is exported: images in, and the outputs that its task's `TaskSpec.export` lists."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import LightsegError
from lightseg.export.dynamic_shapes import make_any_size
from lightseg.input_contract import Size
from lightseg.model import Model
from lightseg.optional_imports import quiet
from lightseg.task_specs import TaskExport

# pixels, for images of any size: maps of stride 16 then have a side of 3 cells, those of stride 32 one of 2
MIN_SIDE = 33


class Exportable(nn.Module):
    """A `lightseg.model.Model` whose outputs are a tuple of tensors, as `task_export` lists them."""

    def __init__(self, model: nn.Module, task_export: TaskExport) -> None:
        super().__init__()
        self.model = model
        self.task_export = task_export

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: [B, C, H, W] as the model takes them."""
        return self.task_export.of_head(self.model(images), (images.shape[-2], images.shape[-1]))


def trace(model: Model, task_export: TaskExport, size: Size, *, static: bool = False) -> tuple[Any, bool]:
    """torch.export's program of the model, with a symbol for the batch, and for the size where the task allows it.

    Some nets cannot have a symbol for the size (SqueezeNet: its poolings round up, so each size is a different graph).
    Their size is fixed, and only the batch is free.

    model: its layers are replaced in place where they need a fixed size.

    Returns:
        The program, and whether it takes any size.

    Raises:
        LightsegError: the size is too small, or the model cannot be traced.
    """
    if task_export.any_size and not static:
        if min(size) < MIN_SIDE:
            raise LightsegError(f"size {size[0]}x{size[1]} is too small: give {MIN_SIDE} or more, or --static")
        make_any_size(model)
        side = {"min": MIN_SIDE}
        symbols = {0: _batch(), 2: torch.export.Dim("height", **side), 3: torch.export.Dim("width", **side)}
        try:
            with quiet("torch.fx.experimental.symbolic_shapes"):  # it prints each inequality that it cannot solve
                return _program(model, task_export, 2, size, symbols), True
        except Exception:  # torch's tracer raises errors without a common class
            pass
    try:
        symbols = {} if static else {0: _batch()}
        return _program(model, task_export, 1 if static else 2, size, symbols), False
    except LightsegError:
        raise
    except Exception as error:
        reason = next((line.strip(" -") for line in str(error).splitlines()[1:2]), "") or str(error)
        hint = "" if static else "; --static fixes batch and size"
        raise LightsegError(f"the model cannot be traced ({type(error).__name__}: {reason[:200]}){hint}") from error


def _batch() -> Any:
    return torch.export.Dim("batch", min=1, max=4096)


def _program(model: Model, task_export: TaskExport, batch: int, size: Size, symbols: dict[int, Any]) -> Any:
    rgb = torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8).numpy()
    form = PixelFormat.of(model.contract)
    example = torch.from_numpy(np.stack([form.from_rgb(image) for image in rgb])).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        return torch.export.export(
            Exportable(model, task_export).eval(), (example,), dynamic_shapes={"images": symbols}
        )
