"""Parameters that no output depends on, such as those of timm's HRNet as a pyramid: DistributedDataParallel waits for
their gradients in vain."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


def unused_parameters(model: nn.Module, image_size: Sequence[int], in_chans: int = 3) -> list[str]:
    """Names of the trained parameters without a gradient in a training step of a `lightseg.model.Model`.

    Computed on the meta device, without memory for values. Empty if the net computes with values.

    Args:
        image_size: (height, width) of its images.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    shapes = {name: torch.empty_like(p, device="meta") for name, p in model.named_parameters()}
    shapes |= {name: torch.empty_like(buffer, device="meta") for name, buffer in model.named_buffers()}
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        wanted = [shapes[name].requires_grad_() for name in trained]
        images = torch.empty(2, in_chans, *image_size, dtype=getattr(model, "dtype", torch.uint8), device="meta")
        outputs = torch.func.functional_call(model, shapes, (images,), {"training_outputs": True})
        total = sum(output.sum() for output in tree_leaves(outputs) if output.requires_grad)
        gradients = torch.autograd.grad(total, wanted, allow_unused=True)  # type: ignore[arg-type]
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return []
    finally:
        for module, training in modes.items():
            module.training = training
    return [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
