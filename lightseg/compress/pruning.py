"""Magnitude pruning: the smallest weights of convolutions and linear layers become zero (Han et al., arXiv:1506.02626).

Biases and norm layers are not pruned. `sparsity` is the fraction of weights that become zero; SqueezeNet's published
compression (arXiv:1602.07360, table 2) keeps 33 %, a sparsity of 0.67.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lightseg.catalog.choices import PRUNING_SCOPES
from lightseg.errors import LightsegError, nearest

TINY = 1e-30  # instead of the root mean square of a layer with only zeros
Masks = dict[str, Tensor]  # name of a weight -> bool of its shape, True for what is kept


def layer_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers by their names in the state dict."""
    return {
        f"{name}.weight" if name else "weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd | nn.Linear)
    }


@torch.no_grad()
def prune(model: nn.Module, sparsity: float, scope: str = "layer") -> Masks:
    """Set the smallest weights to zero, in place. Idempotent for the same arguments.

    Args:
        sparsity: fraction of the weights that are zero afterwards, from 0 to below 1.
        scope: "layer": that fraction of each layer. "global": of all weights together, relative to the root mean square
            of their layer, so that the threshold of a layer is a global factor times the deviation of its weights
            (arXiv:1506.02626, section 3), and layers with few large weights lose more.

    Returns:
        Masks of the weights that are kept, for `keep_pruned`.

    Raises:
        LightsegError: a sparsity out of range, an unknown scope, or a layer that would have no weights left.
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
        raise LightsegError(f"sparsity {sparsity} (scope {scope}) leaves no weights of {empty[0]}: give a lower one")
    keep_pruned(model, masks)
    return masks


def check_pruning(sparsity: float, scope: str) -> None:
    if not 0 <= sparsity < 1:
        raise LightsegError(
            f"sparsity {sparsity}: must be a fraction of the weights, from 0 to below 1 (0.67 is usual)"
        )
    if scope not in PRUNING_SCOPES:
        raise LightsegError(f"no pruning scope '{scope}': {nearest(scope, PRUNING_SCOPES)}")


def _largest(magnitudes: Tensor, sparsity: float) -> Tensor:
    """bool [N], False for the fraction `sparsity` of smallest values [N]; of equal values the first are dropped."""
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.argsort(stable=True)[: round(sparsity * len(magnitudes))]] = False
    return kept


@torch.no_grad()
def keep_pruned(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set pruned weights to zero again after a training step."""
    weights = layer_weights(model)
    for name, mask in masks.items():
        weights[name].mul_(mask)


@torch.no_grad()
def share_of_zeros(model: nn.Module) -> float:
    """The fraction of zeros among the weights of convolutions and linear layers."""
    weights = layer_weights(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, sum(weight.numel() for weight in weights))
