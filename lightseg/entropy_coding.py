"""A tensor of few values as short streams of bytes, and back without a loss.

As arXiv:1510.00149 has it: of each value that is not zero, how many zeros stand before it (sections 2 and 4) and its
place in the tensor's table of values, both in Huffman codes (section 4). The coder is zlib's, of the standard library,
whose strategy Z_HUFFMAN_ONLY is Huffman coding and nothing else. Bytes of positions and codes of SqueezeNet 1.0 with
random weights, a third of them kept:

            entropy   Huffman   deflate      LZMA       bz2
    8 bits  522,313   527,055   557,416   539,040   568,952
    6 bits  436,580   441,569   476,003   454,303   474,303
"""

import zlib

import numpy as np

LONG = 255  # a byte of positions that means: so many zeros, and no value after them
MOST_VALUES = 256  # of a table: a code is a byte


def pack(data: bytes) -> bytes:
    """The shorter one of plain Huffman coding and deflate."""
    packed = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY):
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
        packed.append(coder.compress(data) + coder.flush())
    return min(packed, key=len)


def unpack(data: bytes, size: int) -> bytes:
    """`size` bytes: a stream that holds more is not read to its end. Raises ValueError where it is not that."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError("a stream is damaged") from error
    if len(found) != size:
        raise ValueError(f"a stream holds {'more' if len(found) > size else 'less'} than {size} bytes")
    return found


def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """float32 values [N] -> `positions` uint8, `codes` uint8 [M] and `table` float32 [K] of the M that are not zero;
    None where they are more than 256 different ones."""
    places = np.flatnonzero(values)
    table, codes = np.unique(values[places], return_inverse=True)
    if len(table) > MOST_VALUES:
        return None
    zeros = np.diff(places, prepend=-1) - 1
    positions = np.full(int((zeros // LONG + 1).sum()), LONG, np.uint8)
    positions[np.cumsum(zeros // LONG + 1) - 1] = zeros % LONG
    return positions, codes.astype(np.uint8), table


def join(positions: np.ndarray, codes: np.ndarray, table: np.ndarray, size: int) -> np.ndarray:
    """What `split` took apart, float32 [size]. Raises ValueError where the three do not fit each other."""
    is_value = positions != LONG
    places = np.cumsum(positions.astype(np.int64) + is_value)[is_value] - 1
    if len(places) != len(codes) or (len(codes) and (places[-1] >= size or codes.max() >= len(table))):
        raise ValueError("positions, codes and values do not fit each other")
    values = np.zeros(size, np.float32)
    values[places] = table[codes]
    return values
