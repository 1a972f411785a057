"""The model of `lightseg profile`: from a checkpoint, or from overrides as in `lightseg train`."""

from collections.abc import Mapping
from typing import Any

from lightseg.backbones.build import published_preprocessing
from lightseg.catalog.tasks import TASKS, get_task
from lightseg.checkpoint import load_model
from lightseg.errors import LightsegError, one_line
from lightseg.model import Model, create_model


def requested_model(checkpoint: str | None, values: Mapping[str, Any]) -> tuple[Model, tuple[int, int]]:
    """The model and the (height, width) of its image.

    Args:
        checkpoint: of a run; None: a model with random weights, whose cost is the same.
        values: the overrides by key: `image_size`; without a checkpoint also `backbone`, `task`, `num_classes`,
            `in_chans`, `output_stride` and `head` (its options). The defaults are those of the task.

    Raises:
        LightsegError: `create_model` or `load_model` raised it, or an override does not go with a checkpoint.
    """
    options = dict(values)
    size = options.pop("image_size", None)
    if checkpoint is not None:
        if options:
            raise LightsegError(
                f"{next(iter(options))}= is for a new model: a checkpoint has its own, give image_size= at most"
            )
        model = load_model(checkpoint)
        return model, size or model.contract.size or _default_size(model.spec["task"], str(model.spec["backbone"]))
    if "backbone" not in options:
        raise LightsegError(f"give a checkpoint, or backbone=NAME and task={', '.join(TASKS)}")
    backbone, task = options.pop("backbone"), options.pop("task", "seg")
    options.setdefault("num_classes", get_task(str(task)).num_classes)
    try:
        model = create_model(str(backbone), task, **options)
    except LightsegError:
        raise
    except Exception as error:  # an option of the wrong type fails anywhere in the head
        raise LightsegError(f"{backbone} with task={task} cannot be built: {one_line(error)[:200]}") from error
    return model.eval(), size or _default_size(task, str(backbone))


def _default_size(task: str, backbone: str) -> tuple[int, int]:
    """Height and width of the images that the task's figures are published on."""
    size = get_task(task).image_size
    if size is None:
        side = int(published_preprocessing(backbone)["size"])
        return side, side
    return size
