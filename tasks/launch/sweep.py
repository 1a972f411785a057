"""The runs of a sweep: what is finished is left alone, what is not is begun or gone on with, what fails is reported.

A run is known by its composed configuration and seed (`lightseg.config.sweep.identity`), not by the sweep that made it.
So a sweep that was interrupted goes on when it is started again, also as part of a larger one, and several processes
with the same sweep share its runs: a lock on the log, in `<runs_dir>/sweeps/`, lets one of them have each.
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
from .outcomes import Outcome, figure

try:
    import fcntl
except ImportError:  # Windows: two sweeps at once do not see each other
    fcntl = None  # type: ignore[assignment]

PAUSE = 0.2  # seconds between two looks at the jobs


@dataclass
class Going:
    run: Run
    job: Job
    lock: IO[bytes]
    begins: int  # where this attempt's part of the log does
    started: float


def run_all(runs: list[Run], launcher: Launcher, folder: Path, count: str = "{number}/{total}") -> list[Outcome]:
    """Every run to its end, in the order given; one line of the terminal for each.

    Args:
        count: what stands before the line, of its number and their total.
    """
    labels = {run.identity: count.format(number=n, total=len(runs)) for n, run in enumerate(runs, 1)}
    waiting, going = deque(runs), list[Going]()
    outcomes: dict[str, Outcome] = {}
    told: set[str] = set()

    def conclude(outcome: Outcome, remark: str) -> None:
        outcomes[outcome.run.identity] = outcome
        said = f"failed: {outcome.error}" if outcome.record is None else f"{figure(outcome.record)} ({remark})"
        print(f"[{labels[outcome.run.identity]}] {outcome.run.name or 'run'}: {said}", flush=True)

    try:
        while waiting or going:
            for run in [waiting.popleft() for _ in range(len(waiting))]:
                begun = _begin(run, launcher, folder) if len(going) < launcher.at_once else None
                if isinstance(begun, Outcome):
                    conclude(begun, f"there already: {begun.folder}")
                elif begun is not None:
                    going.append(begun)
                else:
                    if len(going) < launcher.at_once and run.identity not in told:
                        told.add(run.identity)
                        print(f"[{labels[run.identity]}] {run.name}: goes on in another process", flush=True)
                    waiting.append(run)
            for one in list(going):
                if (code := one.job.poll()) is not None:
                    conclude(_ended(one, code), f"{time.monotonic() - one.started:.0f} s")
                    going.remove(one)
            if going or waiting:
                time.sleep(PAUSE if going else 5 * PAUSE)
    except BaseException:
        for one in going:
            if remark := one.job.interrupt():
                print(remark, flush=True)
            _unlock(one.lock)
        raise
    return [outcomes[run.identity] for run in runs]


def _begin(run: Run, launcher: Launcher, folder: Path) -> Going | Outcome | None:
    """Start it; its outcome if it is finished; None while another process has it."""
    if (finished := run_folder.find(run.config).finished) is not None:
        return Outcome(run, *finished)
    lock = _locked(folder / f"{log_name(run)}.log")
    if lock is None:
        return None
    found = run_folder.find(run.config)  # once more: until just now another process may have been at it
    if found.finished is not None or found.running is not None:
        _unlock(lock)
        return Outcome(run, *found.finished) if found.finished is not None else None
    for dead in found.unfinished:
        run_folder.remove_dead(dead)
    words = [f"resume={found.resumable}"] if found.resumable else run.words
    begins = lock.tell()
    lock.write(f"$ {command(words)}\n".encode())
    lock.flush()
    try:
        job = launcher.start(words, run.config["trainer"], lock)
    except BaseException:
        _unlock(lock)
        raise
    return Going(run, job, lock, begins if job.log == Path(lock.name) else 0, time.monotonic())


def _ended(one: Going, code: int) -> Outcome:
    _unlock(one.lock)
    finished = run_folder.find(one.run.config).finished
    if finished is not None:  # whatever came after the record
        return Outcome(one.run, *finished, log=one.job.log)
    return Outcome(one.run, None, None, error_line(one.job.log, one.begins, code), one.job.log)


def error_line(log: Path, begins: int, code: int) -> str:
    """The trainer's own line, or the last one that was printed."""
    try:
        with open(log, "rb") as file:
            file.seek(begins)
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    printed = [line for line in lines if not line.startswith("$ ")]
    if said:
        return said[-1]
    return f"exit code {code}" + (f", after: {printed[-1][:200]}" if printed else "")


def log_name(run: Run) -> str:
    parent = run_folder.parent_of(run.config)
    return "-".join([run.config["task"], run.config["data"]["name"], parent.name, run.identity])


def _locked(path: Path) -> IO[bytes] | None:
    """The log, open for more; None where another sweep, or a run that one has left behind, holds it."""
    try:
        file = open(path, "ab")  # noqa: SIM115  # it is open as long as the run lasts
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
        fcntl.flock(file, fcntl.LOCK_UN)  # for all who have the file, such as a helper that outlives the run
    file.close()
