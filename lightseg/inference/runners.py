"""What answers: the model of a checkpoint, or an exported file, behind one call.

runner(images uint8 [B, 3, h, w], sizes [(H, W), ...]) -> a prediction a picture
    seg: class ids [H, W] at the picture's size. det: `boxes` [n, 4] xyxy in pixels of the input, `labels` [n],
    `scores` [n], best first. cls: probabilities [C]. pose: `keypoints` [K, 2] in pixels of the input and `scores` [K].
    All NumPy arrays.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError
from lightseg.export.decode import decode as decode_exported
from lightseg.export.runner import is_exported, open_exported
from lightseg.inference.poses import Skeleton, read_skeleton
from lightseg.inference.preprocess import Size
from lightseg.run_config import class_colours, evaluation_options, read_run_config


class Runner(Protocol):
    """
    Attributes:
        evaluation: how evaluation made a picture fit, see `lightseg.run_config.evaluation_options`.
        colours: an RGB colour a class where the data set has its own.
        skeleton: of pose, `edges`, `pairs` and `sigmas`; else empty.
        fixed_size: the only (height, width) that it takes, None: any. most_images: the largest batch, None: any.
    """

    task: str
    class_names: list[str]
    evaluation: dict[str, Any]
    colours: list[list[int]] | None
    skeleton: Skeleton
    fixed_size: Size | None
    most_images: int | None

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]: ...


class CheckpointRunner:
    """The model of a run's checkpoint, with its run's evaluation settings. Raises LightsegError as `load_model`."""

    most_images: int | None = None

    def __init__(self, checkpoint: str | Path, device: str | None = None) -> None:
        """device: a torch device, "cuda:1"; None: the first GPU, or the CPU where there is none."""
        model = load_model(checkpoint)
        spec = model.spec
        config = read_run_config(checkpoint)
        if spec["in_chans"] != 3:
            raise LightsegError(f"{checkpoint} takes images of {spec['in_chans']} channels; pictures have 3")
        self.task = spec["task"]
        self.class_names = [str(name) for name in spec["class_names"] or range(spec["num_classes"])]
        self.evaluation = evaluation_options(spec, config)
        self.colours = class_colours(config, len(self.class_names))
        self.skeleton: Skeleton = {}
        if self.task == "pose":
            self.skeleton = read_skeleton(spec["skeleton"], len(self.class_names), checkpoint)
        self.fixed_size: Size | None = getattr(model.head, "image_size", None)  # simcc's
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            raise LightsegError(f"device={device}: {' '.join(str(error).split())[:150]}") from error

    @torch.inference_mode()
    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]:
        outputs = self.model(images.to(self.device))
        head: Any = self.model.head
        if self.task == "seg":
            # the logits straight to the picture's own size, one at a time
            masks = (head.decode(outputs[i : i + 1], size)[0] for i, size in enumerate(sizes))
            return [mask.to(torch.int16).cpu().numpy() for mask in masks]
        decoded = head.decode(outputs, (int(images.shape[-2]), int(images.shape[-1])))
        if self.task == "det":
            return [{key: value.cpu().numpy() for key, value in one.items()} for one in decoded]
        if self.task == "pose":
            found = {key: value.cpu().numpy() for key, value in decoded.items()}
            return [{key: value[i] for key, value in found.items()} for i in range(len(images))]
        return list(decoded.cpu().numpy())


class ExportedRunner:
    """A file of `lightseg export`, on the CPU. Raises LightsegError as `lightseg.export.runner.open_exported`."""

    colours: list[list[int]] | None = None

    def __init__(self, path: str | Path) -> None:
        self.exported = open_exported(path)
        self.metadata = self.exported.metadata
        if self.metadata.in_chans != 3:
            raise LightsegError(f"{path} takes images of {self.metadata.in_chans} channels; pictures have 3")
        self.task, self.class_names = self.metadata.task, self.metadata.class_names
        self.evaluation = self.metadata.evaluation
        self.skeleton: Skeleton = {}
        if self.task == "pose":
            self.skeleton = read_skeleton(self.metadata.skeleton, len(self.class_names), path)
        self.fixed_size, self.most_images = self.metadata.image_size, self.metadata.batch

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]:
        size = (int(images.shape[-2]), int(images.shape[-1]))
        outputs = self.exported.run(images.contiguous().numpy())
        if self.task == "seg" and "logits" in outputs:
            logits = torch.from_numpy(outputs["logits"])
            return [
                decode_exported({"logits": _upsampled(logits[i : i + 1], to)}, self.metadata, to)[0]
                for i, to in enumerate(sizes)
            ]
        decoded = decode_exported(outputs, self.metadata, size)
        if self.task == "seg":  # class ids
            return [_nearest(ids, to) for ids, to in zip(decoded, sizes, strict=True)]
        return list(decoded)


def _upsampled(logits: Tensor, size: Size) -> np.ndarray:
    """Logits [1, C, h, w] at `size`."""
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits.numpy()


def _nearest(ids: np.ndarray, size: Size) -> np.ndarray:
    """Class ids [h, w] at `size`: those of the pixels whose centres are nearest."""
    if ids.shape == tuple(size):
        return ids
    return cv2.resize(ids.astype(np.uint16), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def open_runner(path: str | Path, device: str | None = None) -> Runner:
    """The runner of a checkpoint or, by its ending, of an exported file. Raises LightsegError for what cannot run."""
    if is_exported(path):
        return ExportedRunner(path)
    return CheckpointRunner(path, device)
