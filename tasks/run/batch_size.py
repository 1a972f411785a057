"""`data.batch_size=auto`: the largest power of two that trains in a GPU's memory."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.utilities.memory import is_oom_error

from lightseg.errors import LightsegError

from ..base import Task
from ..data import DataModule
from .trial import run_trial

SMALLEST = 2  # batch norm needs two values
MEMORY = 0.9  # share of the GPU's memory that a trial may take: evaluation and the average of the weights need some
STEPS = 3


def find_batch_size(config: dict[str, Any], task: Task, data: DataModule) -> int:
    """The largest power of two that trains for a few steps and is not above the number of training samples.

    Raises:
        LightsegError: not even the smallest batch fits.
    """
    print("data.batch_size=auto: trying batches of 2, 4, 8, ...", flush=True)

    def fits(size: int) -> bool:
        data.options["batch_size"] = size
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            run_trial(config, task, data, STEPS, [])
        except RuntimeError as error:
            if not is_oom_error(error):  # also of cuDNN and cuBLAS
                raise
            return False
        return torch.cuda.max_memory_reserved() <= MEMORY * torch.cuda.get_device_properties(0).total_memory

    size = largest(fits, len(data.dataset("train")))
    torch.cuda.empty_cache()
    data.options["batch_size"] = size
    return size


def largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest power of two that fits, up to `limit`."""
    size, tried = 0, SMALLEST
    while tried <= limit and fits(tried):
        size, tried = tried, 2 * tried
    if not size:
        if limit < SMALLEST:
            raise LightsegError(
                f"data.batch_size=auto needs {SMALLEST} training images, there is {limit}: give a number"
            )
        raise LightsegError(
            f"data.batch_size=auto: the GPU's memory holds no batch of {SMALLEST} images; give smaller images or a "
            "smaller backbone"
        )
    return size


def check_device(accelerator: str) -> None:
    """Raise LightsegError where there is no GPU whose memory could be measured."""
    if accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        raise LightsegError(
            "data.batch_size=auto needs a CUDA GPU, whose memory it measures: give a number on other devices"
        )
