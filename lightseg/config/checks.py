"""Checks of a composed configuration: errors of one line, before torch is imported."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lightseg.catalog import backbones as catalog
from lightseg.catalog.arch_yaml import read_arch
from lightseg.catalog.spaces import shipped
from lightseg.catalog.tasks import TASKS, TaskInfo, formats, get_task
from lightseg.config.data_choice import check_split
from lightseg.config.dmasking import check_dmasking, is_search
from lightseg.config.extra import check_extra
from lightseg.config.freeze import read_freeze
from lightseg.config.trainer_keys import check_trainer
from lightseg.errors import LightsegError


def check(config: DictConfig, default_data: str) -> None:
    """Raise LightsegError for a composed configuration with which no run can start.

    default_data: the task's default data set, which needs no folder.
    """
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
    check_split(config.data)
    if "root" in config.data:
        _check_root(config, default_data)
    if config.mode == "train":
        check_trainer(OmegaConf.to_container(config.trainer), config.schedule)  # type: ignore[arg-type]
        _check_optimizer(config)
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


def _check_optimizer(config: DictConfig) -> None:
    if config.optimizer.lr != "find" and config.schedule.min_lr > config.optimizer.lr:
        raise LightsegError(
            f"schedule.min_lr={config.schedule.min_lr} is above optimizer.lr={config.optimizer.lr}: give less"
        )
    if config.optimizer.name == "sgd" and config.optimizer.momentum == 0:
        raise LightsegError(
            "optimizer.momentum=0: sgd is Nesterov's and needs momentum above 0: give some, or optimizer.name=momentum"
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
