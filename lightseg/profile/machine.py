"""What a time was measured on: times compare on one kind of processor."""

import os
import platform
import subprocess
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # Linux's


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as far as the system tells it, otherwise its architecture. On one line, without commas."""
    name = _of_macos() if platform.system() == "Darwin" else _of_linux()
    name = name or platform.processor() or platform.machine() or "unknown processor"
    return " ".join(name.replace(",", " ").split())


def machine() -> str:
    """The processor's name, and how many of it this process may use."""
    return f"{processor()}, {cpu_count()} CPU{'s' * (cpu_count() > 1)}"


def _of_linux() -> str:
    """Empty where there is no Linux."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said: dict[str, list[str]] = {}  # each value once: a processor may have cores of two kinds
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if value and value not in said.setdefault(key, []):
            said[key].append(value)
    if "Model" in said:  # "Raspberry Pi 4 Model B Rev 1.4"
        return said["Model"][0]
    if "model name" in said:
        name = said["model name"][0]
        if not any(letter.isdigit() for letter in name):  # what virtual machines say: "Intel(R) Xeon(R) Processor"
            numbers = [f"{key.split()[-1]} {said[key][0]}" for key in ("cpu family", "model") if key in said]
            return " ".join([name, *numbers])
        return name
    if "CPU part" in said:  # ARM says numbers alone
        makers = "+".join(said.get("CPU implementer", []))
        return f"{platform.machine()} {makers} {'+'.join(said['CPU part'])}"
    return ""


def _of_macos() -> str:
    """ "Apple M1", where platform.processor() knows "arm"."""
    try:
        words = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
