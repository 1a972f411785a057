"""Checks of the group `prune`, before torch is imported."""

from omegaconf import DictConfig

from lightseg.catalog.choices import PRUNING_SCOPES
from lightseg.errors import LightsegError, nearest


def check_prune(config: DictConfig) -> None:
    prune = config.get("prune")
    if prune is None:  # older runs do not have this group
        return
    if not 0 <= prune.sparsity < 1:
        raise LightsegError(
            f"prune.sparsity={prune.sparsity}: give the fraction of weights that become zero, from 0 to below 1 (0.67)"
        )
    if prune.scope not in PRUNING_SCOPES:
        raise LightsegError(f"prune.scope={prune.scope}: {nearest(str(prune.scope), PRUNING_SCOPES)}")
