"""The name of this machine's processor: latencies are comparable only on the same kind."""

import os
import platform
import subprocess
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # Linux's


def cpu_count() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, or its architecture where the system has no name. One line without commas."""
    name = _macos_name() if platform.system() == "Darwin" else _linux_name()
    name = name or platform.processor() or platform.machine() or "unknown processor"
    return " ".join(name.replace(",", " ").split())


def machine() -> str:
    """The processor's name and the number of processors that this process may use."""
    return f"{processor()}, {cpu_count()} CPU{'s' * (cpu_count() > 1)}"


def _linux_name() -> str:
    """From /proc/cpuinfo; "" on other systems."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    fields: dict[str, list[str]] = {}  # key -> distinct values: a processor may have two kinds of cores
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if value and value not in fields.setdefault(key, []):
            fields[key].append(value)
    if "Model" in fields:  # "Raspberry Pi 4 Model B Rev 1.4"
        return fields["Model"][0]
    if "model name" in fields:
        name = fields["model name"][0]
        if not any(char.isdigit() for char in name):  # of virtual machines: "Intel(R) Xeon(R) Processor"
            numbers = [f"{key.split()[-1]} {fields[key][0]}" for key in ("cpu family", "model") if key in fields]
            return " ".join([name, *numbers])
        return name
    if "CPU part" in fields:  # ARM has numbers instead of names
        makers = "+".join(fields.get("CPU implementer", []))
        return f"{platform.machine()} {makers} {'+'.join(fields['CPU part'])}"
    return ""


def _macos_name() -> str:
    """ "Apple M1", where platform.processor() returns "arm"."""
    try:
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
