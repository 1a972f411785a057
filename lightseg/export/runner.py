"""An exported file of any format, ready to run.

runner = open_exported("model.onnx")
outputs = runner.run(images)                    # numpy uint8 [B, C, H, W] -> {"logits": ...}
predictions = decode(outputs, runner.metadata, images.shape[-2:])
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lightseg.errors import LightsegError, nearest
from lightseg.export.metadata import Metadata


class Runner(Protocol):
    """An open file: `Runner(path, threads=None)` in each format's module."""

    metadata: Metadata

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [B, C, H, W] -> the outputs by name."""
        ...


class Format(NamedTuple):
    """A format.

    Attributes:
        ending: suffix of its files.
        module: with `write(program, path, metadata, opset)` and `Runner`.
        symbols: whether a file can take any batch, and images of any size where the task allows it.
        quantize: import path of a function (float file, target, calibration images, metadata) that writes the file in
            INT8; "": there is none.
        beside: suffixes of further files that it writes.
        trusted_only: whether opening a file can run code of whoever made it, so that `open_exported` refuses it.
    """

    ending: str
    module: str
    symbols: bool = True
    quantize: str = ""
    beside: tuple[str, ...] = ()
    trusted_only: bool = False


FORMATS = {
    "onnx": Format(".onnx", "lightseg.export.onnx", quantize="lightseg.export.quantize:quantize_onnx"),
    "openvino": Format(
        ".xml", "lightseg.export.openvino", quantize="lightseg.export.quantize:quantize_openvino", beside=(".bin",)
    ),
    "executorch": Format(".pte", "lightseg.export.executorch", symbols=False),  # its memory is allocated at export
    "torch": Format(".pt2", "lightseg.export.torch_export", trusted_only=True),  # it contains a pickle
}
INT8_FORMATS = tuple(name for name, form in FORMATS.items() if form.quantize)


def format_module(name: str) -> Any:
    """The module of a format. Raises LightsegError for an unknown name."""
    if name not in FORMATS:
        raise LightsegError(f"no format named '{name}': {nearest(name, FORMATS)}")
    return import_module(FORMATS[name].module)


def is_exported(path: str | Path) -> bool:
    """Whether the path has the suffix of a file of `lightseg export`."""
    return Path(path).suffix in {form.ending for form in FORMATS.values()}


def open_exported(path: str | Path, *, threads: int | None = None) -> Runner:
    """A file written by `lightseg export`, ready to run on the CPU.

    `.pt2` files are refused: they contain a pickle, which can run code of whoever made the file.

    Raises:
        LightsegError: no such file, another suffix, a file that lightseg did not write, or a missing package.
    """
    path = Path(path)
    endings = {form.ending: name for name, form in FORMATS.items() if not form.trusted_only}
    if path.suffix not in endings:
        raise LightsegError(f"{path} is no exported file that can be opened: its name ends in {', '.join(endings)}")
    if not path.is_file():
        raise LightsegError(f"{path}: no such file; give a file of lightseg export")
    return format_module(endings[path.suffix]).Runner(path, threads=threads)
