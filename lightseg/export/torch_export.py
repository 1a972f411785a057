"""The file of torch.export, `.pt2`: for AOTInductor, or for torch without lightseg."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightseg.errors import LightsegError
from lightseg.export.metadata import Metadata

EXTRA = "lightseg.json"  # the metadata, among the archive's extra files


def write(program: Any, path: Path, metadata: Metadata, opset: int | None = None) -> None:
    if opset is not None:
        raise LightsegError("an opset is ONNX's: leave --opset out, or export to onnx")
    torch.export.save(program, path, extra_files={EXTRA: json.dumps(metadata.to_strings())})


class Runner:
    """The file's program, interpreted by torch. Only for trusted files: loading can unpickle objects."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        extra = {EXTRA: ""}
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        self.module = torch.export.load(path, extra_files=extra).module()
        self.metadata = Metadata.from_strings(json.loads(extra[EXTRA] or "{}"), path)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = self.module(torch.from_numpy(images))
        return {name: output.numpy() for name, output in zip(self.metadata.outputs, outputs, strict=True)}
