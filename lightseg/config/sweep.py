"""One command line that means many runs: `backbone=a,b seed=0,1,2` is the product of its lists.

Every combination is composed and checked here, before the first one runs and before torch is imported.
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
from lightseg.config.netadapt import check_netadapt
from lightseg.config.search_space import Dimension, read_space
from lightseg.errors import LightsegError
from lightseg.search.arch_space import scale_arch

SINGLE = ("resume", "runs_dir", "logger")  # one for a whole sweep: they are no part of what a run computes
OBJECTIVES = ("monitor", "reward")
CLUSTERS = ("slurm", "local")
WITHIN_A_RUN = {"search=dmasking"}
IN_PROCESS = {"netadapt": check_netadapt}  # searches that train by themselves, and what is checked before


@dataclass(frozen=True)
class Run:
    """One combination: `words` compose to `config`, `name` is the part of them that differs between combinations."""

    name: str
    words: list[str]
    config: dict[str, Any]

    @property
    def identity(self) -> str:
        return identity(self.config)


@dataclass(frozen=True)
class Sweep:
    """What a command line asks for: `runs`, and how they are launched or searched (`name` and the group's keys)."""

    runs: list[Run]
    launcher: dict[str, Any]
    search: dict[str, Any]
    space: dict[str, Dimension]
    first: DictConfig  # the first run's configuration, as composed

    @property
    def is_one_run(self) -> bool:
        return len(self.runs) == 1 and self.launcher["name"] == "local" and not self.begins_runs

    @property
    def begins_runs(self) -> bool:
        """Whether a search decides what is run."""
        return self.search["name"] != "none" and f"search={self.search['name']}" not in WITHIN_A_RUN

    def configurations(self) -> list[str]:
        """As YAML, one a run: what `--cfg` prints."""
        if len(self.runs) == 1:
            return [OmegaConf.to_yaml(self.first, resolve=True)]
        return [OmegaConf.to_yaml(OmegaConf.create(run.config)) for run in self.runs]


def identity(config: dict[str, Any]) -> str:
    """What two runs share that would end with the same record: the configuration's hash, the seed, and in test mode the
    checkpoint. Usable as a file name."""
    known = json.loads(json.dumps(config))  # as a record has it: keys are words there
    checkpoint = f"-{record.config_hash({'checkpoint': known['ckpt']})}" if known["mode"] == "test" else ""
    return f"{record.config_hash(known)}-{known['seed']}{checkpoint}"


def read_sweep(words: list[str]) -> Sweep:
    """Raises LightsegError, one line, where any of the combinations cannot run."""
    # the search within a run is a part of the run, as its optimizer is; others begin runs, as launchers do
    groups = ("launcher",) if WITHIN_A_RUN & set(words) else ("launcher", "search")
    own = [word for word in words if word.split("=", 1)[0].split(".")[0] in groups]
    combinations = expand([word for word in words if word not in own])
    if len(combinations) > 1 and any(word.startswith("resume=") for word in words):
        raise LightsegError("resume= goes on with one run: leave it out, a sweep finds its unfinished runs by itself")
    names = [" ".join(pair for pair, swept in combination if swept) for combination in combinations]
    chosen = [[pair for pair, _ in combination] for combination in combinations]
    first = _composed([*chosen[0], *own], names[0])
    # a run of old has no such groups
    launcher, search = (
        plain(first[g]) if g in first else {"name": n} for g, n in (("launcher", "local"), ("search", "none"))
    )
    space = _check_search(search, chosen, launcher, plain(first))
    _check_launcher(launcher)
    if len(chosen) == 1:
        config = compose(chosen[0]) if own else first
        return Sweep([Run(names[0], chosen[0], plain(config))], launcher, search, space, first)
    runs = [Run(name, one, plain(_composed(one, name))) for name, one in zip(names, chosen, strict=True)]
    seen: dict[str, str] = {}
    for run in runs:
        if run.identity in seen:
            raise LightsegError(f"'{seen[run.identity]}' and '{run.name}' are one and the same run: leave one out")
        seen[run.identity] = run.name
    return Sweep(runs, launcher, search, space, first)


def expand(words: list[str]) -> list[list[tuple[str, bool]]]:
    """Every combination of the words' values, the last list running fastest, as (`key=value`, is one of several)."""
    lists = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            lists.append([(word, False)])  # compose refuses it
            continue
        values = split_values(text)
        if not all(values):
            what = "has an empty value in its list" if len(values) > 1 else f"has no value ({key}=null means none)"
            raise LightsegError(f"'{word}' {what}: give one, or several with commas between them")
        if len(values) > 1 and key in SINGLE:
            raise LightsegError(f"'{word}': a sweep has one {key} for all of its runs")
        lists.append([(f"{key}={value}", len(values) > 1) for value in values])
    return [list(combination) for combination in itertools.product(*lists)]


def split_values(text: str) -> list[str]:
    """Split at the commas that stand outside brackets, braces and quotes: `[1,2],[3,4]` is two lists of two."""
    parts, start, depth, quote, before = [], 0, 0, "", ","
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and before in ",[{:":  # elsewhere it is an apostrophe
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        before = before if letter == " " else letter
    return [part.strip() for part in (*parts, text[start:])]


def _composed(words: list[str], name: str) -> DictConfig:
    try:
        return compose(words)
    except LightsegError as error:
        raise LightsegError(f"{error} (in {name})" if name else str(error)) from error


def _check_launcher(launcher: dict[str, Any]) -> None:
    if launcher["name"] != "submitit":
        return
    if launcher["cluster"] not in CLUSTERS:
        raise LightsegError(f"launcher.cluster={launcher['cluster']}: choose from {', '.join(CLUSTERS)}")
    if launcher["time"] < 1 or launcher["gpus"] < 0 or launcher["cpus"] < 1:
        raise LightsegError("launcher: time (minutes) and cpus are at least 1, gpus at least 0")
    if find_spec("submitit") is None:
        raise LightsegError("launcher=submitit: submitit is not installed: pip install 'lightseg[sweep]'")
    if launcher["cluster"] == "slurm" and shutil.which("sbatch") is None:
        raise LightsegError(
            "launcher=submitit: there is no Slurm here (no sbatch); launcher=local runs on this machine"
        )


def _check_search(
    search: dict[str, Any], combinations: list[list[str]], launcher: dict[str, Any], config: dict[str, Any]
) -> dict[str, Dimension]:
    """The space; LightsegError also for a value of it with which no run can begin."""
    if search["name"] == "none" or f"search={search['name']}" in WITHIN_A_RUN:
        return {}
    if search["name"] in IN_PROCESS:
        if len(combinations) > 1 or launcher["name"] != "local":
            raise LightsegError(
                f"search={search['name']} is one run in this process: give single values, launcher=local"
            )
        IN_PROCESS[search["name"]](search, config)
        return {}
    if len(combinations) > 1:
        raise LightsegError("search chooses the values itself: put the lists into search.space")
    space = read_space(search["space"])
    if search["trials"] < 1:
        raise LightsegError(f"search.trials={search['trials']}: must be 1 or more")
    if search["objective"] not in OBJECTIVES:
        raise LightsegError(f"search.objective={search['objective']}: choose from {', '.join(OBJECTIVES)}")
    target = search["target_ms"]
    if search["objective"] == "reward" and (
        not isinstance(target, int | float) or isinstance(target, bool) or not target > 0
    ):
        raise LightsegError("search.objective=reward needs search.target_ms=<milliseconds>, the latency aimed at")
    words = [word for word in combinations[0] if word.split("=", 1)[0] not in space]
    nets = {key: space[key] for key in space if key.split(".")[0] == "arch"}
    if nets:
        _check_nets(nets, space, config)
    middle = {key: dimension.texts[0] for key, dimension in space.items() if key not in nets}
    for key in middle:
        for text in space[key].texts:
            _composed([*words, *(f"{k}={v}" for k, v in {**middle, key: text}.items())], "search.space")
    exponent = search["reward_exponent"]
    if not isinstance(exponent, int | float) or not -10 <= exponent <= 0:
        raise LightsegError(f"search.reward_exponent={exponent}: from -10 to 0 (MnasNet: -0.07)")
    if find_spec("optuna") is None:
        raise LightsegError("search=optuna: Optuna is not installed: pip install 'lightseg[sweep]'")
    return space


def _check_nets(nets: dict[str, Dimension], space: dict[str, Dimension], config: dict[str, Any]) -> None:
    """`arch.*` of a space: LightsegError for a value that makes no net of the base."""
    if not catalog.is_arch(str(config["backbone"])) or "backbone" in space:
        raise LightsegError(
            f"search.space: {next(iter(nets))} turns an architecture: give backbone=<arch.yaml>, one file"
        )
    base = read_arch(config["backbone"])
    first = {key: json.loads(dimension.texts[0]) for key, dimension in nets.items()}
    for key, dimension in nets.items():
        for text in dimension.texts:
            scale_arch(base, {**first, key: json.loads(text)})
        if key == "arch.kernel" and dimension.scale is not None:
            raise LightsegError("search.space: arch.kernel takes choices, as in [3, 5, 7]: a range holds even ones too")
