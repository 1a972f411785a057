"""A model whose answers come from an exported file: what evaluates a checkpoint evaluates the file."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightseg.errors import LightsegError
from lightseg.export.runner import Runner
from lightseg.model import Model


class ExportedModel(Model):
    """uint8 pixels in, the file's answers out, in the form of the head's raw outputs. Its own weights are only counted.

    Attributes:
        runner: see `lightseg.export.runner.open_exported`.
    """

    runner: Runner

    def forward(self, images: Tensor) -> Any:
        """images: uint8 RGB [B, C, H, W], 0..255.

        Raises:
            LightsegError: images of a size that the file does not take.
        """
        if images.is_meta:  # multiply-adds are counted on shapes alone
            return super().forward(images)
        metadata, size = self.runner.metadata, tuple(images.shape[-2:])
        if metadata.image_size is not None and size != tuple(metadata.image_size):
            own, asked = ("x".join(map(str, pair)) for pair in (metadata.image_size, size))
            raise LightsegError(f"the file takes images of {own}, the evaluation's have {asked}: export at that size")
        pixels = images.cpu().contiguous().numpy()
        step = metadata.batch or len(pixels)
        parts = [self.runner.run(pixels[i : i + step]) for i in range(0, len(pixels), step)]
        return _raw({name: _joined(name, [part[name] for part in parts]) for name in parts[0]})


def answer_from(model: Model, runner: Runner) -> Model:
    """Exchange in place what answers: `runner` in place of the model's own layers. Returns it."""
    model.__class__ = ExportedModel
    model.runner = runner  # type: ignore[assignment]
    return model


def _joined(name: str, parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(parts[0] if name == "default_boxes" else np.concatenate(parts))  # boxes have no batch


def _raw(outputs: dict[str, Tensor]) -> Any:
    """As the head gives them: a single output is a tensor, class ids are as good as logits of which one is 1."""
    if "class_ids" in outputs:
        return F.one_hot(outputs["class_ids"].long()).permute(0, 3, 1, 2).float()
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))
