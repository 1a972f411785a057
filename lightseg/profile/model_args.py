"""The model that `lightseg profile` is asked for: a checkpoint, or words as train.py takes them."""

from collections.abc import Mapping
from typing import Any

from lightseg.backbones.build import publishers_evaluation
from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError, nearest, one_line
from lightseg.model import HEADS, Model, create_model
from lightseg.run_config import evaluation_options, read_run_config

# Classes and pixels of the data that a task's figures are published on: Cityscapes, COCO, ImageNet, COCO's persons.
USUAL: dict[str, tuple[int, tuple[int, int] | None]] = {
    "seg": (19, (512, 1024)),
    "det": (80, (320, 320)),
    "cls": (1000, None),  # the size that the backbone's accuracy was published at
    "pose": (17, (256, 192)),
}


def requested(checkpoint: str | None, values: Mapping[str, Any]) -> tuple[Model, tuple[int, int]]:
    """The model and the (height, width) of its image.

    Args:
        checkpoint: of a run; None: a model with new weights, which cost the same.
        values: `image_size`; without a checkpoint also `backbone`, `task`, `num_classes`, `in_chans`, `output_stride`
            and `head`, a table of its options. What is not given is the task's usual value.

    Raises:
        LightsegError: what `create_model` and `load_model` refuse, or a task whose usual values are not known.
    """
    given = dict(values)
    size = given.pop("image_size", None)
    if checkpoint is not None:
        if given:
            raise LightsegError(
                f"{next(iter(given))}= is for a new model: a checkpoint has its own, image_size alone goes"
            )
        model = load_model(checkpoint)
        config = read_run_config(checkpoint)
        kept = evaluation_options(model.spec, config).get("size")
        return model, size or _pair(kept) or _usual_size(model.spec["task"], str(model.spec["backbone"]))
    if "backbone" not in given:
        raise LightsegError("give a checkpoint, or backbone=NAME and task=seg, det or cls")
    backbone, task = given.pop("backbone"), given.pop("task", "seg")
    if task not in HEADS:
        raise LightsegError(f"no task named '{task}': {nearest(str(task), HEADS)}")
    if "num_classes" not in given:
        given["num_classes"] = USUAL[task][0]
    try:
        model = create_model(str(backbone), task, **given)
    except LightsegError:
        raise
    except Exception as error:  # an option of the head that is of the wrong kind, anywhere below
        raise LightsegError(f"{backbone} with task={task} cannot be built: {one_line(error)[:200]}") from error
    return model.eval(), size or _usual_size(task, str(backbone))


def _usual_size(task: str, backbone: str) -> tuple[int, int]:
    usual = USUAL[task][1]
    if usual is None:
        side = int(publishers_evaluation(backbone)["size"])
        return side, side
    return usual


def _pair(size: Any) -> tuple[int, int] | None:
    if not size:
        return None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)
