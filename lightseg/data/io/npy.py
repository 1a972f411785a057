"""NumPy's array files as images: [height, width] or [height, width, bands]."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from lightseg.errors import DataError

NPY = b"\x93NUMPY"
NPY_ENDING = ".npy"


def npy_header(file: BinaryIO, path: str | Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array file. DataError for one that is no image of numbers."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not readable as a NumPy array ({error}): save it again") from error
    if len(shape) not in (2, 3) or not all(shape):
        raise DataError(f"{path} holds an array of shape {list(shape)}: save [height, width, bands]")
    if len(shape) == 3 and shape[2] > 4 * max(shape[0], 4):
        raise DataError(f"{path} holds an array of shape {list(shape)}: save [height, width, bands], bands last")
    if dtype.kind not in "uif":
        raise DataError(f"{path} holds {dtype} values: save whole numbers or floats")
    return shape, dtype
