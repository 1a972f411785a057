"""The Python examples of docs/other_projects.md, run one after the other in an empty folder by a fresh interpreter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "other_projects.md").read_text(encoding="utf-8"), re.DOTALL
)
PRINTS = (
    "(1, 144, 7, 7)",
    "Stage(channels=672, stride=16)",
    "torch.Size([1, 19, 256, 256])\ntorch.Size([1, 19, 256, 256])",
    "dict_keys(['boxes', 'labels', 'scores'])",
)


def run(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_there_are_as_many_as_are_checked():
    assert len(EXAMPLES) == len(PRINTS)


@pytest.mark.slow
def test_examples_print_what_they_promise(tmp_path):
    mark = "end of an example"
    output = run(f"\nprint({mark!r})\n".join(EXAMPLES), tmp_path)
    for printed, expected in zip(output.split(mark), PRINTS, strict=True):
        assert expected in printed


IMPORT = """
import sys, timm
before = set(sys.modules)
import lightseg.backbones
print(sorted({m.split(".")[0] for m in set(sys.modules) - before}))
"""


def test_importing_the_backbones_imports_nothing_that_timm_does_not(tmp_path):
    # timm itself imports torchvision, and wandb where it is installed
    assert run(IMPORT, tmp_path).strip() == "['lightseg']"
