"""The arguments of Lightning's Trainer: the values that a run can have, and what no run has, with the reason.

Lightning is not imported: that takes seconds.
"""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

from lightseg.config.domain import Domain, either, many, number, one_of, optional, switch, text, whole
from lightseg.errors import LightsegError, nearest

BATCHES = either(whole(1), number("(0, 1]"))  # 1 is a batch, 1.0 is all of them
PRECISIONS = {32: "32-true", "32": "32-true", 16: "16-mixed", "16": "16-mixed", "bf16": "bf16-mixed"}
UNITS = ("weeks", "days", "hours", "minutes", "seconds")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")


def _devices() -> Domain:
    counts = either(whole(1), one_of(-1, "auto"), many(whole(0), least=1))

    def numbers(value: Any) -> Any:
        """The text "2" as 2, and "0,1" as [0, 1]."""
        try:
            parts = [int(part) for part in value.split(",") if part.strip()] if isinstance(value, str) else None
        except ValueError:
            return value
        return value if not parts else parts if "," in value else parts[0]

    def fits(value: Any) -> bool:
        value = numbers(value)
        return counts.fits(value) and not (isinstance(value, list) and len(set(value)) < len(value))

    description = "a number of devices (1 or more; -1 and auto: all), or the devices as a list of numbers, as in [0, 1]"
    return Domain(description, fits, numbers)


def _is_time(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(unit in UNITS and number("[0, inf)").fits(count) for unit, count in value.items())
    return isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value) is not None


OWN = ("name", "patience")  # of the `trainer` group, not arguments of Lightning's Trainer
TRAINER: dict[str, Domain] = {
    "name": text(),
    "patience": optional(whole(1)),
    "max_epochs": optional(
        Domain(
            "a whole number, 1 or more, or -1 (with trainer.max_steps)",
            lambda value: type(value) is int and (value >= 1 or value == -1),
            lambda value: None if value == -1 else value,
        )
    ),
    "min_epochs": optional(whole(0)),
    "max_steps": either(whole(1), one_of(-1)),
    "min_steps": optional(whole(0)),
    "max_time": optional(Domain("days:hours:minutes:seconds, as in 00:12:00:00, or {hours: 12}", _is_time)),
    "limit_train_batches": optional(BATCHES),
    "limit_val_batches": optional(either(whole(0), number("(0, 1]"))),
    "limit_test_batches": optional(BATCHES),
    "val_check_interval": optional(BATCHES),
    "check_val_every_n_epoch": optional(whole(1)),
    "num_sanity_val_steps": whole(-1),
    "log_every_n_steps": whole(1),
    "fast_dev_run": either(switch(), whole(0)),
    "enable_progress_bar": switch(),
    "enable_model_summary": switch(),
    "accumulate_grad_batches": whole(1),
    "gradient_clip_val": optional(number("[0, inf)")),
    "gradient_clip_algorithm": optional(one_of("norm", "value")),
    "accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "devices": _devices(),
    "num_nodes": whole(1),
    "strategy": one_of(*STRATEGIES),
    "precision": one_of("32-true", "bf16-mixed", "16-mixed", aliases=PRECISIONS),
    "deterministic": optional(either(switch(), one_of("warn"))),
    "benchmark": optional(switch()),
    "inference_mode": switch(),
    "sync_batchnorm": switch(),
    "detect_anomaly": switch(),
    "profiler": optional(one_of("simple", "advanced", "pytorch")),
}

_BY_LIGHTSEG = "is set by lightseg itself: use the keys that --help lists"
REFUSED: dict[str, str] = {  # of Trainer's arguments: why a run has none
    **dict.fromkeys(
        (
            "logger", "callbacks", "plugins", "default_root_dir", "use_distributed_sampler", "enable_checkpointing",
            "reload_dataloaders_every_n_epochs", "enable_autolog_hparams",
        ),
        _BY_LIGHTSEG,
    ),
    "overfit_batches": "is not supported, as each epoch draws its batches anew: give data of a few images, such as "
    "data.count.train=8 data.root=<new folder> of the mini sets",
    "barebones": "switches off checkpoints and logs, of which a run consists: leave it out, and for a short trial give "
    "trainer.fast_dev_run=true",
    "limit_predict_batches": "has no effect, as a run predicts nothing: give trainer.limit_test_batches",
    "model_registry": "is not supported: lightseg sync uploads runs",
}  # fmt: skip

HINTS: dict[str, dict[Any, str]] = {  # what to do instead of such values
    "accumulate_grad_batches": {dict: "a number for each epoch is not supported; batches can grow with "
                                      "schedule.images_per_step"},
    "precision": {
        ("64", "64-true", 64): "images are normalized in float32",
        ("16-true", "bf16-true"): "16-mixed and bf16-mixed keep the weights in float32",
        ("transformer-engine", "transformer-engine-float16"): "the nets are convolutions, which it does not speed up",
    },
    "accelerator": {("tpu", "hpu", "xla"): "lightseg runs on CPUs, CUDA and Apple GPUs"},
    "strategy": {
        ("ddp_spawn", "ddp_fork", "ddp_notebook"): "ddp starts the processes of a run; from a notebook run "
        "`lightseg train` as a command",
        ("fsdp", "deepspeed", "model_parallel"): "the nets fit on each device, which ddp needs",
    },
    "val_check_interval": {(str, dict): "give batches, or a share of the epoch (0.5)"},
}  # fmt: skip


def hint(key: str, value: Any) -> str:
    """What to do instead of a value that the trainer's `key` cannot have, as the end of a line."""
    for values, text_of in HINTS.get(key, {}).items():
        for known in values if isinstance(values, tuple) else (values,):
            if isinstance(value, known) if isinstance(known, type) else value == known:
                return f" ({text_of})"
    return ""


def check_trainer_argument(name: str) -> None:
    """LightsegError for an argument that lightseg sets itself, does not support, or that Lightning does not have."""
    if name in REFUSED:
        raise LightsegError(f"trainer.{name} {REFUSED[name]}")
    if name not in TRAINER and name not in (names := trainer_arguments()):
        raise LightsegError(f"no key 'trainer.{name}': {nearest(name, sorted(names - REFUSED.keys()))}")


def trainer_arguments() -> set[str]:
    """The arguments of Lightning's Trainer, from its source."""
    spec = importlib.util.find_spec("pytorch_lightning")
    if spec is None or not spec.submodule_search_locations:
        raise LightsegError("pytorch-lightning is not installed: pip install 'lightseg[train]'")
    source = (Path(spec.submodule_search_locations[0]) / "trainer" / "trainer.py").read_text()
    trainer = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Trainer")
    init = next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    return {arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)} - {"self"}


def check_trainer(trainer: dict[str, Any], schedule: dict[str, Any]) -> None:
    """LightsegError for arguments that contradict each other, in a training."""
    interval, steps = trainer.get("val_check_interval"), trainer.get("max_steps") or -1
    if trainer.get("max_epochs") is None:
        if steps < 1:
            raise LightsegError(
                "trainer.max_epochs=null: the learning rate follows the length of the run: give trainer.max_epochs, or "
                "trainer.max_steps=<optimizer steps> with it (trainer.max_time can end a run earlier)"
            )
        if schedule["name"] == "exponential":
            raise LightsegError("schedule.name=exponential counts in epochs: give trainer.max_epochs")
    if trainer.get("check_val_every_n_epoch", 1) is None and type(interval) is not int:
        raise LightsegError(
            "trainer.check_val_every_n_epoch=null counts batches across epochs: "
            "give trainer.val_check_interval=<batches>"
        )
    devices = trainer.get("devices")
    if trainer.get("accelerator") == "cpu" and (isinstance(devices, list) or devices == -1):
        raise LightsegError(
            f"trainer.devices={devices}: trainer.accelerator=cpu has processes instead of devices: give their number"
        )
