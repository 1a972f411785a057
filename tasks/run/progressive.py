"""Progressive learning: settings that change over the phases of a run (EfficientNetV2, arXiv:2104.00298, section 4.2).

Training starts with small images and weak regularization and ends with large images and strong regularization. The
run has `schedule.stages` phases of equal length (the paper calls them stages). Each of image_size, randaugment, mixup,
cutmix, dropout and drop_path can be a list with a value per phase, or [start, end], which is interpolated linearly (the
paper's algorithm 1).

The phase depends only on the epoch, so a resumed run continues in its phase.
"""

from bisect import bisect_right
from typing import Any

from lightseg.errors import LightsegError

NAMES = ("image_size", "randaugment", "mixup", "cutmix", "dropout", "drop_path")
PROBABILITIES = ("dropout", "drop_path")
MIN_SIZE = 32  # pixels: the stride of the nets; smaller images give maps of less than a cell


class Progressive:
    """The phases of a run.

    Args:
        options: the `schedule` group: `stages`, `images_per_step`, and each of NAMES as null or a list of numbers.
        epochs: of the run.

    Attributes:
        phases: their number.
        values: name -> a value per phase, for the settings that are scheduled.
        grows_batches: whether the batch size changes with the image size.

    Raises:
        LightsegError: a list of another length, an invalid value, a size below the nets' stride, or more phases than
            epochs.
    """

    def __init__(self, options: dict[str, Any], epochs: int | None) -> None:
        self.phases = options["stages"]
        if self.phases < 1:
            raise LightsegError(f"schedule.stages={self.phases}: a run has 1 phase or more")
        scheduled = {name: options[name] for name in NAMES if options[name] is not None}
        self.values = {name: _values_by_phase(name, value, self.phases) for name, value in scheduled.items()}
        self.grows_batches = bool(options["images_per_step"])
        if not scheduled:
            self.phases = 1
        elif epochs is None or epochs < self.phases:
            raise LightsegError(
                f"schedule.stages={self.phases} is more than the {epochs or 0} epochs of trainer.max_epochs"
            )
        if self.grows_batches and "image_size" not in self.values:
            raise LightsegError(
                "schedule.images_per_step=true grows batches as images shrink: give schedule.image_size"
            )
        if small := [size for size in self.values.get("image_size", []) if size < MIN_SIZE]:
            raise LightsegError(
                f"schedule.image_size has {small[0]:g} pixels, below {MIN_SIZE}, the stride of the nets"
            )
        # as in the authors' code: after int(1/4), int(2/4), int(3/4) of the epochs
        self.starts = [int(phase * (epochs or 0) / self.phases) for phase in range(1, self.phases)]

    def phase(self, epoch: int) -> int:
        """The phase of an epoch, from 0."""
        return bisect_right(self.starts, epoch)

    def at(self, phase: int) -> dict[str, float]:
        """The scheduled values of a phase."""
        return {name: values[phase] for name, values in self.values.items()}

    def batch_size(self, phase: int, full: int) -> int:
        """The batch size: `full`, or with `images_per_step` the number that keeps the pixels of a batch constant."""
        if not self.grows_batches:
            return full
        sizes = self.values["image_size"]
        return int(full * (max(sizes) / sizes[phase]) ** 2)

    def max_value(self, name: str, default: float) -> float:
        """The largest value of a setting in the run, with which the model is built. Its modules are then reduced."""
        return max(self.values.get(name, [default]))


def _values_by_phase(name: str, values: Any, phases: int) -> list[float]:
    if not isinstance(values, list) or not values or not all(_is_number(value) for value in values):
        raise LightsegError(f"schedule.{name}={values}: give [start, end], or a number for each of schedule.stages")
    if len(values) not in (2, phases):
        raise LightsegError(
            f"schedule.{name} has {len(values)} values for schedule.stages={phases}: "
            f"give [start, end], or {phases} values"
        )
    if len(values) != phases:
        start, end = values
        values = [start + (end - start) * phase / max(1, phases - 1) for phase in range(phases)]
    if any(value < 0 for value in values):
        raise LightsegError(f"schedule.{name}={values}: give values of 0 or more")
    if name in PROBABILITIES and max(values) >= 1:
        raise LightsegError(f"schedule.{name}={values}: give values below 1")
    return [int(value) for value in values] if name == "image_size" else [float(value) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
