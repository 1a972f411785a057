"""Preprocessing of images for prediction: that of the evaluation, at the contract's size or at the user's."""

from collections.abc import Sequence

from lightseg.errors import LightsegError
from lightseg.inference.runners import Runner
from lightseg.input_contract import Size
from lightseg.task_specs import Preprocessing

BATCH_PIXELS, MAX_BATCH = 1 << 22, 16  # of a batch without a chosen size: two images of 1024x2048


def preprocessing(runner: Runner, size: Sequence[int] | None = None) -> Preprocessing:
    """The preprocessing that a runner's network needs.

    Args:
        size: (height, width), or one side of a square, in place of the contract's.

    Raises:
        LightsegError: a size that is not one or two positive numbers, or is not the only size that the runner takes.
    """
    if size is not None and (not 1 <= len(size) <= 2 or min(size) < 1):
        raise LightsegError(f"size is {list(size)}: give height and width in pixels, or one side of a square")
    wanted = None if size is None else (int(size[0]), int(size[-1]))
    fixed = runner.fixed_size
    if fixed is not None and wanted not in (None, tuple(fixed)):
        raise LightsegError(f"the file takes images of {fixed[0]}x{fixed[1]} (height x width) alone: leave --size out")
    return runner.task.preprocessing(runner.contract, wanted or fixed)


def batch_size(size: Size) -> int:
    """The default number of network inputs of (height, width) in a batch."""
    return min(MAX_BATCH, max(1, BATCH_PIXELS // (size[0] * size[1])))
