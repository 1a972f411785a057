"""The configuration: train.yaml, then the chosen file of each group, then the experiment, then the command line.

OmegaConf and nothing else. Everything a user can mistype is refused here, before torch is imported, so that the answer
comes within a second. Files hold values only: nothing read from one can decide which code runs.
"""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightseg.arch_file import read_arch
from lightseg.errors import LightsegError, nearest
from lightseg.light import catalog

CONFIGS = Path(__file__).parent
GROUPS = ("task", "data", "trainer", "logger")  # a choice of these is a file configs/<group>/<choice>.yaml

CHOICES: dict[str, tuple[Any, ...]] = {  # keys with a closed list of values
    "mode": ("train", "test"),
    "output_stride": (8, 16, 32),
    "pixels": ("bgr255",),
    "head.variant": ("paper", "torchvision"),
    "schedule.name": ("poly", "cosine", "step", "exponential", "constant"),
    "evaluation.checkpoint": ("best", "last"),
    "data.on_error": ("raise", "skip"),
    "logger.mode": ("auto", "online", "offline"),
}

HEADS = {"seg": ("lraspp", "raspp"), "cls": ("native", "linear")}


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that `key=value` words describe, with `data.name`, `trainer.name`, `logger.name` filled in.

    `resume=<run folder>` and `mode=test ckpt=<file of a run folder>` start from that run's own config.yaml
    instead of the defaults. Raises LightsegError, one line, for anything that is not a key, a choice or a value of the
    right kind.
    """
    words = _split(overrides)
    saved = _saved_config(words)
    if saved is not None:
        config = saved
    else:
        experiment = _experiment(words.get("experiment"))
        config = _defaults({**experiment, **words})
        _apply(config, experiment, f"configs/experiment/{words.get('experiment')}.yaml")
    _apply(config, words, "the command line")
    _check(config)
    return config


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
        "  python train.py resume=runs/seg/mini_seg/mobilenetv3_large/<time>",
        "  python train.py mode=test ckpt=runs/seg/.../checkpoints/best.ckpt evaluation.flip=true",
        "",
        "  --help   this page        --cfg   print the composed configuration and stop",
        "",
        "Choices",
        *(f"  {group + '=':<13}{', '.join(choices(group))}" for group in (*GROUPS, "experiment")),
        "  backbone=    a name of docs/backbones.md or any timm name",
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
        "logger": chosen.get("logger", config.logger),
    }
    config = OmegaConf.merge(config, task_file)  # type: ignore[assignment]
    for group, name in names.items():
        # a task may have values of its own for a group: how many epochs its mini data takes
        own = task_file.get(group) if isinstance(task_file.get(group), DictConfig) else {}
        config[group] = OmegaConf.merge({"name": name}, _read(_choose(group, name)), own)
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
    for group in ("task", "data", "trainer", "logger"):
        if isinstance(words.get(group), str) and words[group] != (saved.task if group == "task" else saved[group].name):
            if group == "task":
                raise LightsegError(f"{folder} is a run of task={saved.task}, not task={words['task']}")
            saved[group] = OmegaConf.merge({"name": words[group]}, _read(_choose(group, words[group])))
    return saved


def _apply(config: DictConfig, values: dict[str, Any], origin: str) -> None:
    for key, value in values.items():
        if key in GROUPS and isinstance(value, str | None):
            continue  # the choice is made already
        *parents, last = key.split(".")
        node: Any = config
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig) or last not in node:
            if key.startswith("trainer.") and len(parents) == 1:
                _check_trainer_argument(last)
            else:
                raise LightsegError(f"no key '{key}' ({origin}): {nearest(key, _keys(config))}")
        elif (kind := _wrong_kind(node[last], value, key)) is not None:
            raise LightsegError(f"{key}={value!r} ({origin}): must be {kind}")
        if isinstance(node.get(last), DictConfig) and isinstance(value, dict) and last != "classes":
            _apply(config, {f"{key}.{inner}": v for inner, v in value.items()}, origin)
        else:
            node[last] = value


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key, value in ((str(k), v) for k, v in config.items()):
        keys.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            keys += _keys(value, f"{prefix}{key}.")
    return keys


def _wrong_kind(default: Any, value: Any, key: str) -> str | None:
    """What the value must be, where it is not of its default's kind; None where it fits."""
    if (
        key in ("pretrained",)
        or default is None
        or (value is None and not isinstance(default, bool | int | DictConfig))
    ):
        return None
    if value is None and key.startswith("trainer."):
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


def _check(config: DictConfig) -> None:
    for key, allowed in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value is not None and value not in allowed:
            raise LightsegError(f"{key}={value}: choose from {', '.join(map(str, allowed))}")
    _check_backbone(str(config.backbone))
    heads = HEADS[config.task]
    if config.head.name not in heads:
        raise LightsegError(f"head.name={config.head.name} (task={config.task}): choose from {', '.join(heads)}")
    if config.mode == "test" and config.ckpt is None and not (config.head.name == "native" and config.pretrained):
        raise LightsegError(
            "mode=test needs ckpt=<checkpoint>, for example runs/seg/.../checkpoints/best.ckpt"
            + ("; or pretrained=true with head.name=native" if "native" in heads else "")
        )
    if "root" in config.data:
        _check_root(config)
    if isinstance(config.pretrained, str) and not Path(config.pretrained).is_file():
        raise LightsegError(
            f"pretrained={config.pretrained}: no such file; give true, false or the path of a weight file"
        )


def _check_root(config: DictConfig) -> None:
    default = _read(_choose("task", config.task)).data
    if config.data.root is None:
        raise LightsegError(
            f"data={config.data.name} needs data.root=<folder of the data set>; data={default} needs none"
        )
    if not config.data.format.startswith("mini") and not Path(config.data.root).is_dir():
        raise LightsegError(
            f"data.root={config.data.root}: no such folder ({Path(config.data.root).absolute()}); "
            f"data={default} needs none"
        )


def _check_backbone(name: str) -> None:
    rows = catalog()
    if not rows.known(name):
        raise LightsegError(rows.unknown_message(name))
    if rows.is_arch(name):
        read_arch(name)


def _check_trainer_argument(name: str) -> None:
    """Against the signature of Lightning's Trainer, read from its source: importing it takes seconds."""
    spec = importlib.util.find_spec("pytorch_lightning")
    if spec is None or not spec.submodule_search_locations:
        raise LightsegError('pytorch-lightning is not installed: pip install -e ".[train]"')
    source = (Path(spec.submodule_search_locations[0]) / "trainer" / "trainer.py").read_text()
    trainer = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Trainer")
    init = next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    names = {arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)} - {"self"}
    ours = {"logger", "callbacks", "plugins", "default_root_dir", "use_distributed_sampler", "enable_checkpointing"}
    if name in ours:
        raise LightsegError(f"trainer.{name} is set by train.py itself: use the keys of configs/train.yaml")
    if name not in names:
        raise LightsegError(f"no key 'trainer.{name}': {nearest(name, sorted(names - ours))}")
