"""A model whose outputs come from an exported file, so that evaluation treats the file like a checkpoint."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.export.runner import Runner
from lightseg.model import Model


class ExportedModel(Model):
    """uint8 images in, the file's outputs out, in the form of the head's raw outputs. Its weights are only counted.

    Attributes:
        runner: see `lightseg.export.runner.open_exported`.
    """

    runner: Runner

    def forward(self, images: Tensor, *, training_outputs: bool = False) -> Any:
        """images: uint8 RGB [B, C, H, W] in 0..255. A file has no outputs for training.

        Raises:
            LightsegError: images of a size that the file does not take.
        """
        if images.is_meta:  # multiply-adds are counted on shapes
            return super().forward(images)
        metadata, size = self.runner.metadata, tuple(images.shape[-2:])
        if metadata.image_size is not None and size != tuple(metadata.image_size):
            expected, actual = ("x".join(map(str, pair)) for pair in (metadata.image_size, size))
            raise LightsegError(f"the file takes images of {expected}, not of {actual}: export at that size")
        pixels = images.cpu().contiguous().numpy()
        step = metadata.batch or len(pixels)
        parts = [self.runner.run(pixels[i : i + step]) for i in range(0, len(pixels), step)]
        return _raw({name: _joined(name, [part[name] for part in parts]) for name in parts[0]})


def use_exported(model: Model, runner: Runner) -> Model:
    """Make `runner` give the model's outputs, in place. Returns the model."""
    model.__class__ = ExportedModel
    model.runner = runner  # type: ignore[assignment]
    return model


def _joined(name: str, parts: list[np.ndarray]) -> Tensor:
    # default boxes have no batch axis
    return torch.from_numpy(parts[0] if name == "default_boxes" else np.concatenate(parts))


def _raw(outputs: dict[str, Tensor]) -> Any:
    """In the form of the head's outputs: a single output is a tensor, and class ids become one-hot logits."""
    if "class_ids" in outputs:
        return F.one_hot(outputs["class_ids"].long()).permute(0, 3, 1, 2).float()
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))
