"""Sweeps of W&B: what its agents run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.marks import slow_except
from tests.tasks.launch.conftest import ROOT

SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", slow_except(SWEEPS[:1], SWEEPS), ids=lambda path: path.stem)
def test_an_agent_of_a_wandb_sweep_runs_a_command_that_composes(path):
    """The agent's command, put together by W&B's own functions, with the first values of the space."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    content = yaml.safe_load(path.read_text())
    values = {}
    for name, parameter in content["parameters"].items():
        first = parameter["values"][0] if "values" in parameter else parameter.get("value", parameter.get("min"))
        values[name] = {"value": first}
    parts = create_sweep_command_args({"args": values}) | {
        "env": ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [content["program"]],
    }
    command: list[str] = []
    for word in create_sweep_command(content["command"]):
        name = word.removeprefix("${").removesuffix("}")
        command += parts[name] if word.startswith("${") else [word]
    path_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [*command, "--cfg"], cwd=ROOT, env=os.environ | {"PATH": path_first}, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    for name, parameter in values.items():
        node = config
        for part in name.split("."):
            node = node[part]
        assert node == parameter["value"], name
    task = {"val/mIoU": "seg", "val/mAP": "det", "val/top1": "cls"}[content["metric"]["name"]]
    assert config["task"] == task and content["metric"]["goal"] == "maximize"
    assert json.loads(json.dumps(config)) == config
