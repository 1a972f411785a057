"""Where the runs of a sweep take place: here, each in a process of its own, or as jobs that submitit hands to Slurm.

Each run is `lightseg train ...`: one that fails, or takes the interpreter with it, costs the others nothing.
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
    """A checkout's train.py, or the module of an installed lightseg, without the working directory on its path."""
    if not __name__.startswith("lightseg."):
        return [sys.executable, str(Path(__file__).parents[2] / "train.py")]
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe_path, "-m", "lightseg", "train"]


TRAIN = _train_command()


class Job(Protocol):
    """One run that was started. `poll` gives its exit code, None while it lasts; `log` has what it printed."""

    log: Path

    def poll(self) -> int | None: ...

    def interrupt(self) -> str | None:
        """As Ctrl-C does, waiting for its end; a job that goes on all the same says so in a line."""


class Launcher(Protocol):
    at_once: int  # runs at a time

    def start(self, words: list[str], trainer: dict[str, Any], log: IO[bytes]) -> Job:
        """`lightseg train <words>`, whose `trainer` group says how many processes it has. `log` is open and locked."""


def build_launcher(options: dict[str, Any], folder: Path) -> Launcher:
    """Of the `launcher` group; `folder` is for what submitit writes."""
    return Submitit(options, folder) if options["name"] == "submitit" else Local()


# -- on this machine ---------------------------------------------------------------------------------------------------


class Local:
    at_once = 1

    def start(self, words: list[str], trainer: dict[str, Any], log: IO[bytes]) -> "LocalJob":
        # The log's lock goes along with the file, so it lasts as long as any process of the run does.
        process = subprocess.Popen(
            [*TRAIN, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which hands it on once
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
    """On Linux, what lets the kernel end the new process when the sweep dies, be it by kill -9."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent, PR_SET_PDEATHSIG = ctypes.CDLL(None).prctl, os.getpid(), 1

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


# -- as jobs -----------------------------------------------------------------------------------------------------------


class Submitit:
    """Beside every log a `.job` file names the job, so that a sweep that is started again waits for it instead of
    submitting the run a second time."""

    at_once = sys.maxsize

    def __init__(self, options: dict[str, Any], folder: Path) -> None:
        self.options, self.folder = options, folder / "jobs"

    def start(self, words: list[str], trainer: dict[str, Any], log: IO[bytes]) -> "SubmititJob":
        note = Path(log.name).with_suffix(".job")
        job = self._earlier(note)
        if job is None:
            try:
                job = self._executor(trainer, note.stem).submit(subprocess.call, [*TRAIN, *words])
            except Exception as error:  # sbatch says no: a partition or an account that is not there
                said = " ".join(str(error).split())[:300]
                raise LightsegError(f"launcher=submitit: the job is not accepted: {said}") from error
            note.write_text(json.dumps({"id": job.job_id, "cluster": self.options["cluster"]}))
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

    def _earlier(self, note: Path) -> Any:
        """The job of an earlier session that has not ended; None where there is none."""
        try:
            content = json.loads(note.read_text())
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
        # an earlier session's process is not our child: submitit does not know whether it lasts
        orphan = self.local and self.job._process is None
        if orphan and _is_alive(int(self.job.job_id)) and not self.job.paths.result_pickle.exists():
            return None
        if not orphan and not self.job.done():
            return None
        try:
            return max(abs(code) for code in self.job.results())
        except Exception as error:  # a job that was cancelled, ran out of time, or never began
            with contextlib.suppress(OSError), open(self.log, "a") as file:
                file.write(f"error: the job ended without a result: {' '.join(str(error).split())[:300]}\n")
            return 1

    def interrupt(self) -> str | None:
        if self.local:
            self.job.cancel()
            return None
        return f"job {self.job.job_id} goes on: the same sweep waits for it, scancel {self.job.job_id} ends it"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
