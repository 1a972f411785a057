"""An exported file as something that can be called, whatever its format.

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
    """What each format's module has as `Runner(path, threads=None)`."""

    metadata: Metadata

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [B, C, H, W] -> the outputs by name."""
        ...


class Format(NamedTuple):
    """
    Attributes:
        ending: of its files.
        module: has `write(program, path, metadata, opset)` and `Runner`.
        symbols: whether a file can take any batch, and any size where the task does.
    """

    ending: str
    module: str
    symbols: bool = True


FORMATS = {
    "onnx": Format(".onnx", "lightseg.export.onnx"),
    "openvino": Format(".xml", "lightseg.export.openvino"),
    "executorch": Format(".pte", "lightseg.export.executorch", symbols=False),  # its memory is planned ahead
    "torch": Format(".pt2", "lightseg.export.torch_export"),
}


def format_module(name: str) -> Any:
    """The module of a format. LightsegError for a name that is none."""
    if name not in FORMATS:
        raise LightsegError(f"no format named '{name}': {nearest(name, FORMATS)}")
    return import_module(FORMATS[name].module)


def is_exported(path: str | Path) -> bool:
    """Whether its name is that of a file of `lightseg export`."""
    return Path(path).suffix in {form.ending for form in FORMATS.values()}


def open_exported(path: str | Path, *, threads: int | None = None) -> Runner:
    """A file written by `lightseg export`, ready to run on the CPU. `.pt2` files are not opened: theirs is a pickle,
    which a stranger's file could use to run code.

    Raises:
        LightsegError: no such file, an ending that is none of ours, not written by lightseg, a package missing.
    """
    path = Path(path)
    endings = {form.ending: name for name, form in FORMATS.items() if name != "torch"}
    if path.suffix not in endings:
        raise LightsegError(f"{path} is no exported file that can be opened: its name ends in {', '.join(endings)}")
    if not path.is_file():
        raise LightsegError(f"{path}: no such file")
    return format_module(endings[path.suffix]).Runner(path, threads=threads)
