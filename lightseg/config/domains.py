"""The table of the configuration's keys: the values that each may have.

A section holds the keys of every run (`ALL`), of a task, or of a search; `domain_of` reads them. The trainer's are in
`trainer_keys`. A key of a task from another package is not here: its default decides which type of value fits.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from lightseg.catalog.choices import PRUNING_SCOPES, SCHEDULES
from lightseg.catalog.scaling import MAX_PHI, MAX_SCALE
from lightseg.config.domain import Domain, anything, either, many, number, one_of, optional, path, switch, table, whole
from lightseg.config.domain import text as word
from lightseg.config.multilabel_keys import MULTILABEL_LOSS, OF_SINGLE_LABELS
from lightseg.config.pixel_keys import PIXELS, TILES
from lightseg.config.renamed_keys import RENAMED
from lightseg.config.search_keys import DMASKING, NETADAPT, OPTUNA
from lightseg.config.split_keys import FOLDERS, PANOPTIC, SPLIT_ANNOTATIONS, SPLIT_FOLDERS
from lightseg.config.trainer_keys import TRAINER

MIN_SIDE = 32  # pixels: the stride of the nets
MAX_SEED = 2**32 - 1

SHARE, BELOW_ONE, POSITIVE, NOT_NEGATIVE = number("[0, 1]"), number("[0, 1)"), number("(0, inf)"), number("[0, inf)")
SIDE = whole(MIN_SIDE)
SIZE = many(SIDE, 2)
NAME = path("a name or the path of a file")
PART = Domain("a part", lambda value: isinstance(value, str))  # of the model; a number is none
COLOR = many(whole(0, 255), 3)
COLORS = optional(many(COLOR))
BOXES_ON = one_of("shown", "stored")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")

COMMON: dict[str, Domain] = {
    "task": NAME,
    "data": optional(NAME),
    "trainer": NAME,
    "logger": optional(either(NAME, many(NAME, least=1))),
    "launcher": NAME,
    "search": NAME,
    "experiment": optional(NAME),
    "backbone": path("a single word: a name or the path of an arch.yaml"),
    "depth": optional(number(f"(0, {MAX_SCALE:g}]")),
    "width": optional(number(f"(0, {MAX_SCALE:g}]")),
    "phi": optional(number(f"[-{MAX_PHI}, {MAX_PHI}]")),
    "mode": one_of("train", "test"),
    "ckpt": optional(path()),
    "resume": optional(path()),
    "resume_schedule": one_of("extend", "restart"),
    "runs_dir": path(),
    "seed": whole(0, MAX_SEED),
    "pretrained": either(switch(), path("the path of a weight file")),
    "input_format": optional(one_of("bgr255")),
    "output_stride": optional(one_of(8, 16, 32, 64)),
    "drop_path_rate": BELOW_ONE,
    "head.name": word("a name"),
    "optimizer.name": word("a name"),
    "optimizer.lr": either(POSITIVE, one_of("find")),
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": BELOW_ONE,
    "optimizer.backbone_lr_mult": NOT_NEGATIVE,
    "optimizer.eps": optional(POSITIVE),
    "optimizer.layer_decay": optional(number("(0, 1]")),
    "schedule.name": one_of(*SCHEDULES),
    "schedule.power": POSITIVE,
    "schedule.milestones": many(SHARE, rising=True),
    "schedule.gamma": number("(0, 1]"),
    "schedule.decay_epochs": POSITIVE,
    "schedule.min_lr": NOT_NEGATIVE,
    "schedule.warmup_steps": optional(whole(0)),
    "schedule.stages": whole(1),
    "schedule.image_size": optional(many(SIDE, least=1)),
    "schedule.randaugment": optional(many(number("[0, 31]"), least=1)),
    "schedule.mixup": optional(many(NOT_NEGATIVE, least=1)),
    "schedule.cutmix": optional(many(NOT_NEGATIVE, least=1)),
    "schedule.dropout": optional(many(BELOW_ONE, least=1)),
    "schedule.drop_path": optional(many(BELOW_ONE, least=1)),
    "schedule.images_per_step": switch(),
    "ema.decay": BELOW_ONE,
    "ema.warmup": switch(),
    "prune.sparsity": BELOW_ONE,
    "prune.scope": one_of(*PRUNING_SCOPES),
    "freeze": optional(either(PART, many(PART), table("{part: epochs}"))),
    "freeze_bn": switch(),
    "channels_last": switch(),
    "compile": switch(),
    "log": one_of("text", "jsonl"),
    "checkpoints.top_k": whole(1),
    "evaluation.checkpoint": one_of("best", "last"),
    "evaluation.flip": switch(),
    "evaluation.scales": many(number("[0.1, 8]"), least=1),
    "evaluation.predictions": switch(),
    "profile.image_size": optional(SIZE),
    "profile.runs": whole(1),
    "data.name": word("a name"),
    "data.file": path(),
    "data.format": word("a name"),
    "data.root": optional(path("the path of a folder")),
    "data.classes": optional(
        either(many(word("a name")), table("names with their ids, as in {road: 7, car: [26, 27]}"))
    ),
    "data.split.group": optional(word("a pattern with brackets, as in (.*)_[0-9]+")),
    "data.merge_classes": optional(table("names with their classes, as in {vehicle: [car, bus]}")),
    "data.count.train": whole(1),
    "data.count.val": whole(1),
    "data.world_seed": whole(0),
    "data.batch_size": either(whole(1), one_of("auto")),
    "data.eval_batch_size": whole(1),
    "data.workers": whole(0),
    "data.cache": switch(),
    "data.on_error": one_of("raise", "skip"),
    **PIXELS,
    "data.augment.hflip": SHARE,
    "data.augment.extra": optional(many(either(word("a name"), table("{name: {argument: value}}")))),
    "logger.name": either(word("a name"), many(word("a name"))),
    "logger.images": whole(0),
    "logger.project": optional(word()),
    "logger.entity": optional(word()),
    "logger.mode": one_of("auto", "online", "offline", "disabled"),
    "logger.tracking_uri": optional(word()),
    "logger.experiment_name": optional(word()),
    "logger.workspace": optional(word()),
    "logger.online": optional(switch()),
    "launcher.name": word("a name"),
    "launcher.cluster": one_of("slurm", "local"),
    "launcher.partition": optional(word("a name")),
    "launcher.time": whole(1),
    "launcher.gpus": whole(0),
    "launcher.cpus": whole(1),
    "launcher.memory_gb": optional(POSITIVE),
    "search.name": word("a name"),
    **{f"trainer.{key}": domain for key, domain in TRAINER.items()},
}

SEG: dict[str, Domain] = {
    "head.variant": optional(word("a name")),
    "head.filters": optional(whole(1)),
    "head.dropout": BELOW_ONE,
    "head.strides": optional(many(one_of(2, 4, 8, 16, 32, 64), least=1, rising=True)),
    "head.widths": optional(many(whole(1), least=1)),
    "head.context": optional(whole(1)),
    "head.bins": optional(many(whole(1), least=1)),
    "head.fusion": optional(word("a name")),
    "head.auxiliary": optional(NOT_NEGATIVE),
    "loss.class_weights": optional(either(many(NOT_NEGATIVE, least=1), one_of("auto"))),
    "loss.label_smoothing": BELOW_ONE,
    "loss.ohem": optional(number("(0, 1)")),
    "loss.dice": NOT_NEGATIVE,
    **SPLIT_FOLDERS,
    **SPLIT_ANNOTATIONS,
    **FOLDERS,
    **PANOPTIC,
    "data.background": optional(word("a name")),
    "data.size": SIZE,
    **TILES,
    "data.coarse": switch(),
    "data.ignore": many(whole(0, 255)),
    "data.palette": COLORS,
    "data.colors": optional(many(either(COLOR, many(COLOR, least=1)))),
    "data.void_colors": COLORS,
    "data.color_tolerance": whole(0, 255),
    "data.image_end": word(),
    "data.mask_end": word(),
    "data.augment.crop_size": SIZE,
    "data.augment.scale": many(POSITIVE, 2, rising=True),
    "data.augment.color": BELOW_ONE,
}
CLS: dict[str, Domain] = {
    "head.dropout": optional(BELOW_ONE),
    "loss.label_smoothing": BELOW_ONE,
    "mix.mixup": NOT_NEGATIVE,
    "mix.cutmix": NOT_NEGATIVE,
    "mix.prob": SHARE,
    "mix.switch_prob": SHARE,
    **SPLIT_FOLDERS,
    "data.images": optional(path("a folder")),
    "data.columns.file": optional(word("a name")),
    "data.columns.label": optional(word("a name")),
    "data.sampler": optional(one_of("balanced")),
    "data.size": SIDE,
    "data.augment.size": SIDE,
    "data.augment.scale": many(number("(0, 1]"), 2, rising=True),
    "data.augment.ratio": many(POSITIVE, 2, rising=True),
    "data.augment.color": BELOW_ONE,
    "data.augment.randaugment": number("[0, 31]"),
    "data.augment.trivialaugment": switch(),
    "data.augment.erasing": SHARE,
    "data.eval.size": optional(SIDE),
    "data.eval.crop_pct": optional(number("(0, 1]")),
    "data.eval.interpolation": optional(one_of(*INTERPOLATIONS)),
}
MULTILABEL = {key: domain for key, domain in CLS.items() if key not in OF_SINGLE_LABELS} | MULTILABEL_LOSS
DET: dict[str, Domain] = {
    "head.variant": optional(word("a name")),
    "head.extra_channels": many(whole(2), 4),
    "head.score_threshold": BELOW_ONE,
    "head.topk_candidates": whole(1),
    "head.nms_threshold": number("(0, 1]"),
    "head.detections_per_image": whole(1),
    "loss.iou_threshold": number("(0, 1]"),
    "loss.negative_ratio": POSITIVE,
    "loss.focal": switch(),
    "loss.focal_alpha": number("(0, 1)"),
    "loss.focal_gamma": NOT_NEGATIVE,
    **SPLIT_FOLDERS,
    **SPLIT_ANNOTATIONS,
    "data.single_class": switch(),
    "data.first_pixel": one_of(0, 1),
    "data.size": SIZE,
    "data.augment.size": SIZE,
    "data.augment.iou_crop": switch(),
    "data.augment.expand": optional(many(number("[1, inf)"), 2, rising=True)),
    "data.augment.photometric": BELOW_ONE,
    "data.augment.keep_aspect": switch(),
    "data.augment.mosaic": SHARE,
    "data.augment.multi_scale": optional(many(number("[0.1, inf)"), 2, rising=True)),
    "data.eval.size": SIZE,
    "data.eval.keep_aspect": switch(),
    "data.boxes_on": BOXES_ON,
    "data.max_detections": whole(11),
    **TILES,
}
POSE: dict[str, Domain] = {
    "head.variant": optional(word("a name")),
    "head.width": optional(whole(2)),
    "head.blocks": optional(whole(1)),
    "head.last_channels": optional(whole(1)),
    "head.codec": optional(word("a name")),
    "head.dark": optional(switch()),
    "head.rounded": optional(switch()),
    "head.sigma": optional(either(POSITIVE, many(POSITIVE, 2))),
    "head.split": optional(number("[1, inf)")),
    "head.hidden": optional(whole(1)),
    "head.image_size": optional(SIZE),
    "head.attention": optional(whole(1)),
    "head.expansion": optional(whole(1)),
    "head.kernel": optional(whole(1)),
    "loss.oks": switch(),
    "loss.oks_weight": NOT_NEGATIVE,
    "loss.sigmas": optional(many(POSITIVE, least=1)),
    "loss.beta": POSITIVE,
    **SPLIT_FOLDERS,
    **SPLIT_ANNOTATIONS,
    "data.size": SIZE,
    "data.boxes_on": BOXES_ON,
    "data.least_visibility": optional(number("(0, 1]")),
    "data.skeleton.names": optional(many(word("a name"), least=1)),
    "data.skeleton.edges": optional(anything("a list of pairs of points")),
    "data.skeleton.pairs": optional(anything("a list of pairs of points")),
    "data.skeleton.sigmas": optional(anything("a list of numbers, or {point: number}")),
    "data.category": optional(word("a name")),
    "data.person_boxes": optional(path("the path of a file")),
    "data.least_box_score": SHARE,
    "data.oks_nms": optional(SHARE),
    "data.pck.unit": optional(either(word("a name"), many(word("a name"), 2))),
    "data.pck.threshold": POSITIVE,
    "data.augment.size": SIZE,
    "data.augment.scale": optional(many(number("[0.1, inf)"), 2, rising=True)),
    "data.augment.scale_prob": SHARE,
    "data.augment.rotation": number("[0, 180]"),
    "data.augment.rotation_prob": SHARE,
    "data.augment.shift": SHARE,
    "data.augment.shift_prob": SHARE,
    "data.augment.half_body": SHARE,
    "data.augment.photometric": BELOW_ONE,
    "data.eval.size": SIZE,
}
ALL = "all"
SECTIONS: dict[str, dict[str, Domain]] = {
    ALL: COMMON,
    **{"seg": SEG, "cls": CLS, "multilabel": MULTILABEL, "det": DET, "pose": POSE},
    **{"search=dmasking": DMASKING, "search=netadapt": NETADAPT, "search=optuna": OPTUNA},
}
PARENTS = frozenset(key.rpartition(".")[0] for keys in SECTIONS.values() for key in keys)


def sections_of(config: Any) -> tuple[str, ...]:
    """The sections with the keys of a configuration, or of a group of it: of its task, its search and all runs."""
    search = config.get("search")
    name = search.get("name") if hasattr(search, "get") else search
    return (str(config.get("task")), f"search={name}", ALL)


def domain_of(key: str, sections: Iterable[str]) -> Domain | None:
    """The domain of a dotted key. None: the table does not have it."""
    key = RENAMED.get(key, key)
    return next((SECTIONS[name][key] for name in sections if key in SECTIONS.get(name, {})), None)


def domains_of(key: str) -> list[Domain]:
    """The domains of a dotted key in all sections."""
    key = RENAMED.get(key, key)
    return [keys[key] for keys in SECTIONS.values() if key in keys]


def all_keys() -> Iterator[str]:
    yield from dict.fromkeys(key for keys in SECTIONS.values() for key in keys)
