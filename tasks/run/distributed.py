"""Several processes of one run: who started them, whether they are as many as the trainer expects, and how they agree
on one run folder.

Lightning starts the processes of one machine itself (`trainer.devices=2 trainer.strategy=ddp`): the first one makes the
folder before the others exist, which find it in their environment. torchrun and Slurm start all of them at once: the
first one tells the others through the key-value store over which torch.distributed will meet anyway.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lightseg.errors import LightsegError

FOLDER = "LIGHTSEG_RUN_FOLDER"  # tells the processes that Lightning starts which folder the first one made
_FAILED = "-"

_folder: Path | None = None  # of the run that goes on in this process
_store: Any = None  # the first process serves it: it lives until the process ends


class Launched(NamedTuple):
    """Processes that were all started from outside; `here`: of them on this machine, 0 where that is not known."""

    by: str
    rank: int
    world_size: int
    here: int


def launched() -> Launched | None:
    """By torchrun or by Slurm's srun, as Lightning detects them; None for a process that was started alone."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Launched("torchrun", int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]))
    if "SLURM_NTASKS" in env and "SLURM_PROCID" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        here = env.get("SLURM_NTASKS_PER_NODE", "0")
        return Launched("Slurm", int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(here))
    return None


def rank() -> int:
    """0 in the process that writes, without torch and before any process group."""
    outside = launched()
    return outside.rank if outside else int(os.environ.get("LOCAL_RANK", "0"))


def check(trainer: dict[str, Any]) -> None:
    """That the trainer's devices and nodes are the processes that there are. LightsegError says what to give."""
    devices, nodes, outside = trainer.get("devices", 1), trainer.get("num_nodes") or 1, launched()
    if outside is None:
        if nodes > 1:
            raise LightsegError(
                f"trainer.num_nodes={nodes}: processes on several machines are started by torchrun or by srun"
            )
        return
    count = len(devices) if isinstance(devices, list) else devices
    if not isinstance(count, int) or count < 1 or count * nodes == outside.world_size:  # "auto": Lightning's to judge
        return
    here = outside.here or max(1, outside.world_size // nodes)
    raise LightsegError(
        f"{outside.by} started {outside.world_size} processes, but trainer.devices={count} on {nodes} machines is "
        f"{count * nodes}: give trainer.devices={here} trainer.num_nodes={max(1, outside.world_size // here)}"
    )


def agree(make: Callable[[], Path]) -> Path:
    """The folder that `make` gives in the first process, in all of them."""
    global _folder
    _folder = _agree(make)
    return _folder


def current_run_folder() -> Path:
    """What `agree` gave last."""
    assert _folder is not None, "no run has begun"
    return _folder


def forget_run_folder() -> None:
    """So that neither the next run of this process nor a process that it starts takes the folder for its own."""
    global _folder
    _folder = None
    os.environ.pop(FOLDER, None)


def _agree(make: Callable[[], Path]) -> Path:
    outside = launched()
    if outside is None:
        if rank():
            if FOLDER not in os.environ:
                raise LightsegError(
                    "Lightning starts the processes of trainer.strategy once in a program: start a second training of "
                    "several processes in a program of its own, with lightseg train"
                )
            return Path(os.environ[FOLDER])
        folder = make()
        os.environ[FOLDER] = str(folder)
        return folder
    if outside.world_size == 1:
        return make()
    store = _meet(outside)
    key = f"lightseg/folder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"  # torchrun's store outlives a restart
    if outside.rank:
        told = store.get(key).decode()
        if told == _FAILED:
            raise SystemExit(2)  # the first process says why
        return Path(told)
    try:
        folder = make()
    except BaseException:
        store.set(key, _FAILED)
        raise
    store.set(key, str(folder.absolute()))
    return folder


def _meet(outside: Launched) -> Any:
    """The key-value store of all processes, at MASTER_ADDR and MASTER_PORT; where rank 0 serves it, the process group
    shares the server later."""
    global _store
    if _store is None:
        if outside.by == "Slurm":
            from pytorch_lightning.plugins.environments import SLURMEnvironment

            cluster = SLURMEnvironment(auto_requeue=False)
            os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
        from torch.distributed import rendezvous

        _store, _, _ = next(rendezvous("env://", rank=outside.rank, world_size=outside.world_size))
    return _store
