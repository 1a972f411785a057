"""Files of releases before 0.2, whose checkpoints did not carry an input contract: it is put together here.

How evaluation made an image fit stood in the run's `config.yaml` alone. A checkpoint that still lies in its run gets it
from there. One that was moved gets the task's usual values, and a line says which.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightseg.catalog.tasks import TASKS
from lightseg.errors import LightsegError
from lightseg.resolve_input import resolve_input

log = logging.getLogger(__name__)


def upgrade_spec(spec: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """A model's spec as this release writes it. Specs that have a contract already are returned as they are.

    Raises:
        LightsegError: the run's `config.yaml` lies beside the checkpoint and is damaged.
    """
    spec = dict(spec)
    if "pixels" in spec:
        spec["input_format"] = spec.pop("pixels")
    if "input" in spec or spec.get("task") not in TASKS:
        return spec
    config = read_run_config(path)
    contract = contract_of_run(spec, config)
    if not config and "size" in contract:
        log.warning(f"{path} is a checkpoint of an older release without its run's config.yaml: {_described(contract)}")
    return add_names(spec, contract)


def add_names(spec: dict[str, Any], contract: dict[str, Any]) -> dict[str, Any]:
    """`class_names` and `skeleton` of an older spec, which are parts of the contract now."""
    for key in ("class_names", "skeleton"):
        if (value := spec.pop(key, None)) is not None:
            contract[key] = value
    return {**spec, "input": contract}


def contract_of_run(spec: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the contract, of an older spec and its run's composed configuration (may be empty)."""
    data = config.get("data") or {}
    evaluation = data.get("eval") or {}
    if not isinstance(evaluation, Mapping):
        raise LightsegError(f"config.yaml: data.eval is {evaluation!r}, not a table of values")
    values = resolve_input(TASKS[spec["task"]], str(spec.get("backbone")), evaluation, _train_size(config))
    if made_for := (spec.get("head") or {}).get("image_size"):
        values["size"] = made_for  # SimCC's linear layers are made for one size
    if "oks_nms" in data:
        values["oks_nms"] = data["oks_nms"]
    names = spec.get("class_names") or ()
    colors = next((data[key] for key in ("palette", "colors") if isinstance(data.get(key), list)), None)
    if colors is not None and len(colors) == len(names):
        values["palette"] = colors
    return values


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


def _train_size(config: Mapping[str, Any]) -> Any:
    """Height and width (or one side) of the largest training images; None where the run does not say."""
    augment = (config.get("data") or {}).get("augment") or {}
    size = augment.get("size") or augment.get("crop_size")
    sizes = (config.get("schedule") or {}).get("image_size")
    try:
        if isinstance(size, int) and sizes:
            return int(max(sizes)) if isinstance(sizes, list) else int(sizes)
        return size if size is None or isinstance(size, int) else (int(size[0]), int(size[1]))
    except (TypeError, ValueError, IndexError) as error:
        raise LightsegError(f"config.yaml: {size!r} is no size of images") from error


def _described(contract: Mapping[str, Any]) -> str:
    size = contract["size"]
    height, width = (size, size) if isinstance(size, int) else size
    more = [f"{key}={contract[key]}" for key in ("crop_pct", "interpolation", "keep_aspect") if key in contract]
    return f"images are prepared at {height}x{width}" + (f" with {', '.join(more)}" if more else "")
