"""One run: its folder, its trainer, its evaluation and its record. `train.py` calls these in order."""

from typing import Any

import torch

from lightseg.backbones.build import publishers_evaluation
from lightseg.catalog.spaces import read_space
from lightseg.config.dmasking import is_search
from lightseg.errors import LightsegError
from lightseg.export.exported_model import answer_from
from lightseg.export.runner import is_exported, open_exported
from lightseg.model import HEADS, create_model

from ..base import Task
from ..classification import ClassificationTask
from ..data import DataModule
from ..detection import DetectionTask
from ..pose import PoseTask
from ..segmentation import SegmentationTask
from .checkpoints import AtomicCheckpointIO
from .progressive import Progressive

TASKS: dict[str, type[Task]] = {
    "seg": SegmentationTask, "cls": ClassificationTask, "det": DetectionTask, "pose": PoseTask,
}  # fmt: skip


def data_options(config: dict[str, Any], progressive: Progressive) -> dict[str, Any]:
    """The `data` group, with what it leaves to the backbone's publisher filled in: how evaluation pictures are cut.

    A run that trains evaluates at the (largest) size it trains at, one of pretrained weights at their publisher's.
    """
    options = config["data"]
    if None not in options.get("eval", {}).values():
        return options
    published = publishers_evaluation(str(config["backbone"]))
    if config["mode"] == "train" or config["ckpt"] is not None:
        published["size"] = int(progressive.most("image_size", options["augment"]["size"]))
    return {**options, "eval": {k: published[k] if v is None else v for k, v in options["eval"].items()}}


def build_task(config: dict[str, Any], data: DataModule) -> Task:
    """The task over a new model, or over the model of `ckpt` in test mode. Reads the data's lists of files first."""
    dataset = data.dataset(data.evaluation_split)
    if config["mode"] == "train":
        data.check()
        for split in ("train", data.evaluation_split):
            if not data.dataset(split).has_labels:
                raise LightsegError(f"the {split} split has no labels: it serves mode=test evaluation.predictions=true")
    if config["mode"] == "test" and config["ckpt"] is not None:
        path, classes = config["ckpt"], dataset.num_classes
        exported = open_exported(path) if is_exported(path) else None
        if exported is not None:
            model = {**exported.metadata.spec, "pretrained": False}
        else:
            checkpoint = AtomicCheckpointIO().load_checkpoint(path)
            model = checkpoint.get("hyper_parameters", {}).get("model")
        if not isinstance(model, dict):
            raise LightsegError(f"{path} is not a checkpoint of a lightseg run")
        if model["task"] != config["task"]:
            raise LightsegError(f"{path} is of task={model['task']}, not task={config['task']}")
        if model["num_classes"] != classes:
            raise LightsegError(
                f"{path} knows {model['num_classes']} classes, data={config['data']['name']} has {classes}"
            )
        # how answers are read is the evaluation's to say, and the configuration is what the record will show of it
        decoding = getattr(HEADS[model["task"]][model["head"]["name"]], "DECODING", ())
        model = {**model, "head": {**model["head"], **{key: config["head"][key] for key in decoding}}}
    else:
        model = {
            "backbone": str(config["backbone"]),
            "task": config["task"],
            "num_classes": dataset.num_classes,
            "pretrained": config["pretrained"] if config["resume"] is None else False,
            "output_stride": config["output_stride"],
            "drop_path_rate": data.progressive.most("drop_path", config["drop_path_rate"]),
            "pixels": config["pixels"],
            "head": config["head"],
            "loss": config["loss"],
            "class_names": list(dataset.class_names),
            **({"space": read_space(str(config["backbone"])).content} if is_search(config) else {}),
            **TASKS[config["task"]].model_options(config, dataset),
        }
    task = TASKS[config["task"]](
        model,
        config["optimizer"],
        config["schedule"],
        freeze_bn=config["freeze_bn"],
        channels_last=config["channels_last"],
        palette=[list(map(int, colour)) for colour in dataset.palette],
        progressive=data.progressive,
        **TASKS[config["task"]].own_options(config, dataset),
    )
    if config["mode"] == "test" and config["ckpt"] is not None:
        if exported is not None:
            answer_from(task.model, exported)
        else:
            task.load_state_dict(checkpoint["state_dict"])
    elif config["mode"] == "test":
        refuse_random_weights(task, model, config)
    if config["compile"]:
        task.model.compile()
    return task


def refuse_random_weights(task: Task, model: dict[str, Any], config: dict[str, Any]) -> None:
    """What `pretrained` did not fill differs between two builds, such as a classifier for other classes: a figure of
    that would be chance."""
    built = dict(task.model.named_parameters())
    random = [key for key, again in create_model(**model).named_parameters() if not torch.equal(again, built[key])]
    if random:
        raise LightsegError(
            f"mode=test pretrained={config['pretrained']}: it does not answer with the {model['num_classes']} "
            f"classes of data={config['data']['name']} ({random[0]} would be random): train it, or give other data"
        )
