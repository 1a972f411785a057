"""The `logger` group: no logger, one, or several at once (`logger=csv,mlflow`, or a list), and their packages."""

from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.config.files import group_of, read
from lightseg.config.paths import base_file
from lightseg.errors import LightsegError

PACKAGES = {  # logger -> the module that it needs, and what pip installs
    "wandb": ("wandb", "wandb"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "comet": ("comet_ml", "comet-ml"),
}
NONE = "none"


def logger_names(value: Any) -> list[str]:
    """`"csv,wandb"` or `["csv", "wandb"]` -> the names of the loggers."""
    names = [NONE] if value is None else value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list):
        names = [str(names)]
    names = [name.strip() if isinstance(name, str) else "" for name in names]
    if not names or not all(names):
        raise LightsegError(f"logger={value}: give a name, or several as in logger=csv,wandb; logger=none is no logger")
    return names


def logger_group(value: Any, of_task: DictConfig | None = None) -> DictConfig:
    """The values of `logger=value`. Those of several loggers are merged, and `name` is then their list.

    What a user's file changes is kept against the defaults of the other loggers.
    """
    parts = [group_of("logger", name, of_task) for name in logger_names(value)]
    if len(parts) == 1:
        return parts[0]
    kinds = [str(part.name) for part in parts]
    if repeated := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise LightsegError(f"logger={','.join(logger_names(value))}: {repeated} is chosen twice")
    if NONE in kinds:
        raise LightsegError(f"logger={','.join(logger_names(value))}: none is no logger: leave it or the others out")
    merged = OmegaConf.merge(*parts)
    for part in parts:
        defaults = read(base_file("logger", str(part.name)))
        merged.update({key: part[key] for key in defaults if part[key] != defaults[key]})
    merged.name = kinds
    return merged  # type: ignore[return-value]


def kinds_of(logger: DictConfig) -> list[str]:
    """The loggers of a composed group: wandb, csv, ..."""
    return [logger.name] if isinstance(logger.name, str) else list(logger.name)


def check_packages(logger: DictConfig) -> None:
    """Raise LightsegError where a logger's package is not installed."""
    for kind in kinds_of(logger):
        module, package = PACKAGES.get(kind, ("", ""))
        if module and find_spec(module) is None:
            raise LightsegError(
                f"logger={kind}: {package} is not installed: pip install {package}, or choose logger=csv"
            )
