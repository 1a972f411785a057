"""One run: its folder, its trainer, its evaluation and its record. `train.py` calls these in order."""

import logging
import resource
import sys
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from configs.dmasking import is_search
from lightseg import record, runtime
from lightseg.backbones.net import publishers_evaluation
from lightseg.errors import LightsegError
from lightseg.export.model import answer_from
from lightseg.export.runner import is_exported, open_exported
from lightseg.model import HEADS, create_model
from lightseg.profile import profile_model
from lightseg.search.space_file import read_space
from tasks.base import Task
from tasks.callbacks import EMA, Pictures, RunProgress
from tasks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from tasks.classification import ClassificationTask
from tasks.data import DataModule
from tasks.detection import DetectionTask
from tasks.loggers import build_loggers
from tasks.pose import PoseTask
from tasks.predictions import WritePredictions
from tasks.progressive import Progressive
from tasks.pruning import Pruning
from tasks.segmentation import SegmentationTask

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


def build_trainer(
    config: dict[str, Any], folder: Path, task: Task, data: DataModule, search: pl.Callback | None = None
) -> pl.Trainer:
    options = {key: value for key, value in config["trainer"].items() if key != "name"}
    prune = config.get("prune", {})  # a run of old has no such group
    # first, so that the moving average is one of weights that are pruned already
    callbacks: list[pl.Callback] = [Pruning(**prune)] if prune.get("sparsity") else []
    callbacks += [
        RunProgress(task.monitor),
        Pictures(folder / "images", config["logger"]["pictures"]),
        *checkpoint_callbacks(folder, task.monitor),
    ]
    if search is not None:
        callbacks.append(search)
    if config["ema"]["decay"]:
        callbacks.append(EMA(config["ema"]["decay"], config["ema"]["warmup"]))
    if config["evaluation"]["predictions"]:
        callbacks.append(WritePredictions(folder / "predictions"))
    if "bf16" in str(options["precision"]) and not torch.cuda.is_available() and runtime.emulates_bfloat16():
        print("this CPU has no bfloat16 instructions: trainer.precision=32-true is faster", flush=True)
    resume_step = None
    if config["resume"] is not None:
        resume_step = AtomicCheckpointIO().load_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    defaults = {"num_sanity_val_steps": 0, "log_every_n_steps": 10, "enable_model_summary": False}
    try:
        return pl.Trainer(
            **{**defaults, **options},
            default_root_dir=folder,
            reload_dataloaders_every_n_epochs=int(data.progressive.grows_batches),  # their number of batches changes
            logger=build_loggers(config["logger"], folder, config, resume_step),
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,  # EpochSampler deals the samples out
        )
    except (ValueError, TypeError, RuntimeError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise LightsegError(f"trainer: {' '.join(str(error).split())}") from error


def evaluate(
    trainer: pl.Trainer, task: Task, data: DataModule, config: dict[str, Any], folder: Path
) -> dict[str, float]:
    """The figures of the record: `{"val/mIoU": ...}` of the chosen checkpoint under the full protocol; after a search,
    of the net that it found."""
    options = config["evaluation"]
    if config["mode"] == "train" and not is_search(config):
        chosen = folder / "checkpoints" / f"{options['checkpoint']}.ckpt"
        if chosen.is_file():
            task.load_state_dict(AtomicCheckpointIO().load_checkpoint(chosen)["state_dict"])
    task.flip, task.scales = options["flip"], [float(scale) for scale in options["scales"]]
    trainer.test(task, datamodule=data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("train/")}


def write_record(
    folder: Path,
    config: dict[str, Any],
    defaults: dict[str, Any],
    metrics: dict[str, float],
    task: Task,
    data: DataModule,
    started: float,
) -> dict[str, Any]:
    """`record.json`, last and atomically; also its content."""
    spec = task.model.spec
    height, width = config["profile"]["image_size"] or data.evaluation_size()
    print(f"measuring the cost at {height}x{width} ...", flush=True)
    cost = profile_model(task.model, (height, width), runs=config["profile"]["runs"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    content = {
        "schema": record.SCHEMA,
        "task": config["task"],
        "data": config["data"]["name"],
        "backbone": spec["backbone"],
        "head": spec["head"]["name"],
        "setting": record.setting(config, defaults),
        "metrics": record.finite(metrics),
        "protocol": {
            "split": data.evaluation_split,
            "images": len(data.dataset(data.evaluation_split)),
            "resolution": task.resolution,
            **({"crop": data.options["eval"]} if "eval" in data.options else {}),
            "flip": config["evaluation"]["flip"],
            "scales": config["evaluation"]["scales"],
            "checkpoint": config["evaluation"]["checkpoint"] if config["mode"] == "train" else config["ckpt"],
            "ema": bool(config["ema"]["decay"]),
            "precision": config["trainer"]["precision"],
            **task.protocol(),
            "left_out": getattr(data.dataset(data.evaluation_split), "report", []),
            "skipped": [{"path": path, "reason": reason} for path, reason in data.skipped],
        },
        "cost": {**cost, "run_peak_memory_mb": round(peak)},
        "config": config,
        "config_hash": record.config_hash(config),
        "seed": config["seed"],
        "started": datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds"),
        "wall_s": round(task.wall_before + time.time() - started, 1),
        "versions": record.versions(),
        "git": record.git_state(Path(__file__).parents[1]),
        "data_fingerprint": data.fingerprint(),
    }
    try:
        record.write_json(folder / "record.json", content)
    except OSError as error:
        raise LightsegError(
            f"cannot write {folder / 'record.json'}: {error.strerror}; resume={folder} writes it again"
        ) from error
    return content


def summary(content: dict[str, Any], folder: Path, unit: str) -> str:
    """What a person wants to see at the end of a run; unit: what was evaluated, "images"."""
    metrics, cost, protocol = content["metrics"], content["cost"], content["protocol"]
    figures = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items() if v is not None and k.count("/") == 1)
    tables: dict[str, list[tuple[float, str]]] = {}  # of classes: val/IoU/road
    for key, value in metrics.items():
        if key.count("/") > 1 and value is not None:
            _, kind, name = key.split("/", 2)
            tables.setdefault(kind, []).append((value, name))
    return "\n".join(
        [
            f"{content['data']} ({protocol['images']} {unit}): {figures}",
            *(f"{kind} %: {_lowest(values)}" for kind, values in tables.items()),
            f"cost: {cost['params'] / 1e6:.2f} M parameters, {cost['madds'] / 1e9:.2f} G multiply-adds, "
            f"{cost['latency_ms']:.1f} ms on CPU; run: {content['wall_s']:.0f} s, {cost['run_peak_memory_mb']} MB",
            f"pictures: {folder / 'images'}\nrecord: {folder / 'record.json'}",
        ]
    )


def _lowest(values: list[tuple[float, str]], most: int = 20) -> str:
    shown = values if len(values) <= most else sorted(values)[:most]
    text = "  ".join(f"{name} {100 * value:.1f}" for value, name in shown)
    return text if len(values) <= most else f"{text}  (the lowest {most} of {len(values)})"


def seed_everything(seed: int) -> None:
    pl.seed_everything(seed, workers=True, verbose=False)


def quiet() -> None:
    """Lightning's advice on GPUs, workers and litmodels is not for the user of train.py."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    advice = (
        "does not have many workers|Checkpoint directory.*exists and is not empty|LeafSpec|but have no `val_dataloader`"
    )
    loading = "loading a checkpoint outside the 'fit' stage|smaller than the logging interval"
    figures = "could not find the monitored key|sync_dist=True"  # not every epoch has them; metrics join theirs
    warnings.filterwarnings("ignore", f".*({advice}|{loading}|{figures}).*")
