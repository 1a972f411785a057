"""The processor's name on Linux, macOS and other systems."""

import subprocess

import pytest

from lightseg.profile import machine

CORE = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: {}\ncpu MHz\t: 2300\n"
ARM = "processor\t: {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n"


@pytest.fixture
def name_of(monkeypatch, tmp_path):
    """The result of `processor` for the text of /proc/cpuinfo; None: there is no such file."""

    def name(text, system="Linux", platform_name="", architecture="aarch64"):
        path = tmp_path / "cpuinfo"
        if text is not None:
            path.write_text(text, encoding="latin-1")
        monkeypatch.setattr(machine, "CPUINFO", path)
        for key, value in (("system", system), ("processor", platform_name), ("machine", architecture)):
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
def test_linux(name_of, text, name):
    assert name_of(text) == name


def test_other_systems(name_of, monkeypatch):
    windows = "Intel64 Family 6 Model 142 Stepping 10, GenuineIntel"
    assert name_of(None, "Windows", windows) == windows.replace(",", "")
    assert name_of(None, "Windows", "", "") == "unknown processor"
    output = subprocess.CompletedProcess([], 0, stdout="Apple M1\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: output)
    assert name_of(None, "Darwin", "arm", "arm64") == "Apple M1"

    def fails(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(machine.subprocess, "run", fails)
    assert name_of(None, "Darwin", "arm", "arm64") == "arm"


def test_this_machine_has_a_name():
    assert machine.processor().strip() and "," not in machine.processor() and machine.processor().isprintable()
    assert machine.machine().startswith(f"{machine.processor()}, {machine.cpu_count()} CPU")
