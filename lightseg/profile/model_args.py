"""The model that `lightseg profile` is asked for: a checkpoint, or overrides as `lightseg train` takes them."""

from collections.abc import Mapping
from typing import Any

from lightseg.backbones.build import published_preprocessing
from lightseg.catalog.tasks import TASKS, get_task
from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError, one_line
from lightseg.model import Model, create_model


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
        return model, size or model.contract.size or _usual_size(model.spec["task"], str(model.spec["backbone"]))
    if "backbone" not in given:
        raise LightsegError(f"give a checkpoint, or backbone=NAME and task={', '.join(TASKS)}")
    backbone, task = given.pop("backbone"), given.pop("task", "seg")
    given.setdefault("num_classes", get_task(str(task)).num_classes)
    try:
        model = create_model(str(backbone), task, **given)
    except LightsegError:
        raise
    except Exception as error:  # an option of the head that is of the wrong kind, anywhere below
        raise LightsegError(f"{backbone} with task={task} cannot be built: {one_line(error)[:200]}") from error
    return model.eval(), size or _usual_size(task, str(backbone))


def _usual_size(task: str, backbone: str) -> tuple[int, int]:
    """Height and width of the images that the task's figures are published on."""
    usual = get_task(task).image_size
    if usual is None:
        side = int(published_preprocessing(backbone)["size"])
        return side, side
    return usual
