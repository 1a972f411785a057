"""`backbone=efficientnet` with `depth` and `width`, or with `phi`: the scaled net and its image size."""

from typing import Any

from omegaconf import DictConfig

from lightseg.catalog.scaling import compound, scaled_name
from lightseg.errors import LightsegError

FAMILY = "efficientnet"
KEYS = ("depth", "width", "phi")


def scale(config: DictConfig, overridden: dict[str, Any]) -> None:
    """Write the net of `depth`, `width` and `phi` into `backbone`, and set them to null, in place.

    Args:
        overridden: the dotted keys of the experiment and the command line. `data.augment.size` among them is kept.
    """
    values = {key: config.get(key) for key in KEYS if config.get(key) is not None}
    name = str(config.backbone)
    if name != FAMILY and not values:
        return
    if name != FAMILY:
        raise LightsegError(f"{next(iter(values))} scales backbone={FAMILY}, not backbone={name}: leave it out")
    if "phi" in values and len(values) > 1:
        raise LightsegError("phi sets depth and width both: give phi alone, or depth and width")
    if "phi" in values:
        _compound(config, values["phi"], overridden)
    else:
        config.backbone = scaled_name(values.get("width", 1.0), values.get("depth", 1.0))
    for key in values:
        config[key] = None


def _compound(config: DictConfig, phi: float, overridden: dict[str, Any]) -> None:
    width, depth, image_size = compound(phi)
    config.backbone = scaled_name(width, depth)
    square = isinstance(config.data.augment.get("size"), int)  # classification
    if square and "data.augment.size" not in overridden:
        config.data.augment.size = image_size
        if "data.eval.size" not in overridden:
            config.data.eval.size = image_size
