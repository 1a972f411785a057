"""How evaluation makes an image fit: the one place where an `InputContract` is resolved.

timm's counterpart is `resolve_data_config`. Values come, in this order, from what a run says (`data.eval`), from the
publisher of the backbone's weights, and from the task's usual values (`TaskInfo.input`).
"""

from collections.abc import Mapping
from typing import Any

from lightseg.backbones.build import published_preprocessing
from lightseg.catalog.tasks import PUBLISHED, TaskInfo


def resolve_input(
    info: TaskInfo,
    backbone: str,
    evaluation: Mapping[str, Any] | None = None,
    train_size: int | tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The fields of an `InputContract` that say how an image is made to fit.

    Args:
        backbone: its name, for what its publisher decides.
        evaluation: the run's `data.eval`, whose values go first where they are not None.
        train_size: of a run that trains: it evaluates at this size in place of the publisher's.
    """
    values = dict(info.input)
    if PUBLISHED in values.values():
        published = published_preprocessing(backbone)
        if train_size is not None:
            published["size"] = train_size
        values = {key: published[key] if value == PUBLISHED else value for key, value in values.items()}
    values |= {key: value for key, value in (evaluation or {}).items() if value is not None}
    if train_size is not None:
        values["train_size"] = train_size
    return values
