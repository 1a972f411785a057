"""Sweeps of real runs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import train
from tests.tasks.launch.conftest import ROOT, records

SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again_it_ends_like_an_uninterrupted_one(words, tmp_path):
    options = ["trainer.max_epochs=3", "ema.decay=0.9"]
    for seed in (0, 1):
        assert train.main(words(*options, f"seed={seed}", f"runs_dir={tmp_path / 'whole'}")) == 0
    command = [sys.executable, "train.py", *words(*options, "seed=0,1", f"runs_dir={tmp_path / 'cut'}")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums of another order are other numbers
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((tmp_path / "cut").glob("*/*/*/*/checkpoints/last.ckpt"))) == 2:
                process.kill()  # the first run is done, the second has finished an epoch
                break
            time.sleep(0.02)
    done = {path: path.read_text() for path in (tmp_path / "cut").glob("*/*/*/*/record.json")}
    assert len(done) == 1  # killed before the end, or this test would show nothing
    again = subprocess.run(
        command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, timeout=400
    )  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert "there already" in again.stdout
    assert all(path.read_text() == text for path, text in done.items())
    assert len(list((tmp_path / "cut").glob("*/*/*/*/"))) == 2
    whole, cut = records(tmp_path / "whole"), records(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    for key, metrics in whole.items():
        assert cut[key] == pytest.approx(metrics, abs=1e-6), key


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
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
