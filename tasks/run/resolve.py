"""The resolved configuration: the nulls of the composed configuration are filled in, once.

Null may be the preprocessing of the evaluation (`data.eval`), options of head and loss, the image size for the cost,
and in `mode=test ckpt=` everything that the checkpoint decides. The keys that were filled in are listed under
`resolved`, so that the composed configuration can be restored.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lightseg.catalog.tasks import get_task, resolve
from lightseg.checkpoint import read_checkpoint
from lightseg.data.io.pixels import PixelFormat
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
    """The model that `mode=test ckpt=` evaluates: of a checkpoint or an exported file.

    Attributes:
        path: of the file.
        spec: the arguments of `create_model`.
        contract: the input contract.
        load: loads its weights, or the exported file, into a model of that spec.
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
    """The configuration with its nulls filled in. `config` is not changed.

    Raises:
        LightsegError: a value that differs from the checkpoint's.
    """
    info = get_task(config["task"])
    data = dict(config["data"])
    if evaluated is None:
        values: dict[str, Any] = dict(config)
        size = None if config["mode"] == "test" else train_size(data, progressive)
        evaluation = resolve_input(info, str(config["backbone"]), data.get("eval"), size)
    else:
        values = _of_checkpoint(config, evaluated)
        data = _follow_contract(data, evaluated.contract, evaluated.path)
        if "tile" in data and data["tile"] is None and evaluated.contract.tile:
            data["tile"] = {key: _plain(value) for key, value in evaluated.contract.tile.items()}
        evaluation = evaluated.contract.to_dict()
        if info.square_input and evaluation["size"]:
            evaluation["size"] = evaluation["size"][0]
    if "eval" in data:
        data["eval"] = {key: evaluation.get(key) if value is None else value for key, value in data["eval"].items()}
    return mark_resolved(config, {**values, "data": data})


def _pixel_keys(contract: InputContract) -> dict[str, Any]:
    """`channels` and `range` of the `data` group, as a contract has them."""
    form = PixelFormat.of(contract)
    plain = form.dtype == "uint8" and form.value_range == (0, 255)
    return {
        "channels": form.channels if form.bands is None else list(form.bands),
        "range": None if plain else list(form.value_range),
    }


def _follow_contract(data: dict[str, Any], contract: InputContract, path: str) -> dict[str, Any]:
    """The `data` group with the channels and the range of the checkpoint `path`.

    Raises:
        LightsegError: a value that differs from the checkpoint's.
    """
    values = _pixel_keys(contract)
    for key, value in values.items():
        given = data.get(key)
        if given is not None and given != value:
            raise LightsegError(f"{path} takes data.{key}={value}, not {given}: leave data.{key} out")
    return {**data, **values}


def complete_config(config: dict[str, Any], model: Model, image_size: tuple[int, int]) -> dict[str, Any]:
    """The configuration with the output stride of the built model, the options of its head and loss, and the image size
    for the cost.

    image_size: (height, width) of the first evaluation image.
    """
    parameters = inspect.signature(type(model.head)).parameters
    defaults = {key: _plain(p.default) for key, p in parameters.items() if p.default is not p.empty}
    built = {"head": defaults | model.spec["head"], "loss": model.spec["loss"]}
    groups = {
        group: {key: values.get(key) if value is None else value for key, value in config[group].items()}
        for group, values in built.items()
    }
    profile = {**config["profile"], "image_size": config["profile"]["image_size"] or list(image_size)}
    stride = config["output_stride"] or model.spec["output_stride"]
    return mark_resolved(config, {**config, **groups, "output_stride": stride, "profile": profile})


def train_size(data: dict[str, Any], progressive: Progressive) -> int | tuple[int, int] | None:
    """One side, or height and width, of the largest training images."""
    augment = data.get("augment") or {}
    size = augment.get("size", augment.get("crop_size"))
    if size is None or isinstance(size, int):
        return size if size is None else int(progressive.max_value("image_size", size))
    if len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None  # the transforms report the error
    factor = progressive.max_value("image_size", min(size)) / min(size)
    return round(size[0] * factor), round(size[1] * factor)


def mark_resolved(composed: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """`config` with `resolved`, the list of the keys that are null in `composed` and not in `config`."""
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
    head, options = spec["head"], config["head"]
    decoding = getattr(resolve(get_task(spec["task"]).head(head["name"]).path), "DECODING", ())
    for key, value in options.items():
        if value is not None and value != head.get(key) and key not in decoding:
            raise LightsegError(f"{evaluated.path} has head.{key}={head.get(key)}, not {value}: leave head.{key} out")
    values["head"] = {
        **options,
        **{key: head.get(key) if options.get(key) is None else options[key] for key in head | options},
    }
    return values


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
