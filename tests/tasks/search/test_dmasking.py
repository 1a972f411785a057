"""search=dmasking through train.py: it ends with an architecture, also after kill -9, and that net trains."""

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
from lightseg.catalog.arch_yaml import read_arch
from lightseg.checkpoint import load_model
from lightseg.config.compose import compose
from tests.conftest import only_run
from tests.search.tiny_space import TINY

ROOT = Path(__file__).parents[3]


@pytest.fixture
def space(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def search_overrides(words, space):
    def make(*more: str) -> list[str]:
        search = ["search=dmasking", f"backbone={space}", "search.target=1.2e6", "search.lr=0.3", "search.warmup=0.0"]
        return words(*search, "data.batch_size=3", *more)

    return make


def refused(overrides, capsys) -> str:
    assert train.main(overrides) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_search_ends_with_a_net_within_the_target(search_overrides, tmp_path, capsys):
    assert train.main(search_overrides("trainer.max_epochs=2", "trainer.log_every_n_steps=1")) == 0
    folder = only_run(tmp_path / "runs")
    out = capsys.readouterr().out
    arch, content = read_arch(folder / "arch.yaml"), json.loads((folder / "search.json").read_text())
    assert f"backbone={folder / 'arch.yaml'}" in out and content["arch"] == arch.name
    assert content["found"] <= content["target"] == 1.2e6
    assert content["measured"]["madds"] == pytest.approx(content["found"], rel=0.01)
    history = content["history"]
    assert len(history["costs"]) == 2 and {len(h) for h in history["probabilities"].values()} == {2}
    assert all(first != last for first, last in history["probabilities"].values())  # every choice was trained
    assert (folder / "images" / "search.png").stat().st_size > 1000
    record = json.loads((folder / "record.json").read_text())
    assert record["backbone"] == arch.name and record["cost"]["madds"] > content["found"]  # plus the head
    assert record["setting"]["search.target"] == 1.2e6 and not record["protocol"]["ema"]
    assert "search/cost" in (folder / "metrics.csv").read_text().splitlines()[0]
    model = load_model(folder / "checkpoints" / "last.ckpt")  # the super-network, which needs no file of its space
    assert model(torch.zeros(1, 3, 64, 128, dtype=torch.uint8)).shape[1] == 19


@pytest.mark.slow
def test_classification_searches_a_net_that_trains(cls_words, space, tmp_path):
    search = ["search=dmasking", f"backbone={space}", "search.cost=params", "search.target=9e3", "trainer.max_epochs=1"]
    assert train.main(cls_words(*search)) == 0
    folder = only_run(tmp_path / "runs")
    content = json.loads((folder / "search.json").read_text())
    assert content["measured"]["params"] == pytest.approx(content["found"], rel=0.01) and content["found"] <= 9e3
    assert content["history"]["costs"] == []  # the only epoch is the warm-up
    # from scratch, with another head and as an ordinary backbone
    trained = cls_words(f"backbone={folder / 'arch.yaml'}", "trainer.max_epochs=1", f"runs_dir={tmp_path / 'b'}")
    assert train.main(trained) == 0
    assert json.loads((only_run(tmp_path / "b") / "record.json").read_text())["backbone"] == content["arch"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["det", "pose"])
def test_detection_and_pose_search_too(task, request, space, tmp_path):
    overrides = request.getfixturevalue(f"{task}_words")
    search = [
        "search=dmasking",
        f"backbone={space}",
        "search.target=1.2e6",
        "search.warmup=0.0",
        "trainer.max_epochs=2",
    ]
    assert train.main(overrides(*search)) == 0
    folder = only_run(tmp_path / "runs")
    content = json.loads((folder / "search.json").read_text())
    assert content["measured"]["madds"] == pytest.approx(content["found"], rel=0.01) and content["found"] <= 1.2e6
    assert all(first != last for first, last in content["history"]["probabilities"].values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["search.target=1e3"], "no net of tiny costs so little; its cheapest has"),
        (["search.target=null"], "needs search.target=<number>"),
        (["search.cost=flops"], "must be one of madds, params, latency_ms"),
        (["search.table=runs/ms.json"], "the target is of madds: leave the table out"),
        (["backbone=mobilenetv3_small"], "needs a search space: backbone=mobilenetv3_small is none"),
        (["search.temperature=[1]"], "must be a list of two numbers above 0"),
        (["search.warmup=1.0"], "must be a number from 0 to below 1"),
        (["ema.decay=0.9"], "needs ema.decay=0.0"),
        (["drop_path_rate=0.1"], "takes no drop_path_rate=0.1"),
        (["trainer.devices=2"], "runs in one process"),
        (["trainer.devices=[0,1]"], "runs in one process"),
        (["head.variant=torchvision"], "has fixed taps, dilation and eps"),
        (["data.batch_size=4"], "is more than the 3 of a half"),
    ],
)
def test_invalid_searches_are_an_error_of_one_line(search_overrides, tmp_path, capsys, overrides, message):
    assert message in refused(search_overrides(*overrides), capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("devices", "composed"), [("auto", 1), ("[1]", [1])])
def test_a_search_is_of_one_device(search_overrides, devices, composed):
    """auto may be several."""
    assert compose(search_overrides(f"trainer.devices={devices}")).trainer.devices == composed


def test_files_of_another_kind_are_an_error(search_overrides, words, space, tmp_path, capsys):
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"metric": "joule", "entries": {}}))
    line = refused(search_overrides("search.cost=latency_ms", f"search.table={table}"), capsys)
    assert "is of joule, and the target of search.cost=latency_ms" in line
    space.write_text(TINY.replace("divisor: 4", "divisor: 16"))
    assert "is not divisible by the divisor 16" in refused(search_overrides(), capsys)
    assert "unknown key" in refused(words(f"backbone={space}"), capsys)  # a space is not an architecture
    assert "give search=dmasking" in refused(words("backbone=dmasking_mini"), capsys)


@pytest.mark.slow
def test_killed_and_resumed_a_search_ends_with_the_same_net(search_overrides, tmp_path):
    options = ["trainer.max_epochs=4", "search.target=2e6"]
    assert train.main(search_overrides(*options, f"runs_dir={tmp_path / 'uninterrupted'}")) == 0
    command = [sys.executable, "train.py", *search_overrides(*options, f"runs_dir={tmp_path / 'resumed'}")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # the order of sums changes their rounding
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            checkpoints = list((tmp_path / "resumed").glob("*/*/*/*/checkpoints/last.ckpt"))
            if checkpoints and torch.load(checkpoints[0], weights_only=True)["epoch"] >= 1:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    folder = only_run(tmp_path / "resumed")
    assert not (folder / "arch.yaml").exists()  # killed before its end
    assert train.main([f"resume={folder}"]) == 0
    uninterrupted = only_run(tmp_path / "uninterrupted")
    ours, theirs = (json.loads((f / "search.json").read_text()) for f in (folder, uninterrupted))
    assert ours["history"] == theirs["history"] and ours["choices"] == theirs["choices"]
    assert (folder / "arch.yaml").read_text() == (uninterrupted / "arch.yaml").read_text()
