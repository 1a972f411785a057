"""The task of a run, with a new model, or with the model of a checkpoint or exported file that is evaluated."""

import sys
from importlib import import_module
from typing import Any, NamedTuple

import torch

from lightseg.catalog.spaces import read_space
from lightseg.catalog.tasks import get_task, resolve
from lightseg.config.dmasking import is_search
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract
from lightseg.model import create_model
from lightseg.text import shorten

from ..base import Task
from ..data import DataModule
from .class_weights import with_class_weights
from .distributed import processes
from .measure import data_options
from .optimization import check_warmup
from .pixels import resolve_pixels
from .progressive import Progressive
from .resolve import Evaluated, complete_config, open_evaluated, resolve_config, train_size

TASKS_PACKAGE = __package__.removesuffix(".run")  # "tasks", or "lightseg.tasks" in the wheel


class SetUp(NamedTuple):
    """A run that is ready to start: resolved configuration, data and task."""

    config: dict[str, Any]
    data: DataModule
    task: Task


def set_up(config: dict[str, Any]) -> SetUp:
    """Resolve a composed configuration, prepare the data, and build the task."""
    progressive = Progressive(config["schedule"], config["trainer"]["max_epochs"])
    evaluated = open_evaluated(config)
    config = resolve_config(config, progressive, evaluated)
    data = DataModule(data_options(config), config["seed"], progressive)
    data.prepare_data()
    config = resolve_pixels(config, data, evaluated)
    if config["mode"] == "train" and config["data"]["batch_size"] != "auto":
        config = fit_batch_size(config, data)
    config = with_class_weights(config, data)
    task = build_task(config, data, evaluated)
    return SetUp(complete_config(config, task.model, data.evaluation_size()), data, task)


def fit_batch_size(config: dict[str, Any], data: DataModule) -> dict[str, Any]:
    """The configuration with a batch size that the training set has samples for, so that a small set can be trained on
    with the defaults. `replaced` keeps the composed value."""
    before = data.fit_batch_size(processes(config["trainer"]))
    if before is None:
        return config
    size, samples = data.options["batch_size"], data.training_samples()
    print(f"data.batch_size={before} is more than the {samples} training {data.unit}: {size} is used", flush=True)
    return {**config, "replaced": {**config.get("replaced", {}), "data.batch_size": before}}


def task_class(name: str) -> type[Task]:
    """The LightningModule of a task."""
    path = get_task(name).module
    if not path.startswith("."):
        return resolve(path)
    module, _, attribute = path.partition(":")
    return getattr(import_module(module, TASKS_PACKAGE), attribute)


def build_task(config: dict[str, Any], data: DataModule, evaluated: Evaluated | None = None) -> Task:
    """config: resolved. evaluated: the model of `ckpt`, or None. Reads the data's lists of files first."""
    if config["mode"] == "train":
        data.check()
        check_warmup(config["schedule"]["warmup_steps"], most_steps(config, data))
    elif not config["evaluation"]["predictions"]:
        data.check_evaluation()
    if config["evaluation"]["predictions"]:
        check_predictions(config, data)
    if evaluated is not None:
        match_class_names(evaluated.path, evaluated.spec, evaluated.contract, data)
        # the options of decoding are those of the evaluation's configuration
        model = {**evaluated.spec, "head": config["head"], "pretrained": False}
    else:
        model = model_options(config, data)
    task = task_with_model(model, config, data)
    if evaluated is not None:
        evaluated.load(task.model)
    elif config["mode"] == "test":
        refuse_random_weights(task, model, config)
    if config["compile"]:
        task.model.compile()
    return task


def most_steps(config: dict[str, Any], data: DataModule) -> int:
    """The optimizer steps of the run in a single process: several take fewer."""
    trainer = config["trainer"]
    batches = max(1, data.training_samples() // data.options["batch_size"])
    accumulated = trainer.get("accumulate_grad_batches") or 1
    steps = sys.maxsize if (epochs := trainer["max_epochs"]) in (None, -1) else epochs * -(-batches // accumulated)
    return steps if (limit := trainer.get("max_steps")) in (None, -1) else min(steps, limit)


def check_predictions(config: dict[str, Any], data: DataModule) -> None:
    """Raises LightsegError where `evaluation.predictions` has nothing that writes them, before a model is trained."""
    dataset = data.dataset(data.evaluation_split)
    if not task_class(config["task"]).one_results_file and not hasattr(dataset, "write_prediction"):
        raise LightsegError(
            f"evaluation.predictions: data={data.options['name']} (format: {data.options['format']}) has no form for "
            "predictions: leave it false"
        )


def task_with_model(model: dict[str, Any], config: dict[str, Any], data: DataModule) -> Task:
    """The run's task with a new model of these arguments of `create_model`."""
    cls = task_class(config["task"])
    dataset = data.dataset(data.evaluation_split)
    # names and colors that a checkpoint lacks are those of the data
    defaults = {
        "class_names": list(dataset.class_names),
        "palette": [list(map(int, color)) for color in dataset.palette],
    }
    contract = defaults | {key: value for key, value in (model.get("input") or {}).items() if value is not None}
    return cls(
        {**model, "input": contract},
        config["optimizer"],
        config["schedule"],
        resume_schedule=config["resume_schedule"],
        freeze=config["freeze"],
        freeze_bn=config["freeze_bn"],
        channels_last=config["channels_last"],
        progressive=data.progressive,
        **cls.own_options(config, dataset),
    )


def model_options(config: dict[str, Any], data: DataModule) -> dict[str, Any]:
    """The arguments of `create_model` for a resolved configuration."""
    dataset = data.dataset(data.evaluation_split)
    contract = {
        **config["data"].get("eval", {}),
        "train_size": train_size(config["data"], data.progressive),
        "palette": [list(map(int, color)) for color in dataset.palette],
        **data.pixels.contract(),
    }
    if data.tiling is not None:
        contract["tile"] = data.tiling.plain()
    if "oks_nms" in config["data"]:
        oks_nms = contract["oks_nms"] = config["data"]["oks_nms"]
        if oks_nms is not None and not (isinstance(oks_nms, int | float) and 0 <= oks_nms <= 1):
            raise LightsegError(f"data.oks_nms={oks_nms}: must be an OKS from 0 to 1, or null")
    return {
        "backbone": str(config["backbone"]),
        "task": config["task"],
        "num_classes": dataset.num_classes,
        "pretrained": config["pretrained"] if config["resume"] is None else False,
        "output_stride": config["output_stride"],
        "drop_path_rate": data.progressive.max_value("drop_path", config["drop_path_rate"]),
        "input_format": config["input_format"],
        "in_chans": data.pixels.channels,
        "head": config["head"],
        "loss": config["loss"],
        "class_names": list(dataset.class_names),
        "input": contract,
        **({"space": read_space(str(config["backbone"])).content} if is_search(config) else {}),
        **task_class(config["task"]).model_options(config, dataset),
    }


def match_class_names(path: str, spec: dict[str, Any], contract: InputContract, data: DataModule) -> None:
    """Use the class order of a checkpoint for the data: the same names in another order are renumbered.

    Raises:
        LightsegError: another number of classes, or other names.
    """
    dataset = data.dataset(data.evaluation_split)
    names = list(contract.class_names or ())
    dataset.add_classes(names)
    data_names = list(dataset.class_names)
    if spec["num_classes"] != len(data_names):
        raise LightsegError(
            f"{path} has {spec['num_classes']} classes, data={data.options['name']} has {len(data_names)}: "
            f"{shorten(names)} / {shorten(data_names)}"
        )
    if not names or names == data_names:
        return
    if sorted(names) != sorted(data_names):
        raise LightsegError(
            f"{path} was trained on other classes than data={data.options['name']} has: "
            f"{shorten(names)} / {shorten(data_names)}"
        )
    data.use_class_order(names)
    print(f"the classes of data={data.options['name']} are in another order: mapped by name", flush=True)


def refuse_random_weights(task: Task, model: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise LightsegError where `pretrained` does not give all weights, such as those of a classifier.

    Weights that differ between two models are random, and the figures would be too.
    """
    built = dict(task.model.named_parameters())
    second = create_model(**model).named_parameters()
    random = [key for key, parameter in second if not torch.equal(parameter, built[key])]
    if random:
        raise LightsegError(
            f"mode=test pretrained={config['pretrained']}: it does not predict the {model['num_classes']} "
            f"classes of data={config['data']['name']} ({random[0]} would be random): train it, or give other data"
        )
