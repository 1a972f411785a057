"""Preprocessing as the evaluation in training does it, at the contract's size or at one that the user gives."""

from collections.abc import Sequence

from lightseg.errors import LightsegError
from lightseg.inference.runners import Runner
from lightseg.input_contract import Size
from lightseg.task_specs import Preprocessing

BATCH_PIXELS, MAX_BATCH = 1 << 22, 16  # of a batch whose size was not given: two images of 1024x2048


def preprocessing(runner: Runner, size: Sequence[int] | None = None) -> Preprocessing:
    """
    Args:
        size: (height, width), or one side of a square, in place of the contract's.

    Raises:
        LightsegError: a size that cannot be, or is another than the only one that the runner takes.
    """
    if size is not None and (not 1 <= len(size) <= 2 or min(size) < 1):
        raise LightsegError(f"size is {list(size)}: give height and width in pixels, or one side of a square")
    wanted = None if size is None else (int(size[0]), int(size[-1]))
    fixed = runner.fixed_size
    if fixed is not None and wanted not in (None, tuple(fixed)):
        raise LightsegError(f"the file takes images of {fixed[0]}x{fixed[1]} (height x width) alone: leave --size out")
    return runner.task.preprocessing(runner.contract, wanted or fixed)


def batch_size(size: Size) -> int:
    """How many network inputs of (height, width) go at a time."""
    return min(MAX_BATCH, max(1, BATCH_PIXELS // (size[0] * size[1])))
