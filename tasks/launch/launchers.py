"""Launchers start the runs of a sweep: on this machine, each in its own process, or as Slurm jobs by submitit.

Each run is `lightseg train ...` in another process, so a run that fails or crashes does not affect the others.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from lightseg.errors import LightsegError


def _train_command() -> list[str]:
    """A checkout's train.py, or an installed `-m lightseg train` without the working directory on its path."""
    if not __name__.startswith("lightseg."):
        return [sys.executable, str(Path(__file__).parents[2] / "train.py")]
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe_path, "-m", "lightseg", "train"]


TRAIN = _train_command()


class Job(Protocol):
    """A run that was started. `poll` returns its exit code, None while it runs. `log` has its output."""

    log: Path

    def poll(self) -> int | None: ...

    def interrupt(self) -> str | None:
        """Interrupt it like Ctrl-C and wait for its end. Returns a line to print about a job that continues."""


class Launcher(Protocol):
    max_running: int  # runs at the same time

    def start(self, overrides: list[str], trainer: dict[str, Any], log: IO[bytes]) -> Job:
        """Start `lightseg train <overrides>`.

        trainer: the group, for the number of processes. log: open and locked.
        """


def build_launcher(options: dict[str, Any], folder: Path) -> Launcher:
    """The launcher of the `launcher` group. folder: for the files of submitit."""
    return Submitit(options, folder) if options["name"] == "submitit" else Local()


# -- on this machine ---------------------------------------------------------------------------------------------------


class Local:
    """Runs on this machine, one after the other."""

    max_running = 1

    def start(self, overrides: list[str], trainer: dict[str, Any], log: IO[bytes]) -> "LocalJob":
        # The lock belongs to the open log file, so it lasts as long as any process of the run.
        process = subprocess.Popen(
            [*TRAIN, *overrides],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only the sweep, which interrupts the run once
            preexec_fn=_end_with_parent(),
        )
        return LocalJob(process, Path(log.name))


class LocalJob:
    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.log = process, log

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self) -> None:
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
                return


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, a function that makes the kernel end the new process when the sweep dies, also by kill -9."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent, PR_SET_PDEATHSIG = ctypes.CDLL(None).prctl, os.getpid(), 1

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal


# -- as jobs -----------------------------------------------------------------------------------------------------------


class Submitit:
    """Runs as jobs of submitit.

    A `.job` file beside each log has the job's id. A sweep that is started again waits for that job instead of
    submitting the run again.
    """

    max_running = sys.maxsize

    def __init__(self, options: dict[str, Any], folder: Path) -> None:
        self.options, self.folder = options, folder / "jobs"

    def start(self, overrides: list[str], trainer: dict[str, Any], log: IO[bytes]) -> "SubmititJob":
        job_file = Path(log.name).with_suffix(".job")
        job = self._earlier(job_file)
        if job is None:
            try:
                job = self._executor(trainer, job_file.stem).submit(subprocess.call, [*TRAIN, *overrides])
            except Exception as error:  # sbatch fails, such as for an unknown partition or account
                reason = " ".join(str(error).split())[:300]
                raise LightsegError(f"launcher=submitit: the job was not accepted: {reason}") from error
            job_file.write_text(json.dumps({"id": job.job_id, "cluster": self.options["cluster"]}))
        return SubmititJob(job, local=self.options["cluster"] == "local")

    def _executor(self, trainer: dict[str, Any], name: str) -> Any:
        import submitit

        devices, options = trainer.get("devices", 1), self.options
        count = len(devices) if isinstance(devices, list) else devices
        executor = submitit.AutoExecutor(self.folder, cluster=options["cluster"])
        slurm = {"slurm_partition": options["partition"]} if options["partition"] else {}
        executor.update_parameters(
            name=name[:80],
            timeout_min=options["time"],
            nodes=trainer.get("num_nodes") or 1,
            tasks_per_node=count if isinstance(count, int) and count > 0 else 1,
            cpus_per_task=options["cpus"],
            gpus_per_node=options["gpus"],
            stderr_to_stdout=True,
            **({"mem_gb": options["memory_gb"]} if options["memory_gb"] else {}),
            **(slurm if options["cluster"] == "slurm" else {}),
        )
        return executor

    def _earlier(self, job_file: Path) -> Any:
        """The unfinished job of an earlier sweep. None where there is none."""
        try:
            content = json.loads(job_file.read_text())
            number, cluster = str(content["id"]), content["cluster"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if cluster != self.options["cluster"]:
            return None
        if cluster == "local":
            from submitit.local.local import LocalJob as Earlier

            job: Any = Earlier(self.folder, number)
            return job if _is_alive(int(number)) and not job.paths.result_pickle.exists() else None
        from submitit.slurm.slurm import SlurmJob

        job = SlurmJob(self.folder, number)
        return None if job.done(force_check=True) else job


class SubmititJob:
    def __init__(self, job: Any, local: bool) -> None:
        self.job, self.local = job, local
        self.log = Path(job.paths.stdout)

    def poll(self) -> int | None:
        # the process of an earlier sweep is not a child of this one: submitit does not know whether it runs
        orphan = self.local and self.job._process is None
        if orphan and _is_alive(int(self.job.job_id)) and not self.job.paths.result_pickle.exists():
            return None
        if not orphan and not self.job.done():
            return None
        try:
            return max(abs(code) for code in self.job.results())
        except Exception as error:  # a job that was canceled, ran out of time, or never started
            with contextlib.suppress(OSError), open(self.log, "a") as file:
                file.write(f"error: the job ended without a result: {' '.join(str(error).split())[:300]}\n")
            return 1

    def interrupt(self) -> str | None:
        if self.local:
            self.job.cancel()
            return None
        return f"job {self.job.job_id} continues: the same sweep waits for it, scancel {self.job.job_id} ends it"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
