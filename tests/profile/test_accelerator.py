"""The device of a run, for its record."""

import subprocess
from types import SimpleNamespace

import pytest
import torch

from lightseg.profile.accelerator import accelerator
from lightseg.profile.machine import processor


def test_of_a_cpu_the_processes_count():
    assert accelerator(torch.device("cpu"), 2) == {"type": "cpu", "name": processor(), "count": 2}


@pytest.mark.parametrize(("out", "driver"), [("550.54.15\n550.54.15\n", "550.54.15"), (None, None)])
def test_of_cuda_memory_and_versions_too(out, driver, monkeypatch):
    def run(command, **options):
        if out is None:
            raise FileNotFoundError(command[0])
        return SimpleNamespace(stdout=out)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert accelerator(torch.device("cuda:1"), 2) == {
        "type": "cuda",
        "name": "NVIDIA X",
        "count": 2,
        "peak_memory_mb": 3,
        "cuda": "12.8",
        "driver": driver,
    }
