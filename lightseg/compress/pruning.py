"""Magnitude pruning: the smallest weights of convolutions and linear layers become zero (Han et al., arXiv:1506.02626).

Biases and norm layers are never pruned: they are few. `sparsity` is the share of weights that become zero; SqueezeNet's
published compression (arXiv:1602.07360, table 2) keeps 33 %, a sparsity of 0.67.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lightseg.catalog.choices import PRUNING_SCOPES
from lightseg.errors import LightsegError, nearest

TINY = 1e-30  # of a layer without any weight but zeros
Masks = dict[str, Tensor]  # name of a weight -> bool of its shape, True where it is kept


def layer_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers by their name in the model's state."""
    return {
        f"{name}.weight" if name else "weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd | nn.Linear)
    }


@torch.no_grad()
def prune(model: nn.Module, sparsity: float, scope: str = "layer") -> Masks:
    """Set the smallest weights to zero, in place. A second time with the same values changes nothing.

    Args:
        sparsity: share of the weights that are zero afterwards, from 0 up to 1.
        scope: "layer", that share of each layer; "global", of all weights together, each measured by its layer's root
            mean square: the threshold of a layer is then one number times the deviation of its weights, as in section
            3 of arXiv:1506.02626, and layers of few large weights lose more.

    Returns:
        Which weights are kept, for `keep_pruned`.

    Raises:
        LightsegError: a sparsity that is no such share, an unknown scope, or a layer that would have no weight left.
    """
    check_pruning(sparsity, scope)
    weights = layer_weights(model)
    sizes = [weight.numel() for weight in weights.values()]
    magnitudes = [weight.abs().flatten() for weight in weights.values()]
    if scope == "layer":
        kept = [_largest(values, sparsity) for values in magnitudes]
    else:
        relative = [values / values.square().mean().sqrt().clamp_min(TINY) for values in magnitudes]
        kept = list(_largest(torch.cat(relative), sparsity).split(sizes)) if relative else []
    masks = {name: mask.view_as(weights[name]) for name, mask in zip(weights, kept, strict=True)}
    if empty := [name for name, mask in masks.items() if not mask.any()]:
        raise LightsegError(f"a sparsity of {sparsity} (scope {scope}) leaves nothing of {empty[0]}: give less")
    keep_pruned(model, masks)
    return masks


def check_pruning(sparsity: float, scope: str) -> None:
    if not 0 <= sparsity < 1:
        raise LightsegError(f"a sparsity is a share of the weights from 0 up to 1 (0.67 is usual), not {sparsity}")
    if scope not in PRUNING_SCOPES:
        raise LightsegError(f"no pruning scope '{scope}': {nearest(scope, PRUNING_SCOPES)}")


def _largest(magnitudes: Tensor, sparsity: float) -> Tensor:
    """bool [N]: all but the smallest `sparsity` of the values [N]; of equal ones the first go."""
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.argsort(stable=True)[: round(sparsity * len(magnitudes))]] = False
    return kept


@torch.no_grad()
def keep_pruned(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set to zero again what a training step has moved."""
    weights = layer_weights(model)
    for name, mask in masks.items():
        weights[name].mul_(mask)


@torch.no_grad()
def share_of_zeros(model: nn.Module) -> float:
    """Of the weights of convolutions and linear layers."""
    weights = layer_weights(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, sum(weight.numel() for weight in weights))
