"""`search=netadapt` through train.py: from a trained run to an architecture that all commands accept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from lightseg.catalog.arch_yaml import read_arch, write_arch
from lightseg.checkpoint import load_model
from lightseg.cli import main as lightseg
from lightseg.data.datasets.cityscapes import CLASSES
from lightseg.model import create_model
from lightseg.profile import count_madds
from tests.conftest import only_run
from tests.export.conftest import TINY

ROOT = Path(__file__).parents[3]
SEARCH = (
    "backbone=mobilenetv3_small_050",
    "search=netadapt",
    "search.steps=2",
    "search.holdout=0.34",
    "search.delta=0.15",
    "search.target=0.75",
)


def write_checkpoint(path: Path, backbone: str) -> Path:
    """A checkpoint as of a run of `words`, with random weights."""
    torch.manual_seed(0)
    model = create_model(backbone, "seg", 19, class_names=[name for _, name, _ in CLASSES])
    state = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    return path


@pytest.fixture
def trained(tmp_path) -> Path:
    return write_checkpoint(tmp_path / "best.ckpt", "mobilenetv3_small_050")


@pytest.fixture
def tiny(tmp_path) -> tuple[str, str]:
    """The words of a net of four blocks and of its weights: a search through it takes seconds."""
    write_arch(TINY, tmp_path / "tiny.yaml")
    checkpoint = write_checkpoint(tmp_path / "tiny.ckpt", str(tmp_path / "tiny.yaml"))
    return f"backbone={tmp_path / 'tiny.yaml'}", f"pretrained={checkpoint}"


def folder_of(runs: Path) -> Path:
    (folder,) = runs.glob("*/*/*/netadapt-*")
    return folder


@pytest.mark.slow
def test_from_a_run_to_an_architecture_with_its_weights_and_record(words, tmp_path, trained, capsys):
    search = words(f"pretrained={trained}", *SEARCH, "search.target=0.85")
    assert train.main(search) == 0
    folder = folder_of(tmp_path / "runs")
    best, steps = folder / "checkpoints" / "best.ckpt", json.loads((folder / "steps.json").read_text())
    wide, narrow = load_model(trained), load_model(best)
    shape = (1, 3, 64, 128)
    madds, before = (count_madds(model, shape, torch.uint8) for model in (narrow, wide))
    assert (steps["seed"]["cost"], steps["steps"][-1]["cost"]) == (before, madds) and madds <= 0.85 * before
    assert all(len(step["tried"]) >= 3 for step in steps["steps"])
    name = f"mobilenetv3_small_050_netadapt{round(100 * madds / before)}"
    assert narrow.spec["backbone"] == read_arch(folder / "arch.yaml").name == name
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["val/mIoU"] == pytest.approx(steps["steps"][-1]["val"], abs=1e-6)
    assert record["cost"]["madds"] == madds and record["backbone"] == name
    table = (folder / "steps.md").read_text()
    assert table.count("\n|") == 3 + len(steps["steps"]) and "| 0 | the trained net |" in table
    assert not list(folder.glob("checkpoints/step-*")) and (folder / "images" / "val.png").is_file()
    # a run can start from its weights, and the same command returns the finished search
    model = create_model(str(folder / "arch.yaml"), "seg", 19, pretrained=str(best))
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, narrow.backbone.state_dict()[key]), key
    capsys.readouterr()
    assert train.main(search) == 0 and "there already" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_and_resumed_a_search_ends_with_the_same_net(words, tmp_path, tiny):
    overrides = (*SEARCH, *tiny)
    assert train.main(words(*overrides, f"runs_dir={tmp_path / 'uninterrupted'}")) == 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "train.py", *words(*overrides, f"runs_dir={tmp_path / 'resumed'}")]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        content = [json.loads(path.read_text()) for path in (tmp_path / "resumed").glob("*/*/*/netadapt-*/steps.json")]
        if content and sum(len(step["tried"]) for step in content[0]["steps"]) >= 5:
            break
        time.sleep(0.05)
    assert process.poll() is None, (tmp_path / "log").read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert train.main(words(*overrides, f"runs_dir={tmp_path / 'resumed'}")) == 0
    uninterrupted, resumed = (folder_of(tmp_path / name) for name in ("uninterrupted", "resumed"))
    assert (uninterrupted / "arch.yaml").read_text() == (resumed / "arch.yaml").read_text()
    steps = [json.loads((folder / "steps.json").read_text()) for folder in (uninterrupted, resumed)]
    assert steps[0]["steps"] == steps[1]["steps"]
    weights = [load_model(folder / "checkpoints" / "best.ckpt").state_dict() for folder in (uninterrupted, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    # all commands accept the result
    arch, best = resumed / "arch.yaml", resumed / "checkpoints" / "best.ckpt"
    again = (f"backbone={arch}", f"pretrained={best}", "trainer.max_epochs=1", f"runs_dir={tmp_path / 'again'}")
    assert train.main(words(*again)) == 0
    assert train.main(["mode=test", f"ckpt={best}", f"runs_dir={tmp_path / 'test'}"]) == 0
    assert lightseg(["profile", str(best), "--json", "--runs", "0", "--no-onnx"]) in (0, None)
    assert lightseg(["export", str(best), "--format", "onnx", "--output", str(tmp_path / "net.onnx")]) in (0, None)


@pytest.mark.slow
def test_evolution_and_classification_and_latency(cls_words, tmp_path, monkeypatch):
    write_arch(TINY, tmp_path / "tiny.yaml")
    tiny = f"backbone={tmp_path / 'tiny.yaml'}"
    assert train.main(cls_words(tiny, f"runs_dir={tmp_path / 'seed'}")) == 0
    best = only_run(tmp_path / "seed") / "checkpoints" / "best.ckpt"
    search = (tiny, "search=netadapt", f"pretrained={best}", "search.steps=1", "search.holdout=0.3",
              "search.target=0.8", "search.delta=0.1", "data.batch_size=4")  # fmt: skip
    evolution = ("search.variant=evolution", "search.population=3", "search.generations=2", "search.parents=2")
    assert train.main(cls_words(*search, *evolution)) == 0
    steps = json.loads((folder_of(tmp_path / "runs") / "steps.json").read_text())
    nets = [net for step in steps["steps"] for net in step["tried"]]
    assert len(nets) == 6 and all(0.7 <= net["cost"] / steps["seed"]["cost"] <= 0.8 for net in nets)
    assert steps["steps"][-1]["held"] == max(net["held"] for net in nets)

    def milliseconds(layer, shape, **_):  # latency in proportion to multiply-adds
        return {"latency_ms": 0.5 if type(layer).__name__ == "_StemAndHead" else count_madds(layer, shape) / 1e5}

    monkeypatch.setattr("lightseg.search.netadapt.cost.measure_latency", milliseconds)
    table = tmp_path / "table.json"
    latency = cls_words(*search, "search.cost=latency_ms", f"search.table={table}", f"runs_dir={tmp_path / 'latency'}")
    assert train.main(latency) == 0
    steps = json.loads((folder_of(tmp_path / "latency") / "steps.json").read_text())
    assert steps["steps"][-1]["cost"] <= 0.8 * steps["seed"]["cost"] and json.loads(table.read_text())["entries"]


REFUSED = {
    "target above 1": (["search.target=1.2"], "must be a number above 0 and below 1"),
    "no weights": (["pretrained=false"], "search=netadapt starts from a trained net: give pretrained=<run folder>/"),
    "another metric": (["search.table={table}"], "is for search.cost=latency_ms, and the target is of madds"),
    "no such table": (["search.cost=latency_ms", "search.table={other}"], "other.json is no table of costs"),
    "variant": (["search.variant=best"], "must be one of netadapt, evolution"),
    "several": (["seed=0,1"], "search=netadapt is a single run in this process"),
    "task": (["task=det", "data=mini_det"], "search=netadapt is for task=seg and task=cls, not task=det"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_overrides_are_an_error_of_one_line(case, tmp_path, capsys):
    overrides, message = REFUSED[case]
    table, other = tmp_path / "table.json", tmp_path / "other.json"
    table.write_text('{"metric": "latency_ms", "entries": {}}')
    other.write_text("{}")
    (tmp_path / "best.ckpt").touch()
    base = ("search=netadapt", f"pretrained={tmp_path / 'best.ckpt'}")
    values = dict(override.split("=", 1) for override in (*base, *overrides))
    assert train.main([f"{key}={value.format(table=table, other=other)}" for key, value in values.items()]) == 2
    line = capsys.readouterr().err
    assert message in line and line.startswith("error: ") and line.count("\n") == 1


def test_an_unsuitable_checkpoint_is_an_error_of_one_line(words, tmp_path, trained, capsys):
    def refusal(*overrides: str) -> str:
        assert train.main(words(f"pretrained={trained}", *SEARCH, *overrides)) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ") and line.count("\n") == 1
        return line

    capsys.readouterr()
    assert "is of backbone=mobilenetv3_small_050, not mobilenetv2: give backbone=" in refusal("backbone=mobilenetv2")
    assert "is of output_stride=16, not 32" in refusal("output_stride=32")
    assert "search.target=0.001 cannot be reached: the narrowest net" in refusal("search.target=0.001")
    assert "leaves 0 to compare nets on" in refusal("search.holdout=0.01")
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    assert "not a checkpoint that can be read safely" in refusal(f"pretrained={tmp_path / 'weights.pth'}")
    write_checkpoint(tmp_path / "other.ckpt", "squeezenet1_0")
    line = refusal(f"pretrained={tmp_path / 'other.ckpt'}", "backbone=squeezenet1_0")
    assert "backbone squeezenet1_0 is no inverted-residual net" in line
