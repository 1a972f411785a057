"""The channels and the values of the images of a run: `data.channels` and `data.range`."""

from typing import Any

from lightseg.data.io.pixels import PixelFormat
from lightseg.data.io.value_range import channels_of, format_of

from ..data import DataModule
from .resolve import Evaluated


def resolve_pixels(config: dict[str, Any], data: DataModule, evaluated: Evaluated | None) -> dict[str, Any]:
    """Give the data the form of its images: that of the checkpoint, or of the configuration and a sample of images.

    Returns:
        The configuration, with numbers in place of `data.range=auto`, which `replaced` keeps.

    Raises:
        LightsegError: other channels or another range than the checkpoint has, or images without a common type.
    """
    options = config["data"]
    if evaluated is not None:
        data.pixels = PixelFormat.of(evaluated.contract)
        return config
    (channels, bands), asked = channels_of(options), options.get("range")
    if asked is None:
        data.pixels = PixelFormat(channels, bands)
        return config
    split = "train" if config["mode"] == "train" else data.evaluation_split
    paths = data.open(split, None).paths
    data.pixels = format_of(paths, channels, bands, asked, f"{options['root']} ({split})")
    if asked != "auto":
        return config
    low, high = data.pixels.value_range
    print(f"data.range=auto: {low:g} to {high:g} ({data.pixels.dtype})", flush=True)
    replaced = {**config.get("replaced", {}), "data.range": "auto"}
    return {**config, "data": {**options, "range": [low, high]}, "replaced": replaced}
