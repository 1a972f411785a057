"""The network that predicts: the model of a checkpoint, or an exported file, behind the same call.

runner(images [B, C, h, w], sizes [(H, W), ...]) -> a prediction per image, as NumPy arrays. The task's
module in lightseg/task_specs lists their keys and shapes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError
from lightseg.export.runner import is_exported, open_exported
from lightseg.input_contract import InputContract, Size
from lightseg.task_specs import TaskSpec, task_spec


class Runner(Protocol):
    """A network, ready to predict.

    Attributes:
        task: the task's spec.
        contract: the input contract, with class names.
        fixed_size: the only (height, width) that it takes. None: any size.
        max_images: the largest batch. None: any.
        nms_threshold: of a detector, see `TileRunner`.
    """

    task: TaskSpec
    contract: InputContract
    fixed_size: Size | None
    max_images: int | None
    nms_threshold: float

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]: ...

    def scores(self, images: Tensor, sizes: Sequence[Size]) -> list[Tensor]: ...


class CheckpointRunner:
    """The model of a run's checkpoint. Raises LightsegError as `load_model`."""

    max_images: int | None = None

    def __init__(self, checkpoint: str | Path, device: str | None = None) -> None:
        """device: a torch device such as "cuda:1". None: the first GPU, or the CPU where there is none."""
        model = load_model(checkpoint).deployed()
        self.task = task_spec(model.spec["task"])
        self.contract = self.task.complete(model.contract, model.spec["num_classes"], checkpoint)
        self.fixed_size: Size | None = getattr(model.head, "image_size", None) or model.backbone.fixed_size  # SimCC's
        self.nms_threshold = float(getattr(model.head, "nms_threshold", 0.5))
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            raise LightsegError(f"device={device}: {' '.join(str(error).split())[:150]}") from error

    @torch.inference_mode()
    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]:
        outputs = self.model(images.to(self.device))
        return self.task.predict(self.model.head, outputs, (images.shape[-2], images.shape[-1]), sizes)

    @torch.inference_mode()
    def scores(self, images: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Probabilities [classes, height, width] of a segmentation network, at each size."""
        task: Any = self.task
        return task.scores(self.model(images.to(self.device)), sizes)


class ExportedRunner:
    """A file of `lightseg export`, on the CPU. Raises LightsegError as `lightseg.export.runner.open_exported`."""

    def __init__(self, path: str | Path) -> None:
        self.exported = open_exported(path)
        metadata = self.exported.metadata
        self.task, self.contract, self.decoding = task_spec(metadata.task), metadata.contract, metadata.decoding
        self.fixed_size, self.max_images = metadata.image_size, metadata.batch
        self.nms_threshold = float(metadata.decoding.get("nms_threshold", 0.5))

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]:
        outputs = self.exported.run(images.contiguous().numpy())
        return self.task.predict_exported(outputs, self.decoding, (images.shape[-2], images.shape[-1]), sizes)

    def scores(self, images: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """As of a checkpoint; a file of class ids gives 0 and 1."""
        outputs = self.exported.run(images.contiguous().numpy())
        task: Any = self.task
        if "logits" in outputs:
            return task.scores(torch.from_numpy(outputs["logits"]), sizes)
        count = len(self.contract.class_names or ())
        masks = self.task.predict_exported(outputs, self.decoding, (images.shape[-2], images.shape[-1]), sizes)
        ids = (torch.from_numpy(mask.astype(np.int64)) for mask in masks)
        return [torch.nn.functional.one_hot(mask, count).permute(2, 0, 1).float() for mask in ids]


def _checkpoint_of(run: Path) -> Path:
    for name in ("best", "last"):
        if (checkpoint := run / "checkpoints" / f"{name}.ckpt").is_file():
            return checkpoint
    raise LightsegError(f"{run} is a folder without checkpoints/best.ckpt: give a run's folder or a checkpoint")


def open_runner(path: str | Path, device: str | None = None) -> Runner:
    """The runner of a checkpoint or, by its suffix, of an exported file. LightsegError for a file that cannot run.

    Of a run's folder it is that of its best checkpoint, or of the last where no epoch was validated.
    """
    if Path(path).is_dir():
        path = _checkpoint_of(Path(path))
    if is_exported(path):
        return ExportedRunner(path)
    return CheckpointRunner(path, device)
