"""The runs of a sweep: finished runs are kept, unfinished ones are resumed, others are started, failures are reported.

A run is identified by its composed configuration and seed (`lightseg.config.sweep.identity`), not by its sweep. An
interrupted sweep therefore continues when it is started again, also as part of a larger sweep. Several processes can
share the runs of a sweep: a lock on each run's log, in `<runs_dir>/sweeps/`, assigns it to one process.
"""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lightseg.config.sweep import Run
from lightseg.config.usage import command
from lightseg.errors import LightsegError

from ..run import run_folder
from .launchers import Job, Launcher
from .outcomes import Outcome, metric_text

try:
    import fcntl
except ImportError:  # Windows: two sweeps at the same time do not notice each other
    fcntl = None  # type: ignore[assignment]

POLL_S = 0.2  # between two polls of the jobs


@dataclass
class Running:
    """A run in progress."""

    run: Run
    job: Job
    lock: IO[bytes]
    log_start: int  # offset in the log at which this attempt starts
    started: float


def run_all(runs: list[Run], launcher: Launcher, folder: Path, count: str = "{number}/{total}") -> list[Outcome]:
    """Run all to their ends, in order, and print a line for each.

    Args:
        count: format of the label before the line, with `number` and `total`.
    """
    labels = {run.identity: count.format(number=n, total=len(runs)) for n, run in enumerate(runs, 1)}
    waiting, running = deque(runs), list[Running]()
    outcomes: dict[str, Outcome] = {}
    announced: set[str] = set()

    def conclude(outcome: Outcome, remark: str) -> None:
        outcomes[outcome.run.identity] = outcome
        text = f"failed: {outcome.error}" if outcome.record is None else f"{metric_text(outcome.record)} ({remark})"
        print(f"[{labels[outcome.run.identity]}] {outcome.run.name or 'run'}: {text}", flush=True)

    try:
        while waiting or running:
            for run in [waiting.popleft() for _ in range(len(waiting))]:
                started = _start(run, launcher, folder) if len(running) < launcher.max_running else None
                if isinstance(started, Outcome):
                    conclude(started, f"there already: {started.folder}")
                elif started is not None:
                    running.append(started)
                else:
                    if len(running) < launcher.max_running and run.identity not in announced:
                        announced.add(run.identity)
                        print(f"[{labels[run.identity]}] {run.name}: runs in another process", flush=True)
                    waiting.append(run)
            for item in list(running):
                if (code := item.job.poll()) is not None:
                    conclude(_outcome(item, code), f"{time.monotonic() - item.started:.0f} s")
                    running.remove(item)
            if running or waiting:
                time.sleep(POLL_S if running else 5 * POLL_S)
    except BaseException:
        for item in running:
            if remark := item.job.interrupt():
                print(remark, flush=True)
            _unlock(item.lock)
        raise
    return [outcomes[run.identity] for run in runs]


def _start(run: Run, launcher: Launcher, folder: Path) -> Running | Outcome | None:
    """Start a run. Returns its outcome if it is finished already, None while another process runs it."""
    if (finished := run_folder.find_runs(run.config).finished) is not None:
        return Outcome(run, *finished)
    lock = _locked(folder / f"{log_name(run)}.log")
    if lock is None:
        return None
    existing = run_folder.find_runs(run.config)  # again: another process may have run it until now
    if existing.finished is not None or existing.running is not None:
        _unlock(lock)
        return Outcome(run, *existing.finished) if existing.finished is not None else None
    for dead in existing.unfinished:
        run_folder.remove_dead(dead)
    overrides = [f"resume={existing.resumable}"] if existing.resumable else run.overrides
    log_start = lock.tell()
    lock.write(f"$ {command(overrides)}\n".encode())
    lock.flush()
    try:
        job = launcher.start(overrides, run.config["trainer"], lock)
    except BaseException:
        _unlock(lock)
        raise
    return Running(run, job, lock, log_start if job.log == Path(lock.name) else 0, time.monotonic())


def _outcome(ended: Running, code: int) -> Outcome:
    _unlock(ended.lock)
    finished = run_folder.find_runs(ended.run.config).finished
    if finished is not None:  # also if it failed after writing its record
        return Outcome(ended.run, *finished, log=ended.job.log)
    return Outcome(ended.run, None, None, error_line(ended.job.log, ended.log_start, code), ended.job.log)


def error_line(log: Path, start: int, code: int) -> str:
    """The trainer's error line in the log, otherwise the exit code and the last line."""
    try:
        with open(log, "rb") as file:
            file.seek(start)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    printed = [line for line in lines if not line.startswith("$ ")]
    if errors:
        return errors[-1]
    return f"exit code {code}" + (f", after: {printed[-1][:200]}" if printed else "")


def log_name(run: Run) -> str:
    parent = run_folder.parent_of(run.config)
    return "-".join([run.config["task"], run.config["data"]["name"], parent.name, run.identity])


def _locked(path: Path) -> IO[bytes] | None:
    """The log, open for appending. None while another sweep, or a run that it left behind, has the lock."""
    try:
        file = open(path, "ab")  # noqa: SIM115  # stays open as long as the run lasts
    except OSError as error:
        raise LightsegError(f"cannot write {path}: {error.strerror}") from error
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks
        pass
    return file


def _unlock(file: IO[bytes]) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)  # for all processes that have the file, such as a helper that outlives the run
    file.close()
