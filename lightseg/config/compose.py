"""The configuration: train.yaml, then the chosen file of each group, then the experiment, then the command line.

`paths` locates the files, `files` reads them, `overrides` merges values. Every error in keys and values is raised here,
before torch is imported, so that it appears within a second. Files contain values only and never name code to run.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightseg.config.check_key import check_all
from lightseg.config.checks import check
from lightseg.config.data_choice import choose_data
from lightseg.config.data_keys import ADDED, ADDED_TILES, add_keys, check_data
from lightseg.config.dmasking import is_search, settle
from lightseg.config.files import data_file_of, group_of, is_shipped, kind_of, names_of, read, values_of
from lightseg.config.loggers import logger_group
from lightseg.config.overrides import COMMAND_LINE, apply, dotted, expand_paths, split_overrides
from lightseg.config.paths import GROUPS, SHIPPED, base_file, find_file, remark_on_foreign_files, shown
from lightseg.config.renamed_keys import RENAMED, upgrade_keys
from lightseg.config.resume import check_resume
from lightseg.config.run_options import check_run_options
from lightseg.config.scaling import scale
from lightseg.config.unknown_keys import check_unknown_keys
from lightseg.errors import LightsegError


def compose(overrides: list[str] | dict[str, Any]) -> DictConfig:
    """The configuration that `key=value` overrides describe, with `data.name`, `trainer.name`, `logger.name` filled in.

    A dict holds values instead of text: `{"task": "cls", "trainer.max_epochs": 2, "ema": {"decay": 0.9}}`.
    `resume=<run folder>` and `mode=test ckpt=<file of a run folder>` start from that run's own config.yaml
    instead of the defaults.

    Raises:
        LightsegError: one line, for an unknown key or choice, or a value of the wrong type.
    """
    values = split_overrides(overrides) if isinstance(overrides, list) else overrides
    try:
        config = _composed(expand_paths(values))
    except OmegaConfBaseException as error:
        raise _unresolved(error) from error
    remark_on_foreign_files()
    return config


def _composed(values: dict[str, Any]) -> DictConfig:
    experiment: dict[str, Any] = {}
    left: list[str] = []
    file = _saved_file(values)
    saved = None if file is None else _saved_config(file, values)
    if saved is not None:
        config = _with_choices(saved, values)
    else:
        experiment, origin = _experiment(values.get("experiment"))
        config = _defaults({**experiment, **values})
        apply(config, experiment, origin)
    apply(config, values, COMMAND_LINE)
    if file is not None:  # after the overrides, which may mend a broken value
        check_data(config.data, str(config.get("task")), f"{file} (data)")
    if config.mode == "test" and config.ckpt is not None:
        left = leave_to_checkpoint(config, {RENAMED.get(key, key) for key in dotted(values)})
    elif config.get("resolved"):
        config.resolved = [key for key in config.resolved if key not in dotted(values)]
    check_all(config, "" if file is None else str(file), left)
    if saved is not None and config.resume is not None:
        check_resume(saved, config)
    scale(config, dotted({**experiment, **values}))
    if is_search(config):
        settle(config, dotted({**experiment, **values}))
    check(config, default_data=str(read(base_file("task", config.task)).data))
    check_run_options(config)
    return config


def leave_to_checkpoint(config: DictConfig, overridden: set[str]) -> list[str]:
    """Set to null the keys that the checkpoint of `mode=test ckpt=` decides, except the `overridden` dotted keys.

    Returns those that may be null.
    """
    added = [key for key in (*ADDED, *ADDED_TILES) if key in config.data]
    groups = (
        ("", config, ["backbone", "output_stride", "drop_path_rate", "input_format"]),
        ("head.", config.head, list(config.head)),
        ("data.", config.data, added),
        ("data.eval.", config.data.get("eval"), list(config.data.get("eval") or {})),
    )
    left = []
    for prefix, group, keys in groups:
        for key in keys:
            left.append(f"{prefix}{key}")
            if not any(name == left[-1] or name.startswith(f"{left[-1]}.") for name in overridden):
                group[key] = None
    config.pop("resolved", None)
    config.pop("replaced", None)
    return left


def defaults_of(config: DictConfig) -> DictConfig:
    """The shipped defaults of a configuration's task and data. `setting` in a record is the difference from them.

    What a user's file changes is part of the setting, except for a data file, which is named in the record.
    """
    shipped = {"trainer": str(SHIPPED / "trainer" / "default.yaml")}
    data = str(config.data.get("file") or config.data.name)
    try:
        return _file_values(config.task, {**shipped, "data": data})
    except LightsegError:  # the data file was removed after the run started
        defaults = _file_values(config.task, shipped)
        defaults.data = config.data
        return defaults


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as dicts, lists, numbers and strings, for checkpoints and records."""
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:  # a ${...} that cannot be resolved
        raise _unresolved(error) from error


def _unresolved(error: OmegaConfBaseException) -> LightsegError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return LightsegError(f"the configuration cannot be composed: {reason}")


def _experiment(name: Any) -> tuple[dict[str, Any], str]:
    """The values of an experiment file by dotted key, and its path."""
    if name is None:
        return {}, ""
    path = find_file("experiment", str(name))
    return values_of(path), shown(path)


def _defaults(chosen: dict[str, Any]) -> DictConfig:
    """train.yaml, the shipped task file and the file of each group, then the user's task file."""
    names = names_of(chosen)
    if names.get("data", "") is None:  # data=null: the task's default
        del names["data"]
    task_file = find_file("task", str(names["task"] if "task" in names else read(SHIPPED / "train.yaml").task))
    user_task = {} if is_shipped(task_file) else values_of(task_file)
    task = kind_of("task", task_file, user_task)
    names["data"], recognized = choose_data({**names_of(user_task), **names}.get("data"), task, dotted(chosen))
    if names["data"] is None:
        del names["data"]
    config = _file_values(task, {**names_of(user_task), **names})
    data_file = data_file_of(config.data)
    check_data(config.data, config.task, shown(data_file))
    if not is_shipped(data_file):
        check_unknown_keys(config.data, shown(data_file))
    apply(config, recognized, "data=auto")
    apply(config, {key: value for key, value in user_task.items() if key != "name"}, shown(task_file))
    return config


def _file_values(task: str, names: dict[str, Any]) -> DictConfig:
    """train.yaml, the shipped file of a task, and for each group the file of `names` or the default."""
    config = read(SHIPPED / "train.yaml")
    task_file = read(base_file("task", task))
    names = {**{group: config[group] for group in GROUPS}, "data": task_file.data, **names}
    config = OmegaConf.merge(config, task_file)  # type: ignore[assignment]
    for group in GROUPS[1:]:
        # a task file may have values for a group, such as the number of epochs for its mini data
        values = task_file.get(group)
        config[group] = _choice(group, names[group], values if isinstance(values, DictConfig) else None)
    config.task = task
    return config


def _choice(group: str, value: Any, of_task: DictConfig | None = None) -> DictConfig:
    """The values of `group=value`. A run may have several loggers."""
    return logger_group(value, of_task) if group == "logger" else group_of(group, str(value), of_task)


def _saved_file(values: dict[str, Any]) -> Path | None:
    """The config.yaml of the run that `resume` or `mode=test ckpt=` continues from. None where there is none."""
    if values.get("resume") is not None:
        folder = Path(str(values["resume"]))
        if not (folder / "config.yaml").is_file():
            raise LightsegError(f"resume={folder}: no run folder (there is no {folder / 'config.yaml'})")
        return folder / "config.yaml"
    if values.get("mode") == "test" and values.get("ckpt") is not None:
        checkpoint = Path(str(values["ckpt"]))
        if not checkpoint.is_file():
            raise LightsegError(f"ckpt={checkpoint}: no such file")
        file = checkpoint.parent.parent / "config.yaml"
        return file if file.is_file() else None
    return None


def _saved_config(file: Path, values: dict[str, Any]) -> DictConfig:
    saved = read(file)
    if not all(isinstance(saved.get(group), DictConfig) for group in ("data", "trainer", "logger", "evaluation")):
        raise LightsegError(f"{file} is not the configuration of a run")
    saved.resume = saved.ckpt = None
    upgrade_keys(saved)
    saved.data = add_keys(saved.data)
    _add_missing(saved, read(SHIPPED / "train.yaml"))
    _add_missing(saved.trainer, read(SHIPPED / "trainer" / "default.yaml"))
    names = names_of(values)
    if isinstance(names.get("task"), str):
        path = find_file("task", names["task"])
        if kind_of("task", path, {} if is_shipped(path) else values_of(path)) != saved.task:
            raise LightsegError(f"{file.parent} is a run of task={saved.task}, not task={names['task']}")
    return saved


def _add_missing(saved: DictConfig, defaults: DictConfig) -> None:
    """Give the keys that a run of an older release lacks their defaults, in place. Chosen groups stay as they were."""
    for key, value in defaults.items():
        if key in GROUPS or (key in saved and not isinstance(value, DictConfig)):
            continue
        if key not in saved:
            saved[key] = value
        elif isinstance(saved[key], DictConfig):
            _add_missing(saved[key], value)


def _with_choices(saved: DictConfig, values: dict[str, Any]) -> DictConfig:
    """A copy of a run's configuration with the files of the groups that `values` choose."""
    config, names = deepcopy(saved), names_of(values)
    recognized: dict[str, Any] = {}
    for group in ("data", "trainer", "logger"):
        chosen = names.get(group)
        if group == "data":
            chosen, recognized = choose_data(chosen, str(config.task), dotted(values))
        if isinstance(chosen, str | list) and chosen not in (saved[group].name, saved[group].get("file")):
            config[group] = _choice(group, chosen)
            if group == "data":
                check_data(config.data, str(config.task), shown(data_file_of(config.data)))
    apply(config, recognized, "data=auto")
    return config
