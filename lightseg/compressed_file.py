"""The compressed file of a model: a header of plain values and byte streams. Reading it runs no code.

    8 bytes   MAGIC
    8 bytes   lengths of the header and of its packed form, uint32, little-endian, as are all numbers
    header    JSON: `model`, the arguments of `create_model`; `tensors`, an entry for each tensor of the model's state:
              `name`, `shape`, `dtype`, and `parts`, the packed lengths of its streams. A tensor with few values has
              the streams positions, codes and table (entropy_coding.py), with their lengths in `positions`, `values`
              and `table`. Any other tensor has a single stream of plain numbers
    streams   the parts in the order of the header
    4 bytes   CRC-32 of everything before

The format is lossless: `read_compressed` returns the numbers that `write_compressed` got. Tensors with at most 256
different values are coded if that is shorter, others are stored plain.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.atomic_io import write_bytes
from lightseg.entropy_coding import MAX_VALUES, join, pack, split, unpack
from lightseg.errors import LightsegError

MAGIC = b"lightDC1"
LENGTHS = struct.Struct("<II")
CHECKSUM = struct.Struct("<I")
MAX_HEADER = 1 << 26  # bytes
DTYPES = {  # dtype -> its form in the file
    "float32": "<f4", "float64": "<f8", "float16": "<f2", "int64": "<i8", "int32": "<i4", "uint8": "u1", "bool": "?",
}  # fmt: skip


@dataclass
class Compressed:
    """The content of a compressed file, before its tensors are unpacked.

    spec: the arguments of `create_model`.
    """

    path: Path
    spec: dict[str, Any]
    tensors: list[dict[str, Any]]
    streams: bytes

    def state(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the model.

        Names and shapes are compared with `expected`, the state dict of the model of `spec`, before anything is
        unpacked: a file cannot use more memory than that model.

        Raises:
            LightsegError: the file has the tensors of another net, or streams that do not fit.
        """
        shapes = {tensor["name"]: tuple(tensor["shape"]) for tensor in self.tensors}
        needed = {name: tuple(tensor.shape) for name, tensor in expected.items()}
        if shapes != needed:
            name = next(name for name in (*needed, *shapes) if shapes.get(name) != needed.get(name))
            raise LightsegError(
                f"{self.path} does not fit the model that it names: {name} is {shapes.get(name, 'missing')} there and "
                f"{needed.get(name, 'missing')} in the model"
            )
        state, start = {}, 0
        try:
            for tensor in self.tensors:
                parts = []
                for length in tensor["parts"]:
                    parts.append(self.streams[start : start + length])
                    start += length
                state[tensor["name"]] = _decode(tensor, parts)
            if start != len(self.streams):
                raise ValueError("its streams are longer than the header says")
        except (ValueError, KeyError, TypeError) as error:
            raise LightsegError(f"{self.path} is damaged ({error})") from error
        return state


def write_compressed(path: str | Path, spec: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, int]:
    """Write a model's state atomically.

    Returns:
        The bytes of `positions`, `codes`, `tables`, `plain` tensors and `header` (with checksum and lengths), which
        add up to the size of the file.

    Raises:
        LightsegError: the file cannot be written.
    """
    target = Path(path)
    coded = ("positions", "codes", "tables")
    sizes = dict.fromkeys((*coded, "plain"), 0)
    tensors: list[dict[str, Any]] = []
    streams: list[bytes] = []
    for name, tensor in state.items():
        entry, parts = _encode(tensor.detach().cpu().contiguous())
        tensors.append({"name": name, "shape": list(tensor.shape), **entry, "parts": [len(part) for part in parts]})
        streams += parts
        for kind, part in zip(coded if "values" in entry else ("plain",), parts, strict=True):
            sizes[kind] += len(part)
    plain = json.dumps({"model": dict(spec), "tensors": tensors}, separators=(",", ":")).encode()
    header = pack(plain)
    content = b"".join([MAGIC, LENGTHS.pack(len(plain), len(header)), header, *streams])
    content += CHECKSUM.pack(zlib.crc32(content))
    try:
        write_bytes(target, content)
    except OSError as error:
        raise LightsegError(f"{target} cannot be written ({error.strerror}): give another --output") from error
    return {**sizes, "header": len(content) - sum(sizes.values())}


def is_compressed(path: str | Path) -> bool:
    """Whether a file begins like one of `write_compressed`. False for a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_compressed(path: str | Path) -> Compressed:
    """Read a compressed file and verify its checksum.

    Raises:
        LightsegError: the file is damaged or not a compressed file.
    """
    path = Path(path)
    content = path.read_bytes()
    body, checksum = content[: -CHECKSUM.size], content[-CHECKSUM.size :]
    start = len(MAGIC) + LENGTHS.size
    if len(body) < start or CHECKSUM.pack(zlib.crc32(body)) != checksum:
        raise LightsegError(f"{path} is damaged: its checksum does not match its content; write it again")
    size, packed = LENGTHS.unpack(body[len(MAGIC) : start])
    try:
        if size > MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(unpack(body[start : start + packed], size))
        spec, tensors = header["model"], header["tensors"]
        well_formed = isinstance(spec, dict) and all(
            isinstance(tensor["name"], str)
            and tensor["dtype"] in DTYPES
            and all(type(number) is int and number >= 0 for number in (*tensor["shape"], *tensor["parts"]))
            for tensor in tensors
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LightsegError(f"{path} is damaged or was made by another version of lightseg ({error})") from error
    if not well_formed:
        raise LightsegError(f"{path} was made by another version of lightseg or another program")
    return Compressed(path, spec, tensors, body[start + packed :])


def _encode(tensor: Tensor) -> tuple[dict[str, Any], list[bytes]]:
    """The header's entry of a tensor without name and shape, and its packed streams."""
    array = tensor.numpy()
    dtype = str(array.dtype)
    coded = split(array.ravel()) if dtype == "float32" else None
    if coded is not None:
        positions, codes, table = coded
        if len(positions) + len(codes) + table.nbytes < array.nbytes:
            entry = {"values": len(codes), "positions": len(positions), "table": len(table)}
            streams = (positions, codes, table.astype("<f4"))
            return {"dtype": dtype, **entry}, [pack(stream.tobytes()) for stream in streams]
    return {"dtype": dtype}, [pack(array.astype(DTYPES[dtype]).tobytes())]


def _decode(entry: Mapping[str, Any], parts: list[bytes]) -> Tensor:
    size = prod(entry["shape"])
    if "values" not in entry:
        (plain,) = parts
        stored = np.dtype(DTYPES[entry["dtype"]])
        array = np.frombuffer(unpack(plain, size * stored.itemsize), stored).astype(entry["dtype"])
    else:
        positions, codes, table = parts
        if max(entry["positions"], entry["values"]) > size or entry["table"] > MAX_VALUES:
            raise ValueError("a tensor has more values than its shape")
        array = join(
            np.frombuffer(unpack(positions, entry["positions"]), np.uint8),
            np.frombuffer(unpack(codes, entry["values"]), np.uint8),
            np.frombuffer(unpack(table, 4 * entry["table"]), "<f4"),
            size,
        )
    return torch.from_numpy(array.reshape(entry["shape"]))
