"""The processor's name, from what Linux, macOS and others say of it."""

import subprocess

import pytest

from lightseg.profile import machine

CORE = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: {}\ncpu MHz\t: 2300\n"
ARM = "processor\t: {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n"


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What `processor` makes of a /proc/cpuinfo; None: there is none."""

    def name(text, system="Linux", own="", architecture="aarch64"):
        path = tmp_path / "cpuinfo"
        if text is not None:
            path.write_text(text, encoding="latin-1")
        monkeypatch.setattr(machine, "CPUINFO", path)
        for key, value in (("system", system), ("processor", own), ("machine", architecture)):
            monkeypatch.setattr(machine.platform, key, lambda value=value: value)
        return machine.processor()

    return name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CORE.format("AMD EPYC 7B13") * 2, "AMD EPYC 7B13"),
        (
            CORE.format("Intel(R) Xeon(R)  Processor, big\xae"),
            "Intel(R) Xeon(R) Processor big\ufffd family 6 model 207",
        ),
        (ARM.format(0, "0xd0c") * 2, "aarch64 0x41 0xd0c"),
        (ARM.format(0, "0xd05") + ARM.format(1, "0xd41"), "aarch64 0x41 0xd05+0xd41"),  # cores of two kinds
        (ARM.format(0, "0xd08") + "\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n", "Raspberry Pi 4 Model B Rev 1.4"),
        ("nothing known\n", "aarch64"),
        (None, "aarch64"),
    ],
)
def test_linux(said, text, name):
    assert said(text) == name


def test_elsewhere(said, monkeypatch):
    windows = "Intel64 Family 6 Model 142 Stepping 10, GenuineIntel"
    assert said(None, "Windows", windows) == windows.replace(",", "")
    assert said(None, "Windows", "", "") == "unknown processor"
    answer = subprocess.CompletedProcess([], 0, stdout="Apple M1\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)
    assert said(None, "Darwin", "arm", "arm64") == "Apple M1"

    def fails(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(machine.subprocess, "run", fails)
    assert said(None, "Darwin", "arm", "arm64") == "arm"


def test_this_machine_has_a_name():
    assert machine.processor().strip() and "," not in machine.processor() and machine.processor().isprintable()
    assert machine.machine().startswith(f"{machine.processor()}, {machine.cpu_count()} CPU")
