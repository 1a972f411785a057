"""albumentations' transforms by name: built, composed and tried on a sample before the first epoch."""

import inspect
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from lightseg.data.io.pixels import MEAN_COLOR
from lightseg.data.transforms.tracked_points import position_grid
from lightseg.errors import LightsegError
from lightseg.optional_imports import quiet

COMPOSITIONS = ("OneOf", "SomeOf", "Sequential")
CLASS_ID_ARGUMENTS = ("fill_mask", "mask_drop_value", "mask_indices", "ignore_values")
MIN_VISIBILITY = 0.25  # a box whose center is inside shows at least half of each side
TRIES = 8  # seeds; enough for both shapes of a transform that transposes at random

Entry = str | Mapping[str, Any]  # `RandomRain` or `{RandomRain: {p: 0.2}}`
Target = str | None  # transformed with the image: "mask", "bboxes", "keypoints" or nothing


def library() -> Any:
    """albumentations, imported late because that takes a second. Raises LightsegError if it is not installed."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for a newer version on the network
    try:
        import albumentations
    except ImportError as error:
        raise LightsegError(
            'data.augment.extra needs albumentations, which cannot be imported: pip install "lightseg[train]"'
        ) from error
    return albumentations


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of a transform class, by name."""
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])  # type: ignore[misc]


def name_and_arguments(entry: Entry) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    ((name, arguments),) = entry.items()
    return name, dict(arguments or {})


def build(entry: Entry, target: Target) -> Any:
    """The transform of an entry of `data.augment.extra` with an existing name.

    It gets masks with all ids plus 1, and 255 (ignore) as 0 (see `shifted_ids`): so new area, which albumentations
    fills with 0 by default, is ignored. Raises LightsegError, one line, with albumentations' message about wrong
    arguments.
    """
    name, arguments = name_and_arguments(entry)
    cls = getattr(library(), name)
    if name in COMPOSITIONS:
        arguments["transforms"] = [build(inner, target) for inner in arguments["transforms"]]
    if "border_mode" in parameters_of(cls):
        arguments.setdefault("fill", MEAN_COLOR)
    if target == "mask":
        arguments |= {key: shifted_ids(arguments[key]) for key in CLASS_ID_ARGUMENTS if key in arguments}
    if hasattr(cls.__init__, "__signature__"):  # without `strict`, wrong arguments may only warn
        arguments["strict"] = True
    try:
        with quiet():
            return cls(**arguments)
    except Exception as error:  # pydantic's errors, TypeError and any other of an __init__
        raise LightsegError(f"data.augment.extra: {name}: {_complaint(error)}") from error


def shifted_ids(ids: Any) -> Any:
    """Class ids of a mask or an argument plus 1, and 255 as 0. Strings and None are unchanged."""
    if isinstance(ids, list | tuple):
        return [shifted_ids(inner) for inner in ids]
    return ids if ids is None or isinstance(ids, str) else (ids + 1) % 256


def chain(steps: list[Any], target: Target) -> Any:
    """albumentations' Compose of `image` with `mask`, `bboxes` [N, 6] (xyxy, label, number) or `position`."""
    albumentations = library()
    options: dict[str, Any] = {"is_check_shapes": False, "mask_interpolation": cv2.INTER_NEAREST}
    if target == "bboxes":
        options["bbox_params"] = albumentations.BboxParams("pascal_voc", min_visibility=MIN_VISIBILITY, clip=True)
    elif target == "keypoints":
        options |= {"additional_targets": {"position": "mask"}, "mask_interpolation": cv2.INTER_LINEAR}
    with quiet():  # it warns about boxes where all steps change only pixels
        return albumentations.Compose(steps, **options)


def singles_of(steps: Sequence[Any]) -> list[Any]:
    """The transforms of steps, including those inside compositions."""
    composition = library().BaseCompose
    inner = [singles_of(step.transforms) if isinstance(step, composition) else [step] for step in steps]
    return [single for group in inner for single in group]


def try_out(single: Any, size: tuple[int, int], target: Target) -> None:
    """Raise LightsegError, one line, for a transform that fails on samples of this size and target."""
    name = type(single).__name__
    sample: dict[str, np.ndarray] = {"image": np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)}
    if target == "mask":
        sample["mask"] = np.full(size, 1, np.uint8)
    elif target == "bboxes":
        sample["bboxes"] = np.array([[size[1] / 4, size[0] / 4, size[1] * 3 / 4, size[0] * 3 / 4, 0, 0]], np.float32)
    elif target == "keypoints":
        sample["position"] = position_grid(size).copy()
    lacking = sorted(set(single.targets_as_params) - set(sample))
    if lacking:
        raise LightsegError(f"data.augment.extra: {name} needs {', '.join(lacking)}, which samples here do not have")
    probability, single.p = single.p, 1.0
    try:
        compose = chain([single], target)
        for seed in range(TRIES):
            compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # a transform that lacks an input and would do nothing
                result = compose(**{key: array.copy() for key, array in sample.items()})
            for key in sorted(sample.keys() - {"bboxes"}):
                before, after = sample[key], result[key]
                kind, needed = (f"{list(array.shape)} {array.dtype}" for array in (after, before))
                if kind == needed:
                    continue
                if (after.ndim, after.dtype) == (before.ndim, before.dtype) and after.shape[2:] == before.shape[2:]:
                    raise LightsegError(f"data.augment.extra: {name}: {resizes(after.shape[:2], size)}")
                raise LightsegError(f"data.augment.extra: {name} gives {key} as {kind}: it must stay {needed}")
    except LightsegError:
        raise
    except Exception as error:  # any error of a transform
        raise LightsegError(
            f"data.augment.extra: {name} fails on an image of the training size: {_complaint(error)}"
        ) from error
    finally:
        single.p = probability


def resizes(result: Sequence[int], size: tuple[int, int]) -> str:
    """Error text for a transform that changes the size of images."""
    sides = f"training images of {size[0]}x{size[1]} (height x width) become {result[0]}x{result[1]}"
    if tuple(result) == size[::-1]:
        return f"{sides}: transposing needs a square size in data.augment"
    return f"{sides}: the size is set by data.augment; to zoom, use Affine (scale) or RandomResizedCrop of that size"


def _complaint(error: BaseException) -> str:
    """An error of albumentations as one line, without pydantic's frame."""
    cause: Any = error.__cause__
    if hasattr(cause, "errors"):
        parts = []
        for problem in cause.errors():
            where = str(problem["loc"][0]) if problem["loc"] else ""
            text = problem["msg"].removeprefix("Value error, ")
            parts.append(f"{where}: {text}" if where else text)
        return "; ".join(dict.fromkeys(parts))
    if isinstance(error, KeyError):
        return f"it needs {error.args[0]}"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:200]
