"""`data.range`: the type and the range of the values of a set's images, from a sample of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.io.bands import dtype_of, read_layout, read_pixels
from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import DataError

SAMPLE = 32  # images
PIXELS = 1 << 16  # values of an image that are looked at
TAIL = 0.1  # per cent of the values at each end that are beyond an automatic range: hot pixels
DARK, DARK_SAMPLE = 1 << 14, 6  # 16-bit values below it are dark when read as 0..65535; images that are looked at


def channels_of(options: Mapping[str, Any]) -> tuple[int, tuple[int, ...] | None]:
    """The number of channels of the `data` options, and the bands that they are; None: all."""
    value = options.get("channels") or 3
    return (len(value), tuple(value)) if isinstance(value, list) else (value, None)


def format_of(
    paths: Sequence[Path], channels: int, bands: tuple[int, ...] | None, value_range: Any, where: str
) -> PixelFormat:
    """The form of a set's images.

    Args:
        paths: of the images; an evenly spaced sample is read.
        value_range: [lowest, highest], "auto", or None for what is read as 8 bit.
        where: the set, for error texts.

    Raises:
        DataError: no image can be read, images are of different types, or an automatic range has no extent.
    """
    if value_range is None:
        return PixelFormat(channels, bands)
    dtypes: dict[str, Path] = {}
    chosen, first_error = [], None
    for path in sampled(paths, SAMPLE):
        try:
            dtypes.setdefault(dtype_of(read_layout(path).kind), path)
            chosen.append(path)
        except DataError as error:  # data.on_error says what becomes of it
            first_error = first_error or error
    if not chosen:
        raise first_error or DataError(f"{where}: no image to read data.range from: give data.range=[lowest, highest]")
    if len(dtypes) > 1:
        (first, a), (second, b) = list(dtypes.items())[:2]
        raise DataError(f"{a} is read as {first} and {b} as {second}: save all as one type for data.range")
    (dtype,) = dtypes
    if value_range != "auto":
        return PixelFormat(channels, bands, dtype, (float(value_range[0]), float(value_range[1])))
    if dtype == "uint8":
        return PixelFormat(channels, bands)
    form = PixelFormat(channels, bands, dtype, (0, 1))
    ends = np.percentile(np.concatenate([_values(path, form) for path in chosen]), [TAIL, 100 - TAIL], method="nearest")
    low, high = (float(end) for end in ends)
    if not low < high:
        raise DataError(f"{where}: data.range=auto sees the value {low:g} alone: give data.range=[lowest, highest]")
    return PixelFormat(channels, bands, dtype, (low, high))


def dark_note(paths: Sequence[Path]) -> str | None:
    """A line on 16-bit images that are read as 8 bit and are dark then; None where there are none."""
    highest = 0
    for path in sampled(paths, DARK_SAMPLE):
        try:
            layout = read_layout(path)
            if layout.kind == "uint16":
                pixels = read_pixels(path, PixelFormat(layout.bands, None, "uint16", (0, 65535)))
                highest = max(highest, int(pixels.max()))
        except DataError:
            continue
    if not 0 < highest < DARK:
        return None
    return (
        f"images of 16 bit hold values up to {highest} and are read as 0 to 65535, which makes them dark: set "
        f"data.range=[0, {highest}], or data.range=auto"
    )


def sampled(paths: Sequence[Path], count: int) -> list[Path]:
    """Up to `count` of the paths, at even intervals."""
    unique = list(dict.fromkeys(paths))
    count = min(count, len(unique))
    return [unique[i * len(unique) // count] for i in range(count)]


def _values(path: Path, form: PixelFormat) -> np.ndarray:
    values = read_pixels(path, form).ravel()
    return values[:: max(1, len(values) // PIXELS)]
