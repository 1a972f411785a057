"""The configuration that runs: what the composed one leaves open (null) is filled in, once.

Open are how evaluation makes an image fit (`data.eval`), options of the head, the size that cost is measured at, and in
`mode=test ckpt=` everything that the checkpoint decides. The keys that were filled in are listed under `resolved`, so
that the composed configuration can be told from the one that ran.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lightseg.catalog.tasks import get_task, resolve
from lightseg.checkpoint import read_checkpoint
from lightseg.errors import LightsegError
from lightseg.export.exported_model import use_exported
from lightseg.export.runner import is_exported, open_exported
from lightseg.input_contract import InputContract
from lightseg.model import Model
from lightseg.resolve_input import resolve_input

from .progressive import Progressive

FROM_CHECKPOINT = ("backbone", "output_stride", "drop_path_rate", "input_format")  # besides `head` and `data.eval`


@dataclass(frozen=True)
class Evaluated:
    """What `mode=test ckpt=` evaluates: a checkpoint or an exported file.

    Attributes:
        spec: the arguments of `create_model`.
        load: puts its weights, or the file itself, into a model of that spec.
    """

    path: str
    spec: dict[str, Any]
    contract: InputContract
    load: Callable[[Model], Any]


def open_evaluated(config: dict[str, Any]) -> Evaluated | None:
    """None where there is no `ckpt`. Raises LightsegError for a file that cannot be evaluated on `task`."""
    path = config["ckpt"]
    if config["mode"] != "test" or path is None:
        return None
    if is_exported(path):
        exported = open_exported(path)
        contract, spec = exported.metadata.contract, exported.metadata.spec
        spec = {**spec, "input": contract.to_dict()}
        load: Callable[[Model], Any] = lambda model: use_exported(model, exported)  # noqa: E731
    else:
        checkpoint = read_checkpoint(path)
        spec, load = checkpoint.spec, checkpoint.load_into
        contract = InputContract.from_dict(spec.get("input") or {}, path)
    if spec["task"] != config["task"]:
        raise LightsegError(f"{path} is of task={spec['task']}, not task={config['task']}")
    return Evaluated(path, spec, contract, load)


def resolve_config(config: dict[str, Any], progressive: Progressive, evaluated: Evaluated | None) -> dict[str, Any]:
    """The configuration with its nulls filled in; the one that was given is not changed.

    Raises:
        LightsegError: a value that was given and is another than the checkpoint's.
    """
    info = get_task(config["task"])
    data = dict(config["data"])
    if evaluated is None:
        values: dict[str, Any] = dict(config)
        size = None if config["mode"] == "test" else train_size(data, progressive)
        evaluation = resolve_input(info, str(config["backbone"]), data.get("eval"), size)
    else:
        values = _of_checkpoint(config, evaluated)
        evaluation = evaluated.contract.to_dict()
        if info.square_input and evaluation["size"]:
            evaluation["size"] = evaluation["size"][0]
    if "eval" in data:
        data["eval"] = {key: evaluation.get(key) if value is None else value for key, value in data["eval"].items()}
    return mark_resolved(config, {**values, "data": data})


def complete_config(config: dict[str, Any], model: Model, image_size: tuple[int, int]) -> dict[str, Any]:
    """The configuration with what building the model settled: options of head and loss, and the size at which cost is
    measured, that of the first evaluation image (height, width)."""
    parameters = inspect.signature(type(model.head)).parameters
    defaults = {key: _plain(p.default) for key, p in parameters.items() if p.default is not p.empty}
    settled = {"head": defaults | model.spec["head"], "loss": model.spec["loss"]}
    groups = {
        group: {key: values.get(key) if value is None else value for key, value in config[group].items()}
        for group, values in settled.items()
    }
    profile = {**config["profile"], "image_size": config["profile"]["image_size"] or list(image_size)}
    return mark_resolved(config, {**config, **groups, "profile": profile})


def train_size(data: dict[str, Any], progressive: Progressive) -> int | tuple[int, int] | None:
    """One side, or height and width, of the largest training images."""
    augment = data.get("augment") or {}
    size = augment.get("size", augment.get("crop_size"))
    if size is None or isinstance(size, int):
        return size if size is None else int(progressive.most("image_size", size))
    if len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None  # the transforms say what is wrong with it
    factor = progressive.most("image_size", min(size)) / min(size)
    return round(size[0] * factor), round(size[1] * factor)


def mark_resolved(composed: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """`config` with the list of the keys that `composed` leaves null and it does not."""
    before, after = dict(_leaves(composed)), dict(_leaves(config))
    filled = [key for key, value in after.items() if value is not None and before.get(key, value) is None]
    return {**config, "resolved": sorted({*composed.get("resolved", ()), *filled})}


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif key != "resolved":
            yield f"{prefix}{key}", value


def _of_checkpoint(config: dict[str, Any], evaluated: Evaluated) -> dict[str, Any]:
    spec = evaluated.spec
    values = dict(config)
    for key in FROM_CHECKPOINT:
        if values[key] is not None and values[key] != spec.get(key):
            raise LightsegError(f"{evaluated.path} is of {key}={spec.get(key)}, not {values[key]}: leave {key} out")
        values[key] = spec.get(key)
    head, given = spec["head"], config["head"]
    decoding = getattr(resolve(get_task(spec["task"]).head(head["name"]).path), "DECODING", ())
    for key, value in given.items():
        if value is not None and value != head.get(key) and key not in decoding:
            raise LightsegError(f"{evaluated.path} has head.{key}={head.get(key)}, not {value}: leave head.{key} out")
    values["head"] = {**given, **{key: head.get(key) if given.get(key) is None else given[key] for key in head | given}}
    return values


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
