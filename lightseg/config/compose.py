"""The configuration: train.yaml, then the chosen file of each group, then the experiment, then the command line.

OmegaConf and nothing else. Everything a user can mistype is refused here, before torch is imported, so that the answer
comes within a second. Files hold values only: nothing read from one can decide which code runs.
"""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightseg.config.checks import check, check_trainer_argument, wrong_kind
from lightseg.config.data_keys import check_data
from lightseg.config.dmasking import is_search, settle
from lightseg.config.paths import SHIPPED as CONFIGS
from lightseg.config.pruning import check_prune
from lightseg.config.scaling import scale
from lightseg.errors import LightsegError, nearest

RENAMED = {"pixels": "input_format"}  # keys of older releases
# a choice of these is a file configs/<group>/<choice>.yaml
GROUPS = ("task", "data", "trainer", "logger", "launcher", "search")


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that `key=value` words describe, with `data.name`, `trainer.name`, `logger.name` filled in.

    `resume=<run folder>` and `mode=test ckpt=<file of a run folder>` start from that run's own config.yaml
    instead of the defaults. Raises LightsegError, one line, for anything that is not a key, a choice or a value of the
    right kind.
    """
    words = _split(overrides)
    experiment: dict[str, Any] = {}
    saved = _saved_config(words)
    if saved is not None:
        config = saved
    else:
        experiment = _experiment(words.get("experiment"))
        config = _defaults({**experiment, **words})
        _apply(config, experiment, f"configs/experiment/{words.get('experiment')}.yaml")
    _apply(config, words, "the command line")
    if config.mode == "test" and config.ckpt is not None:
        leave_to_checkpoint(config, set(_dotted(words)))
    elif config.get("resolved"):
        config.resolved = [key for key in config.resolved if key not in _dotted(words)]
    scale(config, _dotted({**experiment, **words}))
    if is_search(config):
        settle(config, _dotted({**experiment, **words}))
    check(config, default_data=str(_read(_choose("task", config.task)).data))
    check_prune(config)
    return config


def leave_to_checkpoint(config: DictConfig, given: set[str]) -> None:
    """Set to null what the checkpoint of `mode=test ckpt=` decides, unless it is among the `given` dotted keys."""
    for prefix, group in (("", config), ("head.", config.head), ("data.eval.", config.data.get("eval") or {})):
        keys = list(group) if prefix else ["backbone", "output_stride", "drop_path_rate", "input_format"]
        for key in keys:
            if f"{prefix}{key}" not in given:
                group[key] = None
    config.pop("resolved", None)


def defaults_of(config: DictConfig) -> DictConfig:
    """What the configuration would be with nothing but its task and data chosen: `setting` in a record is the rest."""
    return _defaults({"task": config.task, "data": config.data.name})


def choices(group: str) -> list[str]:
    """The names one may give for a group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def plain(config: DictConfig) -> dict[str, Any]:
    """Dicts, lists, numbers and strings: what checkpoints and records hold."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def help_text() -> str:
    lines = [
        "python train.py [key=value ...]      train, evaluate and record one backbone on one task",
        "",
        "  python train.py task=seg backbone=mobilenetv3_large",
        "  python train.py backbone=mobilenetv3_small data=cityscapes data.root=/data/cityscapes",
        "  python train.py backbone=mobilenetv2,micronet_m3 seed=0,1,2        every combination: docs/sweeps.md",
        "  python train.py resume=runs/seg/mini_seg/mobilenetv3_large/<time>",
        "  python train.py mode=test ckpt=runs/seg/.../checkpoints/best.ckpt evaluation.flip=true",
        "",
        "  --help   this page        --cfg   print the composed configuration and stop",
        "",
        "Choices",
        *(f"  {group + '=':<13}{', '.join(choices(group))}" for group in (*GROUPS, "experiment")),
        "  backbone=    a name of docs/backbones.md, any timm name, or efficientnet with depth=, width= or phi=",
        "",
        "Keys (configs/train.yaml)",
        (CONFIGS / "train.yaml").read_text(),
    ]
    return "\n".join(lines)


def _split(overrides: list[str]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise LightsegError(f"'{word}' is not of the form key=value (see python train.py --help)")
        if key in words:
            raise LightsegError(f"'{key}' is given twice on the command line")
        try:
            words[key] = yaml.safe_load(text) if text else None
            if isinstance(words[key], str):  # YAML 1.1 reads 1e-3 as text; a person means a number
                words[key] = _number(words[key])
        except yaml.YAMLError as error:
            raise LightsegError(f"the value of '{word}' cannot be read: quote it, as in '{key}=\"...\"'") from error
    return words


def _number(text: str) -> Any:
    try:
        return float(text) if any(c.isdigit() for c in text) else text
    except ValueError:
        return text


def _read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise LightsegError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, DictConfig):
        raise LightsegError(f"{path} must hold `key: value` lines")
    return config


def _choose(group: str, name: Any) -> Path:
    if name not in (names := choices(group)):
        raise LightsegError(f"no {group} named '{name}': {nearest(str(name), names)} (configs/{group}/)")
    return CONFIGS / group / f"{name}.yaml"


def _experiment(name: Any) -> dict[str, Any]:
    """An experiment file: `key: value` lines with the same dotted keys that the command line takes."""
    if name is None:
        return {}
    content = _read(_choose("experiment", name))
    return {str(key): plain(value) if OmegaConf.is_config(value) else value for key, value in content.items()}


def _defaults(chosen: dict[str, Any]) -> DictConfig:
    config = _read(CONFIGS / "train.yaml")
    task = chosen.get("task", config.task)
    task_file = _read(_choose("task", task))
    names = {
        "data": chosen.get("data") or task_file.data,
        "trainer": chosen.get("trainer", config.trainer),
        **{group: chosen.get(group, config[group]) for group in ("logger", "launcher", "search")},
    }
    config = OmegaConf.merge(config, task_file)  # type: ignore[assignment]
    for group, name in names.items():
        # a task may have values of its own for a group: how many epochs its mini data takes
        own = task_file.get(group) if isinstance(task_file.get(group), DictConfig) else {}
        config[group] = OmegaConf.merge({"name": name}, _read(_choose(group, name)), own)
    check_data(config.data, task, f"configs/data/{names['data']}.yaml")
    config.task = task
    return config


def _saved_config(words: dict[str, Any]) -> DictConfig | None:
    folder = None
    if words.get("resume") is not None:
        folder = Path(str(words["resume"]))
        if not (folder / "config.yaml").is_file():
            raise LightsegError(f"resume={folder}: no run folder (there is no {folder / 'config.yaml'})")
    elif words.get("mode") == "test" and words.get("ckpt") is not None:
        checkpoint = Path(str(words["ckpt"]))
        if not checkpoint.is_file():
            raise LightsegError(f"ckpt={checkpoint}: no such file")
        folder = checkpoint.parent.parent
    if folder is None or not (folder / "config.yaml").is_file():
        return None
    saved = _read(folder / "config.yaml")
    if not all(isinstance(saved.get(group), DictConfig) for group in ("data", "trainer", "logger", "evaluation")):
        raise LightsegError(f"{folder / 'config.yaml'} is not the configuration of a run")
    saved.resume = saved.ckpt = None
    for old, new in RENAMED.items():
        if old in saved:
            saved[new] = saved.pop(old)
    origin = f"{folder / 'config.yaml'} (data)"
    for group in ("task", "data", "trainer", "logger"):
        if isinstance(words.get(group), str) and words[group] != (saved.task if group == "task" else saved[group].name):
            if group == "task":
                raise LightsegError(f"{folder} is a run of task={saved.task}, not task={words['task']}")
            saved[group] = OmegaConf.merge({"name": words[group]}, _read(_choose(group, words[group])))
            if group == "data":
                origin = f"configs/data/{words[group]}.yaml"
    check_data(saved.data, str(saved.get("task")), origin)
    return saved


def _apply(config: DictConfig, values: dict[str, Any], origin: str) -> None:
    for key, value in ((RENAMED.get(key, key), value) for key, value in values.items()):
        if key in GROUPS and isinstance(value, str | None):
            continue  # the choice is made already
        *parents, last = key.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig) or last not in node:
            if key.startswith("trainer.") and len(parents) == 1:
                check_trainer_argument(last)
            else:
                raise LightsegError(f"no key '{key}' ({origin}): {nearest(key, _keys(config))}")
        elif (kind := wrong_kind(node[last], value, key)) is not None:
            raise LightsegError(f"{key}={value!r} ({origin}): must be {kind}")
        if isinstance(node.get(last), DictConfig) and isinstance(value, dict) and last != "classes":
            _apply(config, {f"{key}.{inner}": v for inner, v in value.items()}, origin)
        else:
            node[last] = value


def _dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"data": {"size": 1}}` as `{"data.size": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key, value in ((str(k), v) for k, v in config.items()):
        keys.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
