"""The packages of the formats, imported when a format is asked for; a missing one is a line that names its extra."""

from importlib import import_module
from typing import Any

from lightseg.errors import LightsegError

EXTRAS = {  # package -> the extra of pyproject.toml that brings it
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "export",
    "nncf": "export",
    "executorch": "executorch",
}


def need(module: str) -> Any:
    """The module, imported. LightsegError where its package is not installed, or does not work with this torch."""
    package = module.split(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise LightsegError(f"{package} is installed, but {error.name}, which it needs, is not") from error
        raise LightsegError(
            f"{package} is not installed: pip install 'lightseg[{EXTRAS[package]}]', or {package} alone"
        ) from error
    except (ImportError, OSError) as error:  # a compiled part that was built for another torch
        raise LightsegError(f"{package} is installed and cannot be loaded: {str(error).splitlines()[0]}") from error
