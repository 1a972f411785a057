"""Lossless coding of a tensor with few different values as short byte streams.

As in Deep Compression (arXiv:1510.00149), each nonzero value is coded as the number of zeros before it (sections 2 and
4) and its index in the tensor's table of values, both Huffman coded (section 4). The coder is zlib of the standard
library, whose strategy Z_HUFFMAN_ONLY is plain Huffman coding. Bytes of positions and codes of SqueezeNet 1.0 with
random weights, a third of them kept:

            entropy   Huffman   deflate      LZMA       bz2
    8 bits  522,313   527,055   557,416   539,040   568,952
    6 bits  436,580   441,569   476,003   454,303   474,303
"""

import zlib

import numpy as np

LONG = 255  # a byte of positions for 255 zeros without a value after them
MAX_VALUES = 256  # of a table: a code is a byte


def pack(data: bytes) -> bytes:
    """The shorter of plain Huffman coding and deflate."""
    packed = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY):
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
        packed.append(coder.compress(data) + coder.flush())
    return min(packed, key=len)


def unpack(data: bytes, size: int) -> bytes:
    """Unpack `size` bytes. ValueError for a damaged stream or another size. A longer stream is not fully read."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError("a stream is damaged") from error
    if len(content) != size:
        raise ValueError(f"a stream has {'more' if len(content) > size else 'less'} than {size} bytes")
    return content


def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """float32 values [N] -> `positions` uint8, `codes` uint8 [M] and `table` float32 [K] of the M nonzero values.

    None for more than 256 different values.
    """
    indices = np.flatnonzero(values)
    table, codes = np.unique(values[indices], return_inverse=True)
    if len(table) > MAX_VALUES:
        return None
    zeros = np.diff(indices, prepend=-1) - 1
    positions = np.full(int((zeros // LONG + 1).sum()), LONG, np.uint8)
    positions[np.cumsum(zeros // LONG + 1) - 1] = zeros % LONG
    return positions, codes.astype(np.uint8), table


def join(positions: np.ndarray, codes: np.ndarray, table: np.ndarray, size: int) -> np.ndarray:
    """The inverse of `split`: float32 [size]. Raises ValueError where positions, codes and table do not fit."""
    is_value = positions != LONG
    indices = np.cumsum(positions.astype(np.int64) + is_value)[is_value] - 1
    if len(indices) != len(codes) or (len(codes) and (indices[-1] >= size or codes.max() >= len(table))):
        raise ValueError("positions, codes and values do not fit each other")
    values = np.zeros(size, np.float32)
    values[indices] = table[codes]
    return values
