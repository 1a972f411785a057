"""Options of a run that exclude each other or need a package: loggers, patience, kept checkpoints, measured values."""

from omegaconf import DictConfig, OmegaConf

from lightseg.config.dmasking import is_search
from lightseg.config.loggers import check_packages
from lightseg.errors import LightsegError


def check_run_options(config: DictConfig) -> None:
    """Raise LightsegError for a composed configuration whose options cannot work together."""
    check_packages(config.logger)
    if config.trainer.get("patience") is not None and config.trainer.get("limit_val_batches") == 0:
        raise LightsegError(
            "trainer.patience counts evaluations, and trainer.limit_val_batches=0 has none: leave one out"
        )
    if config.trainer.get("patience") is not None and is_search(config):
        raise LightsegError("trainer.patience is not for search=dmasking, whose choices need all epochs: leave it null")
    if config.mode == "train":
        _check_measured(config)


def _check_measured(config: DictConfig) -> None:
    """`optimizer.lr=find` and `data.batch_size=auto` train for a few steps, in one process, before the run."""
    asked = [
        key
        for key, word in (("optimizer.lr", "find"), ("data.batch_size", "auto"))
        if OmegaConf.select(config, key) == word
    ]
    if not asked:
        return
    key = f"{asked[0]}={OmegaConf.select(config, asked[0])}"
    search = config.search.name if "search" in config else "none"
    if is_search(config) or search == "netadapt":
        raise LightsegError(f"{key} is not for search={search}: give a number")
    if config.trainer.devices not in (1, "1") or config.trainer.get("num_nodes") not in (None, 1):
        raise LightsegError(f"{key} needs one process, trainer.devices=1: find the number there, then give it")
    if config.prune.sparsity:
        raise LightsegError(f"{key} measures the net without prune.sparsity={config.prune.sparsity}: give a number")
    if config.schedule.images_per_step or ("data.batch_size" in asked and config.schedule.image_size is not None):
        raise LightsegError(f"{key} measures images of one size: give a number with schedule.image_size")
