"""Search with Optuna: it proposes values of a search space, one run after the other. Each trial is a run with a record.

The study is in `<runs_dir>/sweeps/search-<hash>.db` (SQLite). Its hash is that of the command without the number of
trials, so the same command continues the search. The sampler's randomness depends only on the seed and the trial's
number, and an interrupted trial is finished first with its values. An interrupted search therefore proposes the same
values as an uninterrupted one.
"""

import json
from pathlib import Path
from typing import Any

from lightseg import record
from lightseg.catalog.arch_yaml import format_arch, read_arch, write_arch
from lightseg.catalog.tasks import get_task
from lightseg.config.compose import compose, plain
from lightseg.config.sweep import Run, Sweep
from lightseg.config.usage import command
from lightseg.errors import LightsegError
from lightseg.search.arch_space import KEYS, scale_arch

from .launchers import Launcher
from .outcomes import Outcome, report_failures, table
from .sweep import run_all


def run_search(sweep: Sweep, launcher: Launcher, folder: Path) -> int:
    """Exit code: 0 all trials have a record, 1 some failed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options, base = sweep.search, sweep.runs[0]
    path = folder / f"search-{study_hash(sweep)}.db"
    study = _open(optuna, path)
    print(f"search of {', '.join(sweep.space)}: {options['trials']} trials in {path}", flush=True)
    outcomes: list[Outcome] = []
    while True:
        started = [trial for trial in study.trials if trial.params.keys() == sweep.space.keys()]
        unfinished = [trial for trial in started if trial.state == optuna.trial.TrialState.RUNNING]
        if unfinished:
            trial = unfinished[0]
        elif len(started) < options["trials"]:
            study.sampler = optuna.samplers.TPESampler(seed=base.config["seed"] * 100_003 + len(started))
            trial = study.ask(distributions(optuna, sweep))
        else:
            break
        outcome = _run(base, trial.params, launcher, folder, f"trial {trial.number + 1}/{options['trials']}")
        value = objective(outcome.record, options) if outcome.record is not None else None
        if value is None:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        else:
            study.tell(trial.number, value, skip_if_finished=True)
        outcomes.append(outcome)
    _print_best(study, sweep, folder)
    print(table([(outcome.run.name, outcome) for outcome in outcomes]) if outcomes else "no trial is left", flush=True)
    return report_failures(outcomes)


def study_hash(sweep: Sweep) -> str:
    """12 hex digits of everything that a search depends on, except the number of trials."""
    space = {key: [dimension.texts, dimension.scale] for key, dimension in sweep.space.items()}
    kept = {key: value for key, value in sweep.search.items() if key not in ("trials", "space")}
    run = sweep.runs[0]
    nets = any(key in KEYS for key in space)  # the content of the base file counts, not only its path
    base = {"base": Path(run.config["backbone"]).read_text(encoding="utf-8")} if nets else {}
    return record.config_hash({"run": run.identity, "space": space, **kept, **base})


def objective(content: dict[str, Any], options: dict[str, Any]) -> float | None:
    """The task's metric, or MnasNet's reward: metric * (latency / target) ** exponent. None without a value."""
    value = content["metrics"].get(get_task(content["task"]).monitor)
    if value is None or options["objective"] == "monitor":
        return value
    latency = content["cost"].get("latency_ms")
    return value * (latency / options["target_ms"]) ** options["reward_exponent"] if latency else None


def distributions(optuna: Any, sweep: Sweep) -> dict[str, Any]:
    """Optuna's distributions of the space. Choices are the texts of the command line."""
    result: dict[str, Any] = {}
    for key, dimension in sweep.space.items():
        if dimension.scale is None:
            result[key] = optuna.distributions.CategoricalDistribution(dimension.texts)
            continue
        low, high = dimension.ends
        integers = isinstance(low, int) and isinstance(high, int)
        kind = optuna.distributions.IntDistribution if integers else optuna.distributions.FloatDistribution
        result[key] = kind(low, high, log=dimension.scale == "log")
    return result


def _open(optuna: Any, path: Path) -> Any:
    try:
        return optuna.create_study(
            storage=f"sqlite:///{path}", study_name="search", direction="maximize", load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy raises many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LightsegError(
            f"{path} cannot be used as a study: {reason}; move it away to start a new search"
        ) from error


def _run(base: Run, params: dict[str, Any], launcher: Launcher, folder: Path, label: str) -> Outcome:
    name = " ".join(f"{key}={value}" for key, value in params.items())
    overrides: list[str] = []
    try:
        overrides = trial_overrides(base, params, folder)
        run = Run(name, overrides, plain(compose(overrides)))
    except LightsegError as error:  # values that are valid alone but not together
        print(f"[{label}] {name}: failed: {error}", flush=True)
        return Outcome(Run(name, overrides, {}), None, None, str(error))
    return run_all([run], launcher, folder, count=label)[0]


def trial_overrides(base: Run, params: dict[str, Any], folder: Path) -> list[str]:
    """The overrides of a trial. Values of `arch.*` are written to an architecture file, the trial's backbone."""
    changed = {key: value for key, value in params.items() if key not in KEYS}
    nets = {key: json.loads(str(value)) for key, value in params.items() if key in KEYS}
    if nets:
        arch = scale_arch(read_arch(base.config["backbone"]), nets)
        path = folder / f"{arch.name}-{record.config_hash({'arch': format_arch(arch)})}.yaml"
        write_arch(arch, path)
        changed["backbone"] = str(path)
    kept = [override for override in base.overrides if override.split("=", 1)[0] not in changed]
    return [*kept, *(f"{key}={value}" for key, value in changed.items())]


def _print_best(study: Any, sweep: Sweep, folder: Path) -> None:
    done = [trial for trial in study.trials if trial.value is not None]
    if not done:
        print("no trial has a value")
        return
    best = max(done, key=lambda trial: trial.value)
    print(f"best of {len(done)}: trial {best.number + 1}, {sweep.search['objective']} {best.value:.4f}")
    print(f"  {command(trial_overrides(sweep.runs[0], best.params, folder))}", flush=True)
