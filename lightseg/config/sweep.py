"""Sweeps: one command line for many runs. `backbone=a,b seed=0,1,2` is the product of its lists.

Every combination is composed and checked here, before the first run starts and before torch is imported.
"""

import itertools
import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg import record
from lightseg.catalog import backbones as catalog
from lightseg.catalog.arch_yaml import read_arch
from lightseg.config.compose import compose, plain
from lightseg.config.habits import check_spelling
from lightseg.config.netadapt import check_netadapt
from lightseg.config.overrides import LISTED
from lightseg.config.search_space import Dimension, read_space
from lightseg.config.values import split_values
from lightseg.errors import LightsegError
from lightseg.search.arch_space import scale_arch

# keys with a single value for all runs of a sweep: they do not change what a run computes
SINGLE = ("resume", "runs_dir")
WITHIN_A_RUN = {"search=dmasking"}
IN_PROCESS = {"netadapt": check_netadapt}  # search -> its check, for searches that train in this process


@dataclass(frozen=True)
class Run:
    """A combination: `config` is composed from `overrides`; `name` is the part that differs between combinations."""

    name: str
    overrides: list[str]
    config: dict[str, Any]

    @property
    def identity(self) -> str:
        return identity(self.config)


@dataclass(frozen=True)
class Sweep:
    """A parsed command line: `runs`, and the groups `launcher` and `search` (`name` and the group's keys)."""

    runs: list[Run]
    launcher: dict[str, Any]
    search: dict[str, Any]
    space: dict[str, Dimension]
    first: DictConfig  # configuration of the first run

    @property
    def is_one_run(self) -> bool:
        return len(self.runs) == 1 and self.launcher["name"] == "local" and not self.begins_runs

    @property
    def begins_runs(self) -> bool:
        """Whether a search chooses the runs."""
        return self.search["name"] != "none" and f"search={self.search['name']}" not in WITHIN_A_RUN

    def configurations(self) -> list[str]:
        """The configuration of each run as YAML, for `--cfg`."""
        if len(self.runs) == 1:
            return [OmegaConf.to_yaml(self.first, resolve=True)]
        return [OmegaConf.to_yaml(OmegaConf.create(run.config)) for run in self.runs]


def identity(config: dict[str, Any]) -> str:
    """A text that is equal for runs with the same result: the configuration's hash with the data's folder, the seed,
    and in test mode the checkpoint. Usable as a file name."""
    values = json.loads(json.dumps(config))  # as in a record, where all keys are strings
    checkpoint = f"-{record.config_hash({'checkpoint': values['ckpt']})}" if values["mode"] == "test" else ""
    values["folder"] = (values.get("data") or {}).get("root")
    return f"{record.config_hash(values)}-{values['seed']}{checkpoint}"


def read_sweep(overrides: list[str]) -> Sweep:
    """The sweep of a command line. Raises LightsegError, one line, if any combination cannot run."""
    check_spelling(overrides)
    # a search within a run is part of the run, like its optimizer; other searches start runs, like launchers
    groups = ("launcher",) if WITHIN_A_RUN & set(overrides) else ("launcher", "search")
    sweep_overrides = [text for text in overrides if text.split("=", 1)[0].split(".")[0] in groups]
    combinations = expand([text for text in overrides if text not in sweep_overrides])
    if len(combinations) > 1 and any(text.startswith("resume=") for text in overrides):
        raise LightsegError("resume= continues a single run: leave it out, a sweep continues its unfinished runs")
    names = [" ".join(pair for pair, swept in combination if swept) for combination in combinations]
    chosen = [[pair for pair, _ in combination] for combination in combinations]
    first = _composed([*chosen[0], *sweep_overrides], names[0])
    # older runs do not have these groups
    launcher, search = (
        plain(first[g]) if g in first else {"name": n} for g, n in (("launcher", "local"), ("search", "none"))
    )
    space = _check_search(search, chosen, launcher, plain(first))
    _check_launcher(launcher)
    if len(chosen) == 1:
        config = compose(chosen[0]) if sweep_overrides else first
        return Sweep([Run(names[0], chosen[0], plain(config))], launcher, search, space, first)
    runs = [Run(name, texts, plain(_composed(texts, name))) for name, texts in zip(names, chosen, strict=True)]
    seen: dict[str, str] = {}
    for run in runs:
        if run.identity in seen:
            raise LightsegError(f"'{seen[run.identity]}' and '{run.name}' are the same run: leave one out")
        seen[run.identity] = run.name
    return Sweep(runs, launcher, search, space, first)


def expand(overrides: list[str]) -> list[list[tuple[str, bool]]]:
    """All combinations of the overrides' values, the last list fastest, as (`key=value`, has several values)."""
    lists = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            lists.append([(override, False)])  # compose raises an error
            continue
        values = [text] if key in LISTED else split_values(text)
        if not all(values):
            problem = "has an empty value in its list" if len(values) > 1 else f"has no value ({key}=null means none)"
            raise LightsegError(f"'{override}' {problem}: give a value, or several with commas between them")
        if len(values) > 1 and key in SINGLE:
            raise LightsegError(f"'{override}': a sweep has a single {key} for all of its runs")
        lists.append([(f"{key}={value}", len(values) > 1) for value in values])
    return [list(combination) for combination in itertools.product(*lists)]


def _composed(overrides: list[str], name: str) -> DictConfig:
    try:
        return compose(overrides)
    except LightsegError as error:
        raise LightsegError(f"{error} (in {name})" if name else str(error)) from error


def _check_launcher(launcher: dict[str, Any]) -> None:
    if launcher["name"] != "submitit":
        return
    if find_spec("submitit") is None:
        raise LightsegError("launcher=submitit: submitit is not installed: pip install 'lightseg[sweep]'")
    if launcher["cluster"] == "slurm" and shutil.which("sbatch") is None:
        raise LightsegError(
            "launcher=submitit: there is no Slurm here (no sbatch); launcher=local runs on this machine"
        )


def _check_search(
    search: dict[str, Any], combinations: list[list[str]], launcher: dict[str, Any], config: dict[str, Any]
) -> dict[str, Dimension]:
    """The search space. LightsegError also for a value of it with which no run can start."""
    if search["name"] == "none" or f"search={search['name']}" in WITHIN_A_RUN:
        return {}
    if search["name"] in IN_PROCESS:
        if len(combinations) > 1 or launcher["name"] != "local":
            raise LightsegError(
                f"search={search['name']} is a single run in this process: give single values, launcher=local"
            )
        IN_PROCESS[search["name"]](search, config)
        return {}
    if len(combinations) > 1:
        raise LightsegError("search chooses the values itself: put the lists into search.space")
    space = read_space(search["space"])
    if search["objective"] == "reward" and search["target_ms"] is None:
        raise LightsegError("search.objective=reward needs search.target_ms=<milliseconds>, the latency aimed at")
    fixed = [override for override in combinations[0] if override.split("=", 1)[0] not in space]
    nets = {key: space[key] for key in space if key.split(".")[0] == "arch"}
    if nets:
        _check_nets(nets, space, config)
    defaults = {key: dimension.texts[0] for key, dimension in space.items() if key not in nets}
    for key in defaults:
        for text in space[key].texts:
            _composed([*fixed, *(f"{k}={v}" for k, v in {**defaults, key: text}.items())], "search.space")
    if find_spec("optuna") is None:
        raise LightsegError("search=optuna: Optuna is not installed: pip install 'lightseg[sweep]'")
    return space


def _check_nets(nets: dict[str, Dimension], space: dict[str, Dimension], config: dict[str, Any]) -> None:
    """`arch.*` of a search space: LightsegError for a value with which the base gives no valid net."""
    if not catalog.is_arch(str(config["backbone"])) or "backbone" in space:
        raise LightsegError(
            f"search.space: {next(iter(nets))} changes an architecture: give backbone=<arch.yaml>, one file"
        )
    base = read_arch(config["backbone"])
    first = {key: json.loads(dimension.texts[0]) for key, dimension in nets.items()}
    for key, dimension in nets.items():
        for text in dimension.texts:
            scale_arch(base, {**first, key: json.loads(text)})
        if key == "arch.kernel" and dimension.scale is not None:
            raise LightsegError(
                "search.space: arch.kernel takes choices, as in [3, 5, 7]: a range also has even numbers"
            )
