"""Loading checkpoints as models, without Lightning. Only tensors and plain values are unpickled."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightseg.catalog.backbones import is_arch, is_hub
from lightseg.compressed_file import Compressed, is_compressed, read_compressed
from lightseg.errors import LightsegError
from lightseg.legacy import upgrade_spec
from lightseg.model import Model, create_model


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file, before its model is built.

    Attributes:
        path: of the file.
        spec: the arguments of `create_model`, with the input contract.
        weights: by the names of the model's state dict.
    """

    path: Path
    spec: dict[str, Any]
    weights: Mapping[str, Tensor] | Compressed

    def load_into(self, model: Model) -> None:
        """Load the weights into a model. Raises LightsegError if they do not fit."""
        state = self.weights.state(model.state_dict()) if isinstance(self.weights, Compressed) else self.weights
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            first = " ".join(str(error).splitlines()[1:2]).strip()
            raise LightsegError(f"{self.path} does not fit the model that it names: {first}") from error


def load_model(checkpoint: str | Path) -> Model:
    """The model of a run's checkpoint (`.../checkpoints/best.ckpt`) or of a file that `lightseg compress` wrote, in
    evaluation mode on the CPU.

    With an exponential moving average, the averaged weights are loaded. A file with anything but tensors and plain
    values raises an error; code in it is never run.

    Raises:
        LightsegError: the file does not exist, is not a checkpoint of lightseg, is damaged or contains code.
    """
    loaded = read_checkpoint(checkpoint)
    model = _rebuild(loaded.spec, loaded.path)
    loaded.load_into(model)
    return model.eval()


def read_checkpoint(checkpoint: str | Path) -> Checkpoint:
    """Spec and weights of a run's checkpoint or of a compressed file. Raises LightsegError as `load_model`."""
    path = Path(checkpoint)
    if not path.is_file():
        raise LightsegError(f"{path}: no such checkpoint: give <run folder>/checkpoints/best.ckpt")
    if is_compressed(path):
        compressed = read_compressed(path)
        return Checkpoint(path, upgrade_spec(compressed.spec, path), compressed)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # foreign and damaged files fail in many ways
        raise LightsegError(f"{path} is not a checkpoint that can be read safely ({type(error).__name__})") from error
    hyper_parameters = content.get("hyper_parameters") if isinstance(content, dict) else None
    spec = hyper_parameters.get("model") if isinstance(hyper_parameters, dict) else None
    if not isinstance(spec, dict) or not isinstance(content.get("state_dict"), dict):
        raise LightsegError(f"{path} is not a checkpoint of a lightseg run (it names no model)")
    prefix = "model."
    state = content["state_dict"].items()
    return Checkpoint(
        path,
        upgrade_spec(spec, path),
        {key.removeprefix(prefix): value for key, value in state if key.startswith(prefix)},
    )


def _rebuild(spec: Mapping[str, Any], path: Path) -> Model:
    """The model of a checkpoint's spec. The spec is not trusted: it can cause no file access and no download."""
    accepted = set(inspect.signature(create_model).parameters) - {"pretrained"}
    if unknown := sorted(str(key) for key in set(spec) - accepted):
        raise LightsegError(f"{path} was made by another version of lightseg: its model has '{unknown[0]}'")
    if missing := [key for key in ("backbone", "task", "num_classes") if key not in spec]:
        raise LightsegError(f"{path} was made by another version of lightseg: its model has no '{missing[0]}'")
    if is_arch(str(spec["backbone"])) and not spec.get("arch"):
        raise LightsegError(f"{path} names the file {spec['backbone']} and contains no architecture")
    if is_hub(str(spec["backbone"])):  # a run saves the architecture's name
        raise LightsegError(f"{path} names {spec['backbone']}, which would be downloaded: give a checkpoint of a run")
    try:
        return create_model(**spec)
    except LightsegError as error:
        raise LightsegError(f"{path}: {error}") from error
    except Exception as error:  # values of the wrong type, at any depth
        raise LightsegError(
            f"{path} names a model that cannot be built ({' '.join(str(error).split())[:150]})"
        ) from error
