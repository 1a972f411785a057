"""Checks of `data.augment.extra`, names and arguments of albumentations' transforms, before training."""

from collections.abc import Mapping
from typing import Any

from lightseg.catalog.tasks import get_task
from lightseg.errors import LightsegError, nearest

KEY = "data.augment.extra"
EXAMPLE = f"{KEY}=[{{RandomRain: {{p: 0.2}}}}]"
CAN_MOVE = "HorizontalFlip, Affine, Perspective and CoarseDropout can"
# bases, what takes functions, and what only turns volumes into tensors
NOT_TAKEN = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "Lambda", "ToTensor3D")
BORDERS = (0, 1)  # OpenCV's constant and replicate, which show no part of the image twice


def check_extra(augment: Mapping[str, Any], task: str) -> None:
    """LightsegError, one line, for an extra transform of `data.augment` that does not exist, has wrong arguments, or
    does not support the task's targets. albumentations is imported only where there are extra transforms.
    """
    entries = augment.get("extra")
    if entries is None or entries == []:
        return
    if not isinstance(entries, list):
        raise LightsegError(f"{KEY} is {entries!r}: must be a list, as in {EXAMPLE}")
    from lightseg.data.transforms.extra import training_size
    from lightseg.data.transforms.extra_steps import build, singles_of, try_out

    for entry in entries:
        _check_entry(entry, task)
    target, size = get_task(task).extra_target or None, training_size(augment)
    for single in singles_of([build(entry, target) for entry in entries]):
        try_out(single, size, target)


def _check_entry(entry: Any, task: str) -> None:
    from lightseg.data.transforms.extra_steps import COMPOSITIONS, library, parameters_of

    name, arguments = _read(entry)
    albumentations = library()
    names = [
        key
        for key, value in vars(albumentations).items()
        if isinstance(value, type) and issubclass(value, albumentations.BasicTransform) and key not in NOT_TAKEN
    ]
    if name not in (*names, *COMPOSITIONS):
        plain = name.split(".")[-1]
        inside = [other for other in names if plain.lower() in other.lower()][:3]
        hint = f"did you mean {', '.join(inside)}?" if inside else nearest(plain, names)
        raise LightsegError(f"{KEY}: no transform named '{name}' can be taken from albumentations: {hint}")
    cls = getattr(albumentations, name)
    parameters = parameters_of(cls)
    for argument, value in arguments.items():
        if argument not in parameters:
            raise LightsegError(f"{KEY}: {name} has no argument '{argument}': {nearest(str(argument), parameters)}")
        if name in COMPOSITIONS and argument == "transforms":
            continue
        if not _is_plain(value):
            raise LightsegError(f"{KEY}: {name}: {argument} is {value!r}: give numbers, text or lists of them")
    if name in COMPOSITIONS:
        inner = arguments.get("transforms")
        if not isinstance(inner, list) or not inner:
            raise LightsegError(f"{KEY}: {name} needs transforms: [...], a list like that of {KEY}")
        for part in inner:
            _check_entry(part, task)
    else:
        _check_target(name, cls, arguments, task)


def _check_target(name: str, cls: Any, arguments: Mapping[str, Any], task: str) -> None:
    takes = {target.value.lower() for target in (cls._targets if isinstance(cls._targets, tuple) else [cls._targets])}
    if "image" not in takes:
        raise LightsegError(f"{KEY}: {name} is for volumes, not for images")
    target = get_task(task).extra_target or None
    if target is None or "ImageOnlyTransform" in (base.__name__ for base in cls.__mro__):
        return
    if target not in takes:
        raise LightsegError(f"{KEY}: {name} cannot move {target}, which task={task} needs: {CAN_MOVE}")
    if name == "Morphological" and target != "bboxes":
        raise LightsegError(f"{KEY}: {name} takes {target} for gray values and spoils them (task={task}): leave it out")
    if "mask_interpolation" in arguments and target == "mask":
        raise LightsegError(f"{KEY}: {name}: masks hold class ids and are always nearest: leave mask_interpolation out")
    if target == "keypoints" and arguments.get("border_mode", 0) not in BORDERS:
        raise LightsegError(
            f"{KEY}: {name}: border_mode {arguments['border_mode']} shows the image again beyond its border, and a "
            f"keypoint would have two positions: take 0 (constant) or 1 (replicate) for task={task}"
        )


def _read(entry: Any) -> tuple[str, dict[Any, Any]]:
    """Name and arguments of `Name`, `{Name: null}` or `{Name: {argument: value}}`."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, arguments),) = entry.items()
        if isinstance(name, str) and (arguments is None or isinstance(arguments, Mapping)):
            return name, dict(arguments or {})
    raise LightsegError(f"{KEY}: {entry!r} is not a transform with its arguments, as in {EXAMPLE}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    return value is None or isinstance(value, bool | int | float | str)
