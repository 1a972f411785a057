"""Process settings. Each test starts a process, because a process can be tuned only once."""

import json
import os
import subprocess
import sys

import pytest

REPORT = "import json, os, sys; from lightseg import process_tuning; result = process_tuning.tune_process(); "
PAGE_FAULTS = """
import resource, sys
from lightseg import process_tuning
if sys.argv[1] == "kept":
    assert process_tuning.keep_freed_memory()
import torch
def work():
    for _ in range(20):
        torch.empty(2**24).fill_(1)  # 64 MB, above any threshold that malloc sets itself
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")


def run(code, *arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=clean | environment, text=True, capture_output=True, check=True
    )
    return json.loads(done.stdout)


def test_settings_are_applied_without_importing_torch():
    code = (
        REPORT + "print(json.dumps([result['short_spin'], os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules]))"
    )
    assert run(code) == [True, "10000", False]


@pytest.mark.parametrize("variable", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_environment_takes_precedence(variable):
    value = {"GOMP_SPINCOUNT": "7", "OMP_WAIT_POLICY": "active"}[variable]
    code = REPORT + "print(json.dumps([result['short_spin'], os.environ.get('GOMP_SPINCOUNT')]))"
    assert run(code, **{variable: value}) == [False, "7" if variable == "GOMP_SPINCOUNT" else None]


@pytest.mark.slow
@glibc
def test_freed_memory_is_not_mapped_again():
    default, kept = run(PAGE_FAULTS, "default"), run(PAGE_FAULTS, "kept")
    assert kept < default / 10
