"""Runs a sweep or a search that starts runs: chooses the module for it."""

from pathlib import Path

from lightseg.config.sweep import Sweep
from lightseg.config.usage import command
from lightseg.errors import LightsegError

from ..run import distributed
from .launchers import build_launcher
from .outcomes import report_failures, table
from .sweep import run_all


def run_sweep(sweep: Sweep) -> int:
    """Exit code: 0 all runs have a record, 1 some failed."""
    if distributed.launched() is not None and distributed.launched().world_size > 1:  # type: ignore[union-attr]
        raise LightsegError(
            f"a sweep starts the processes of its runs itself: start it in a single process, with {command()}"
        )
    if sweep.search["name"] == "netadapt":
        from ..search.netadapt import run_netadapt

        return run_netadapt(sweep)
    folder = Path(sweep.runs[0].config["runs_dir"]) / "sweeps"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LightsegError(f"cannot create {folder}: {error.strerror}") from error
    launcher = build_launcher(sweep.launcher, folder)
    if sweep.begins_runs:
        from .optuna_search import run_search

        return run_search(sweep, launcher, folder)
    print(f"{len(sweep.runs)} runs; logs in {folder}", flush=True)
    outcomes = run_all(sweep.runs, launcher, folder)
    print(table([(outcome.run.name, outcome) for outcome in outcomes]), flush=True)
    return report_failures(outcomes)
