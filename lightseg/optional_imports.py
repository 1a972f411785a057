"""Optional packages of the export formats, imported when they are needed. Errors name the missing extra."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lightseg.errors import LightsegError

EXTRAS = {  # package -> the extra of pyproject.toml that brings it
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "export",
    "nncf": "export",
    "executorch": "executorch",
    "tifffile": "train",
}


def need(module: str) -> Any:
    """Import a module. LightsegError where its package is not installed or does not work with this torch."""
    package = module.split(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise LightsegError(f"{package} is installed, but {error.name}, which it needs, is not") from error
        raise LightsegError(
            f"{package} is not installed: pip install 'lightseg[{EXTRAS[package]}]', or only {package}"
        ) from error
    except (ImportError, OSError) as error:  # a binary that was built for another torch
        raise LightsegError(f"{package} is installed and cannot be loaded: {str(error).splitlines()[0]}") from error


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Suppress warnings, and messages below ERROR of these loggers: exporters print pages about what the error says.

    OpenVINO also sets the root logger to ERROR. Its level is restored.
    """
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in ("", *loggers)}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


_MISSING = (  # messages of the formats for an operator without a counterpart
    r"No ONNX function found for <OpOverload\(op='([\w.:]+)'",
    r"No conversion rule found for operations: ([\w.:, <>-]+)",  # OpenVINO
    r"Operator torch\._ops\.([\w.]+) is not in Core ATen opset",  # ExecuTorch
    r"Missing out variants: \{([^}]+)\}",  # ExecuTorch
)


def refusal(form: str, error: BaseException) -> LightsegError:
    """The error for a model that a format cannot represent. It names the operators if the exporter does."""
    texts = []
    link: BaseException | None = error
    while link is not None:
        texts.append(str(link))
        link = link.__cause__ or link.__context__
    operators = [match for pattern in _MISSING for text in texts for match in re.findall(pattern, text)]
    if operators:
        names = ", ".join(dict.fromkeys(name.strip(" '") for match in operators for name in match.split(",")))
        return LightsegError(f"{form} has no operator for {names}: use another format, backbone or head")
    first = next((line.strip() for line in texts[-1].splitlines() if line.strip()), "")
    return LightsegError(f"the model cannot be written as {form} ({type(error).__name__}: {first[:200]})")
