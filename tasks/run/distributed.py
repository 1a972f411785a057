"""The processes of a distributed run: how they were started, a check of their number, and their common run folder.

Lightning starts the processes of a machine itself (`trainer.devices=2 trainer.strategy=ddp`). The first process creates
the folder before the others exist, and they read it from their environment. torchrun and Slurm start all processes at
the same time. The first process then sends the folder through the key-value store of torch.distributed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lightseg.errors import LightsegError

FOLDER = "LIGHTSEG_RUN_FOLDER"  # environment variable for the processes that Lightning starts
_FAILED = "-"

_folder: Path | None = None  # of the current run of this process
_store: Any = None  # served by the first process until it ends


class Launched(NamedTuple):
    """Processes that were started by another program.

    by: its name. local_size: number of processes on this machine, 0 where it is unknown.
    """

    by: str
    rank: int
    world_size: int
    local_size: int


def launched() -> Launched | None:
    """By torchrun or by Slurm's srun, as Lightning detects them. None for a single process."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Launched("torchrun", int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]))
    if "SLURM_NTASKS" in env and "SLURM_PROCID" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        local_size = env.get("SLURM_NTASKS_PER_NODE", "0")
        return Launched("Slurm", int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(local_size))
    return None


def rank() -> int:
    """The rank of this process, without torch and before there is a process group. Rank 0 writes files."""
    launch = launched()
    return launch.rank if launch else int(os.environ.get("LOCAL_RANK", "0"))


def processes(trainer: dict[str, Any]) -> int:
    """The number of processes of a run, as far as it is known before Lightning counts the devices (1 for `auto`)."""
    if launch := launched():
        return launch.world_size
    devices = trainer.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices
    return count if isinstance(count, int) and count > 0 else 1


def check(trainer: dict[str, Any]) -> None:
    """Raise LightsegError if the trainer's devices and nodes do not match the number of processes."""
    devices, nodes, launch = trainer.get("devices", 1), trainer.get("num_nodes") or 1, launched()
    if launch is None:
        if nodes > 1:
            raise LightsegError(
                f"trainer.num_nodes={nodes}: start the processes of several machines with torchrun or srun"
            )
        return
    count = len(devices) if isinstance(devices, list) else devices
    if not isinstance(count, int) or count < 1 or count * nodes == launch.world_size:  # "auto": Lightning checks it
        return
    local_size = launch.local_size or max(1, launch.world_size // nodes)
    num_nodes = max(1, launch.world_size // local_size)
    raise LightsegError(
        f"{launch.by} started {launch.world_size} processes, but trainer.devices={count} on {nodes} machines is "
        f"{count * nodes}: give trainer.devices={local_size} trainer.num_nodes={num_nodes}"
    )


def agree(make: Callable[[], Path]) -> Path:
    """The folder that `make` returns in the first process, in all processes."""
    global _folder
    _folder = _agree(make)
    return _folder


def current_run_folder() -> Path:
    """The run folder of the current run: the last result of `agree`."""
    assert _folder is not None, "no run has begun"
    return _folder


def run_folder_or_none() -> Path | None:
    """The run folder of the current run, or None before there is one."""
    return _folder


def forget_run_folder() -> None:
    """Forget the run folder, so that the next run of this process, or a process it starts, does not use it."""
    global _folder
    _folder = None
    os.environ.pop(FOLDER, None)


def _agree(make: Callable[[], Path]) -> Path:
    launch = launched()
    if launch is None:
        if rank():
            if FOLDER not in os.environ:
                raise LightsegError(
                    "Lightning starts the processes of trainer.strategy once per program: start a second training with "
                    "several processes in another program, with lightseg train"
                )
            return Path(os.environ[FOLDER])
        folder = make()
        os.environ[FOLDER] = str(folder)
        return folder
    if launch.world_size == 1:
        return make()
    store = _key_value_store(launch)
    key = f"lightseg/folder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"  # torchrun's store outlives a restart
    if launch.rank:
        text = store.get(key).decode()
        if text == _FAILED:
            raise SystemExit(2)  # the first process prints the error
        return Path(text)
    try:
        folder = make()
    except BaseException:
        store.set(key, _FAILED)
        raise
    store.set(key, str(folder.absolute()))
    return folder


def _key_value_store(launch: Launched) -> Any:
    """The key-value store of all processes at MASTER_ADDR:MASTER_PORT. The process group shares the server later."""
    global _store
    if _store is None:
        if launch.by == "Slurm":
            from pytorch_lightning.plugins.environments import SLURMEnvironment

            cluster = SLURMEnvironment(auto_requeue=False)
            os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
        from torch.distributed import rendezvous

        _store, _, _ = next(rendezvous("env://", rank=launch.rank, world_size=launch.world_size))
    return _store
