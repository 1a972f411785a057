"""Checks of a composed configuration: errors of one line, before torch is imported."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.catalog import backbones as catalog
from lightseg.catalog.arch_yaml import read_arch
from lightseg.catalog.choices import SCHEDULES
from lightseg.catalog.spaces import shipped
from lightseg.catalog.tasks import TASKS, TaskInfo, formats, get_task
from lightseg.config.dmasking import check_dmasking, is_search
from lightseg.config.extra import check_extra
from lightseg.config.freeze import read_freeze
from lightseg.errors import LightsegError, nearest

CHOICES: dict[str, tuple[Any, ...]] = {  # keys with a fixed list of values
    "mode": ("train", "test"),
    "resume_schedule": ("extend", "restart"),
    "output_stride": (8, 16, 32),
    "input_format": ("bgr255",),
    "schedule.name": SCHEDULES,
    "evaluation.checkpoint": ("best", "last"),
    "data.on_error": ("raise", "skip"),
    "log": ("text", "jsonl"),
    "logger.mode": ("auto", "online", "offline", "disabled"),
}


MEASURED = {  # keys that have a number -> words for which a run measures it
    "optimizer.lr": ("find",),
    "data.batch_size": ("auto",),
    "batch_size": ("auto",),  # in a data file
}
OWN_TRAINER_KEYS = ("patience",)  # of the `trainer` group, not arguments of Lightning's Trainer


def check(config: DictConfig, default_data: str) -> None:
    """Raise LightsegError for a composed configuration with which no run can start.

    default_data: the task's default data set, which needs no folder.
    """
    for key, allowed in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value is not None and value not in allowed:
            raise LightsegError(f"{key}={value}: choose from {', '.join(map(str, allowed))}")
    if OmegaConf.select(config, "resume_schedule") == "restart" and config.schedule.get("images_per_step"):
        raise LightsegError(
            "resume_schedule=restart is not for schedule.images_per_step=true: give resume_schedule=extend"
        )
    parts = read_freeze(OmegaConf.to_container(config).get("freeze"))  # type: ignore[union-attr]
    if parts and is_search(config):
        raise LightsegError("freeze is not for search=dmasking: leave it null")
    if is_search(config):
        check_dmasking(config)
    elif config.backbone is not None:  # None: that of `ckpt`
        _check_backbone(str(config.backbone))
    info = get_task(config.task)
    _check_head(config, info)
    if not info.scales and list(config.evaluation.scales) != [1.0]:
        raise LightsegError(
            f"evaluation.scales is not for task={info.name}, which evaluates at a single scale: leave it at [1.0]"
        )
    if not info.flip and config.evaluation.flip:
        raise LightsegError(f"evaluation.flip is not for task={info.name}: leave it false")
    for key, tasks in _schedules().items():
        if info.name not in tasks and OmegaConf.select(config, f"schedule.{key}") is not None:
            raise LightsegError(
                f"schedule.{key} is for task={' and '.join(tasks)} only: leave it null for task={info.name}"
            )
    if "root" in config.data:
        _check_root(config, default_data)
    if config.mode == "train":
        check_extra(OmegaConf.to_container(config.data.augment), config.task)  # type: ignore[arg-type]
    boxes = config.data.get("person_boxes")
    if boxes is not None and not Path(str(boxes)).is_file():
        raise LightsegError(f"data.person_boxes={boxes}: no such file; give a detector's boxes as COCO results")
    if isinstance(config.pretrained, str) and not Path(config.pretrained).is_file():
        raise LightsegError(
            f"pretrained={config.pretrained}: no such file; give true, false or the path of a weight file"
        )


def _check_head(config: DictConfig, info: TaskInfo) -> None:
    if config.head.name is None:  # None: that of `ckpt`
        return
    head = info.head(config.head.name)
    variant = config.head.get("variant")
    if variant is not None and variant not in head.variants:
        choices = f"choose from {', '.join(head.variants)}" if head.variants else "it has no variants"
        raise LightsegError(f"head.variant={variant} (head.name={config.head.name}): {choices}")
    trained = bool(config.pretrained) and isinstance(config.pretrained, head.pretrained)
    if config.mode == "test" and config.ckpt is None and not trained:
        hints = [f"; or {head.pretrained_hint}" for head in info.heads.values() if head.pretrained_hint]
        raise LightsegError(
            "mode=test needs ckpt=<checkpoint>, for example runs/seg/.../checkpoints/best.ckpt" + "".join(hints)
        )


def _schedules() -> dict[str, list[str]]:
    """Keys of the `schedule` group that only some tasks have -> those tasks."""
    tasks: dict[str, list[str]] = {}
    for info in TASKS.values():
        for key in info.schedules:
            tasks.setdefault(key, []).append(info.name)
    return tasks


def _check_root(config: DictConfig, default_data: str) -> None:
    if config.data.root is None:
        raise LightsegError(
            f"data={config.data.name} needs data.root=<folder of the data set>; data={default_data} needs none"
        )
    is_generated = formats()[config.data.format].formats[config.data.format].prepare
    if not is_generated and not Path(config.data.root).is_dir():
        raise LightsegError(
            f"data.root={config.data.root}: no such folder ({Path(config.data.root).absolute()}); "
            f"data={default_data} needs none"
        )


def _check_backbone(name: str) -> None:
    if name in shipped():
        raise LightsegError(f"backbone={name} is a search space: give search=dmasking search.target=<cost> too")
    if not catalog.is_known(name):
        raise LightsegError(catalog.unknown_message(name))
    if catalog.is_arch(name):
        read_arch(name)


def wrong_kind(default: Any, value: Any, key: str) -> str | None:
    """A description of the values that fit, for a value of another type than the default's. None for one that fits."""
    if (
        key in ("pretrained",)
        or default is None
        or (value is None and not isinstance(default, bool | int | DictConfig))
    ):
        return None
    if value is None and key.startswith("trainer."):
        return None
    if value in MEASURED.get(key, ()):
        return None
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(default, float):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(default, str):
        return None if not isinstance(value, list | dict) else "a single word"
    if isinstance(default, DictConfig):
        return (
            None if isinstance(value, dict) else f"given key by key, as in {key}.{next(map(str, default), 'key')}=..."
        )
    return None if isinstance(value, list) else "a list, as in [1, 2]"


def check_trainer_argument(name: str) -> None:
    """Against the signature of Lightning's Trainer, read from its source: importing it takes seconds."""
    spec = importlib.util.find_spec("pytorch_lightning")
    if spec is None or not spec.submodule_search_locations:
        raise LightsegError("pytorch-lightning is not installed: pip install 'lightseg[train]'")
    source = (Path(spec.submodule_search_locations[0]) / "trainer" / "trainer.py").read_text()
    trainer = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Trainer")
    init = next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    names = {arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)} - {"self"}
    ours = {"logger", "callbacks", "plugins", "default_root_dir", "use_distributed_sampler", "enable_checkpointing"}
    if name in OWN_TRAINER_KEYS:  # of a run of an older release, whose configuration lacks it
        return
    if name in ours:
        raise LightsegError(f"trainer.{name} is set by lightseg itself: use the keys that --help lists")
    if name not in names:
        raise LightsegError(f"no key 'trainer.{name}': {nearest(name, sorted(names - ours))}")
