"""Overrides as other programs spell them (Hydra, argparse): an error with the right spelling."""

from collections.abc import Iterable

from lightseg.config.domains import all_keys, domains_of
from lightseg.errors import LightsegError, nearest

SPELLINGS = {  # usual names of options -> keys
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "devices": "trainer.devices",
    "precision": "trainer.precision",
    "accum_iter": "trainer.accumulate_grad_batches",
    "grad_accum_steps": "trainer.accumulate_grad_batches",
    "clip_grad": "trainer.gradient_clip_val",
    "learning_rate": "optimizer.lr",
    "lr": "optimizer.lr",
    "opt": "optimizer.name",
    "wd": "optimizer.weight_decay",
    "weight_decay": "optimizer.weight_decay",
    "sched": "schedule.name",
    "scheduler": "schedule.name",
    "lr_scheduler": "schedule.name",
    "warmup": "schedule.warmup_steps",
    "model": "backbone",
    "arch": "backbone",
    "encoder": "backbone",
    "net": "backbone",
    "dataset": "data",
    "data_dir": "data.root",
    "data_path": "data.root",
    "batch": "data.batch_size",
    "bs": "data.batch_size",
    "batch_size": "data.batch_size",
    "j": "data.workers",
    "workers": "data.workers",
    "num_workers": "data.workers",
    "checkpoint": "ckpt",
    "ckpt_path": "ckpt",
    "weights": "pretrained",
    "out_dir": "runs_dir",
    "output_dir": "runs_dir",
    "output": "runs_dir",
    "drop_path": "drop_path_rate",
    "smoothing": "loss.label_smoothing",
    "img_size": "data.augment.size",
    "imgsz": "data.augment.size",
    "config": "experiment",
    "config_name": "experiment",
}
MULTIRUN = ("-m", "--multirun")


def check_spelling(overrides: list[str]) -> None:
    """Raise LightsegError, with what to write, for an override in the form of another program."""
    for index, override in enumerate(overrides):
        following = overrides[index + 1 : index + 3]
        key, equals, value = override.partition("=")
        if override in MULTIRUN:
            raise LightsegError(
                f"'{override}' is not needed: leave it out; values with commas are several runs, as in seed=0,1,2"
            )
        if override.startswith("-"):
            shown = override
            if not equals and following and "=" not in following[0] and not following[0].startswith("--"):
                value, shown = following[0], f"{override} {following[0]}"
            raise LightsegError(f"'{shown}' is not of the form key=value: {_written(key.lstrip('-'), value)}")
        if key.startswith("+"):
            raise LightsegError(f"'{override}': keys have no + here: {_written(key.lstrip('+'), value)}")
        if key.startswith("~"):
            raise LightsegError(f"'{override}': a key is not removed but set: {_written(key[1:], 'null')}")
        spaced = _spaced(override, following)
        if spaced is not None:
            raise LightsegError(f"'{override} {' '.join(spaced[0])}' has spaces: {_written(*spaced[1])}")


def suggestion(key: str, keys: Iterable[str]) -> str:
    """The keys that an unknown `key` may mean, as the end of a line."""
    keys = list(dict.fromkeys(keys))
    name = key.lower().replace("-", "_")
    known = [other for other in (SPELLINGS.get(name), key.replace("-", "_")) if other in keys]
    known += [other for other in keys if other.rpartition(".")[2] == name]
    return f"did you mean {', '.join(dict.fromkeys(known[:3]))}?" if known else nearest(key, keys)


def _written(name: str, value: str) -> str:
    keys = list(all_keys())
    spelled = name.replace("-", "_")
    key = spelled if spelled in keys else SPELLINGS.get(spelled.lower(), "")
    if not key:
        (key, *others) = [other for other in keys if other.rpartition(".")[2] == spelled] or [""]
        key = "" if others else key
    if not key:
        return f"no key '{name}': {suggestion(name, keys)}"
    if not value:
        value = "true" if any(domain.is_switch for domain in domains_of(key)) else "<value>"
    return f"write {key}={value}"


def _spaced(override: str, following: list[str]) -> tuple[list[str], tuple[str, str]] | None:
    """Of `lr = 0.1`, `lr =0.1` or `lr= 0.1`: what follows the first word, and key and value."""
    if not following or override.startswith("="):
        return None
    first, *rest = following
    if "=" not in override and first == "=" and rest:
        return [first, rest[0]], (override, rest[0])
    if "=" not in override and first.startswith("=") and len(first) > 1:
        return [first], (override, first[1:])
    if override.endswith("=") and "=" not in first:
        return [first], (override[:-1], first)
    return None
