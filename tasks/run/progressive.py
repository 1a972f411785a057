"""Progressive learning: settings that change in stages over a run (EfficientNetV2, arXiv:2104.00298, section 4.2).

Small pictures and weak regularisation first, large pictures and strong regularisation at the end. The run is cut into
`schedule.stages` equal parts; each of image_size, randaugment, mixup, cutmix, dropout and drop_path may be given as one
value a stage, or as its start and its end, between which stages are evenly spaced (the paper's algorithm 1).

Everything follows from the epoch alone, so a resumed run goes on in the stage where it stopped.
"""

from bisect import bisect_right
from typing import Any

from lightseg.errors import LightsegError

NAMES = ("image_size", "randaugment", "mixup", "cutmix", "dropout", "drop_path")
SHARES = ("dropout", "drop_path")
LEAST_SIZE = 32  # pixels: the stride of the nets; smaller pictures leave less than one cell


class Progressive:
    """The stages of a run.

    Args:
        options: the `schedule` group: `stages`, `images_per_step`, and each of NAMES as null or a list of numbers.
        epochs: of the whole run.

    Attributes:
        values: name -> one value a stage, for what is scheduled.

    Raises:
        LightsegError: lists of another length, values that cannot be, sizes under the nets' stride, more stages than
            epochs.
    """

    def __init__(self, options: dict[str, Any], epochs: int | None) -> None:
        self.stages = options["stages"]
        if self.stages < 1:
            raise LightsegError(f"schedule.stages={self.stages}: a run has at least one stage")
        given = {name: options[name] for name in NAMES if options[name] is not None}
        self.values = {name: _a_value_a_stage(name, value, self.stages) for name, value in given.items()}
        self.grows_batches = bool(options["images_per_step"])
        if not given:
            self.stages = 1
        elif epochs is None or epochs < self.stages:
            raise LightsegError(
                f"schedule.stages={self.stages} is more than the {epochs or 0} epochs of trainer.max_epochs"
            )
        if self.grows_batches and "image_size" not in self.values:
            raise LightsegError(
                "schedule.images_per_step=true grows batches as pictures shrink: give schedule.image_size"
            )
        if small := [size for size in self.values.get("image_size", []) if size < LEAST_SIZE]:
            raise LightsegError(
                f"schedule.image_size begins with {small[0]:g} pixels, under the {LEAST_SIZE} that the nets divide by"
            )
        # as the authors' code switches: after int(1/4), int(2/4), int(3/4) of the epochs
        self.starts = [int(stage * (epochs or 0) / self.stages) for stage in range(1, self.stages)]

    def stage(self, epoch: int) -> int:
        return bisect_right(self.starts, epoch)

    def at(self, stage: int) -> dict[str, float]:
        """The scheduled values of a stage."""
        return {name: values[stage] for name, values in self.values.items()}

    def batch_size(self, stage: int, full: int) -> int:
        """`full` at the largest pictures; with `images_per_step` as many more at smaller ones as keep the pixels."""
        if not self.grows_batches:
            return full
        sizes = self.values["image_size"]
        return int(full * (max(sizes) / sizes[stage]) ** 2)

    def most(self, name: str, otherwise: float) -> float:
        """The largest value of a run: what a model is built with, whose modules are then turned down."""
        return max(self.values.get(name, [otherwise]))


def _a_value_a_stage(name: str, given: Any, stages: int) -> list[float]:
    if not isinstance(given, list) or not given or not all(_is_number(value) for value in given):
        raise LightsegError(f"schedule.{name}={given}: give [start, end], or one number for each of the stages")
    if len(given) not in (2, stages):
        raise LightsegError(
            f"schedule.{name} has {len(given)} values for schedule.stages={stages}: "
            f"give [start, end], or {stages} values"
        )
    if len(given) != stages:
        start, end = given
        given = [start + (end - start) * stage / max(1, stages - 1) for stage in range(stages)]
    if any(value < 0 for value in given):
        raise LightsegError(f"schedule.{name}={given}: a value below 0")
    if name in SHARES and max(given) >= 1:
        raise LightsegError(f"schedule.{name}={given}: a share of 1 or more, which leaves nothing")
    return [int(value) for value in given] if name == "image_size" else [float(value) for value in given]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
