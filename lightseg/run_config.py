"""What a run says beside its checkpoints: `config.yaml`, read as plain values; a tag that names code is refused.

A checkpoint holds the model and nothing of the pictures: how evaluation made them fit stands in the run's `data` group.
A checkpoint that was moved out of its run has none of it, and the defaults hold.
"""

from pathlib import Path
from typing import Any

import yaml

from lightseg.backbones.build import publishers_evaluation
from lightseg.errors import LightsegError

DETECTOR_SIZE = (320, 320)  # what SSDLite was published at
PERSON_SIZE = (256, 192)  # of crops of a person, that of SimpleBaseline and what came after it
OKS_NMS = 0.9  # what the runs have by default


def read_run_config(checkpoint: str | Path) -> dict[str, Any]:
    """The composed configuration of the run that `<run>/checkpoints/best.ckpt` lies in; empty where there is none.

    Raises:
        LightsegError: there is one and it is damaged, or names Python objects, which are never built.
    """
    folder = Path(checkpoint).absolute().parent
    path = folder.parent / "config.yaml"
    if folder.name != "checkpoints" or not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        why = getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__
        raise LightsegError(f"{path} cannot be read safely ({why}); remove it to go without it") from error
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise LightsegError(f"{path} is not the configuration of a lightseg run; remove it to go without it")
    return content


def evaluation_options(spec: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """How evaluation in training made a picture fit, of a model's spec and its run's configuration (may be empty).

    Returns:
        seg: nothing, pictures keep their size. det: `size` [height, width], `keep_aspect`. cls: `size`, `crop_pct`,
        `interpolation`, what the run left to the backbone's publisher filled in. pose: `size` [height, width] of a
        crop, `oks_nms`, the OKS above which one of two detected persons is dropped (None: none is).
    """
    given = config.get("data", {}).get("eval") or {}
    if not isinstance(given, dict):
        raise LightsegError(f"config.yaml: data.eval is {given!r}, not a table of values")
    if spec["task"] == "det":
        return {"size": list(DETECTOR_SIZE), "keep_aspect": False, **given}
    if spec["task"] == "cls":
        published = publishers_evaluation(str(spec["backbone"]))
        if config:
            published["size"] = _trained_size(config, published["size"])
        return published | {key: value for key, value in given.items() if value is not None}
    if spec["task"] == "pose":
        made_for = (spec.get("head") or {}).get("image_size")  # simcc's own, and nothing else will do
        own = {"size": list(made_for)} if made_for else {}
        nms = config["data"].get("oks_nms", OKS_NMS) if config else OKS_NMS
        return {"size": list(PERSON_SIZE), "oks_nms": nms, **given, **own}
    return {}


def _trained_size(config: dict[str, Any], otherwise: int) -> int:
    """Pixels of the training pictures' side, the largest where they grew."""
    schedule, augment = config.get("schedule") or {}, config["data"].get("augment") or {}
    sizes = schedule.get("image_size") or augment.get("size") or otherwise
    try:
        return int(max(sizes)) if isinstance(sizes, list) else int(sizes)
    except (TypeError, ValueError) as error:
        raise LightsegError(f"config.yaml: {sizes!r} is no size of pictures") from error


def class_colours(config: dict[str, Any], num_classes: int) -> list[list[int]] | None:
    """The colours that the run's data set gave its classes; None where it gave none, or not one each."""
    for key in ("palette", "colors"):
        given = config.get("data", {}).get(key)
        if isinstance(given, list) and len(given) == num_classes and all(_is_colour(colour) for colour in given):
            return given
    return None


def _is_colour(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in given)
