"""The device of a run, for its record: figures of time and memory are comparable only on the same kind."""

import subprocess
from typing import Any

import torch

from lightseg.profile.machine import processor


def accelerator(device: torch.device, count: int) -> dict[str, Any]:
    """`type` ("cuda", "cpu"), `name`, and `count`, the number of devices, or of processes on a CPU.

    Of CUDA also `peak_memory_mb`, the tensors of this process in MiB (2^20 bytes), and the versions `cuda` and
    `driver`, which is None where nvidia-smi does not tell it.
    """
    if device.type != "cuda":
        return {"type": device.type, "name": processor(), "count": count}
    return {
        "type": device.type,
        "name": torch.cuda.get_device_name(device),
        "count": count,
        "peak_memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20),
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.split("\n")[0].strip() or None
