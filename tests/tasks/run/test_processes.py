"""Several processes of one run, started from outside: one folder, one record, one W&B run, one process's figures."""

import json
import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import train
from lightseg.errors import LightsegError
from tasks.run import distributed
from tests.conftest import only_run

ROOT = Path(__file__).parents[3]
SLURM = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
         "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1"}  # fmt: skip
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Whatever starts the tests, it starts one process."""
    for key in list(os.environ):
        if key.startswith(("SLURM_", "TORCHELASTIC_")) or key in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(key)
    monkeypatch.setattr(distributed, "_store", None)


def in_torchrun(words: list[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py", *words]
    subprocess.run(command, cwd=ROOT, check=True, timeout=400, stdout=subprocess.DEVNULL)


def in_slurm(words: list[str]) -> None:
    """What srun does on one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "train.py", *words],
            cwd=ROOT,
            env=os.environ | SLURM | {"MASTER_PORT": port, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.DEVNULL,
        )
        for rank in "01"
    ]
    assert [process.wait(400) for process in started] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "start"), [("seg", in_torchrun), ("cls", in_slurm)])
def test_two_processes_evaluate_like_one(task, start, words, cls_words, tmp_path, monkeypatch):
    """Those of detection and pose: test_detection_again.py and test_pose_again.py."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    make = {"seg": words, "cls": cls_words}[task]
    assert train.main(make("data.batch_size=2", "optimizer.lr=3e-3")) == 0
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "last.ckpt"
    test = ["mode=test", f"ckpt={checkpoint}", "data.eval_batch_size=1"]
    assert train.main([*test, f"runs_dir={tmp_path / 'one'}"]) == 0
    ddp = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu"]
    start([*test, *ddp, f"runs_dir={tmp_path / 'two'}", "logger=wandb", "logger.mode=offline"])
    one, two = (json.loads((only_run(tmp_path / name) / "record.json").read_text()) for name in ("one", "two"))
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-6, nan_ok=True)
    figures = {"seg": "mIoU", "cls": "top5"}
    assert one["metrics"][f"val/{figures[task]}"] > 0
    assert len(list((tmp_path / "two").rglob("offline-run-*"))) == 1
    assert two["protocol"]["images"] == one["protocol"]["images"] > 2


@pytest.mark.parametrize(
    ("environment", "trainer", "said"),
    [
        (TORCHRUN | {"RANK": "0"}, {"devices": 1}, "trainer.devices=2 trainer.num_nodes=2"),
        (TORCHRUN | {"RANK": "0"}, {"devices": 4}, None),
        (TORCHRUN | {"RANK": "3"}, {"devices": [0, 1], "num_nodes": 2}, None),
        (TORCHRUN | {"RANK": "0"}, {"devices": "auto"}, None),
        (SLURM | {"SLURM_PROCID": "1"}, {"devices": 1}, "Slurm started 2 processes"),
        (SLURM | {"SLURM_PROCID": "1"}, {"devices": 2, "num_nodes": 1}, None),
        (SLURM | {"SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, {"devices": 1}, None),
        ({}, {"devices": 2, "num_nodes": 2}, "torchrun or srun"),
        ({}, {"devices": 2}, None),
    ],
)
def test_as_many_devices_as_processes(environment, trainer, said, monkeypatch):
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    if said is None:
        distributed.check(trainer)
        return
    with pytest.raises(LightsegError, match=said):
        distributed.check(trainer)


def test_the_first_process_says_where_and_the_others_hear_it(monkeypatch, tmp_path):
    """Over a real store, each rank in a thread."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = torch.distributed.TCPStore("127.0.0.1", port, 1, True, timedelta(seconds=60))
    heard: dict[int, object] = {}

    def other() -> None:
        client = torch.distributed.TCPStore("127.0.0.1", port, 1, False, timedelta(seconds=60))
        heard[1] = client.get("lightseg/folder/0").decode()

    listener = threading.Thread(target=other)
    listener.start()
    for key, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(distributed, "_store", server)
    assert distributed.agree(lambda: tmp_path) == tmp_path
    listener.join(60)
    assert heard == {1: str(tmp_path)}
    monkeypatch.setenv("RANK", "1")
    assert distributed.agree(lambda: pytest.fail("only the first one makes it")) == tmp_path


def test_where_the_first_process_cannot_the_others_end(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(distributed, "_store", torch.distributed.TCPStore("127.0.0.1", port, 1, True))
    for key, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(key, value)

    def cannot() -> Path:
        raise LightsegError("no room")

    with pytest.raises(LightsegError, match="no room"):
        distributed.agree(cannot)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        distributed.agree(cannot)


def test_a_process_that_lightning_starts_finds_the_folder_of_the_first(monkeypatch, tmp_path):
    monkeypatch.setenv(distributed.FOLDER, "unused")
    assert distributed.agree(lambda: tmp_path) == tmp_path  # the first one
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.rank() == 1
    assert distributed.agree(lambda: pytest.fail("only the first one makes it")) == tmp_path
