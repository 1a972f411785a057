"""The wheel: what is in it, and the trainer out of it, from an empty folder, against the checkout's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

import train
from lightseg.record import git_state
from tests.conftest import only_run
from tests.nets import SHALLOW

pytestmark = pytest.mark.xdist_group("wheel")  # one process builds and installs it

ROOT = Path(__file__).parents[1]
THREADS = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums of another order are other numbers
DATA = """
format: imagefolder
root: {}
split: {{train: train, val: val}}
classes: null
batch_size: 4
eval_batch_size: 4
workers: 0
cache: false
on_error: raise
augment: {{size: 32, scale: [0.35, 1.0], hflip: 0.5}}
eval: {{size: 32, crop_pct: 1.0, interpolation: bilinear}}
"""
SMALL = [
    "task=cls",
    "data=x",
    f"backbone={SHALLOW}",
    "schedule.warmup_steps=0",
    "logger=csv",
    "profile.runs=1",
]
WHOLE = [*SMALL, "trainer.max_epochs=4"]
DDP = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "data.batch_size=2"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """site-packages with lightseg alone; the other packages are this environment's."""
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six and two images, of their own colours."""
    import cv2
    import numpy as np

    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for index, name in enumerate(("ant", "bee")):
            for number in range(count):
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                pixels[..., index] += 120
                assert cv2.imwrite(str(path), pixels)
    return root


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """An empty folder but for ./configs/data/x.yaml."""
    path = tmp_path_factory.mktemp("empty")
    (path / "configs" / "data").mkdir(parents=True)
    (path / "configs" / "data" / "x.yaml").write_text(DATA.format(photos))
    return path


@pytest.fixture(scope="session")
def command(installed: Path, folder: Path) -> Callable[..., str]:
    """`command("train", ...)` runs `python -m lightseg` of the wheel there; gives what it printed."""

    def run(*words: str, launcher: tuple[str, ...] = ()) -> str:
        started = [sys.executable, *launcher, "-m", "lightseg", *words]
        done = subprocess.run(
            started, cwd=folder, env=environment(installed), capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def finished(command: Callable[..., str], folder: Path) -> Path:
    """The folder of a whole run."""
    printed = command("train", *WHOLE)
    assert "epoch 4/4" in printed
    return only_run(folder / "runs")


def environment(installed: Path) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LIGHTSEG_")}
    return clean | THREADS | {"PYTHONPATH": str(installed), "PYTHONNOUSERSITE": "1"}


def record_of(run: Path) -> dict:
    return json.loads((run / "record.json").read_text())


# -- its contents ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_holds_the_tree_and_nothing_else(wheel):
    def files(top: str) -> set[str]:
        found = (path for path in (ROOT / top).rglob("*") if path.is_file())
        return {str(path.relative_to(ROOT)) for path in found if not {"__pycache__", ".DS_Store"} & set(path.parts)}

    expected = files("lightseg") | {f"lightseg/{path}" for path in files("tasks") | files("configs")}
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    ours = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert ours == expected and len(names) == len(set(names))
    for part in ("py.typed", "catalog/costs.json", "assets/base.css", "configs/train.yaml",
                 "configs/sweeps/seg_backbones.yaml", "catalog/search_spaces/dmasking_mini.yaml"):  # fmt: skip
        assert f"lightseg/{part}" in ours


@pytest.mark.slow
def test_site_packages_gets_lightseg_and_no_other_module(installed):
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names <= {"lightseg", "bin"} and "lightseg" in names


# -- its commands ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_an_empty_folder_it_is_the_checkouts_trainer(command, folder, finished, monkeypatch):
    """The same figures to the last digit; then what comes after a run."""
    run = finished
    monkeypatch.chdir(folder)
    assert train.main([*WHOLE, "runs_dir=checkout"]) == 0
    checkout = only_run(folder / "checkout")
    assert (run / "metrics.csv").read_text() == (checkout / "metrics.csv").read_text()
    ours, theirs = record_of(run), record_of(checkout)
    for key in ("metrics", "config_hash", "setting", "data", "protocol", "data_fingerprint"):
        assert ours[key] == theirs[key], key
    assert ours["git"] == {} and ours["metrics"]["val/top1"] > 0
    checkpoint = str((run / "checkpoints" / "best.ckpt").relative_to(folder))
    command("train", "mode=test", f"ckpt={checkpoint}", "runs_dir=tested")
    assert record_of(only_run(folder / "tested"))["metrics"] == ours["metrics"]
    image = next((Path(ours["config"]["data"]["root"]) / "val").rglob("*.png"))
    command("predict", checkpoint, str(image), "--output", "predictions")
    assert (folder / "predictions" / "results.json").is_file()
    command("export", checkpoint, "--format", "torch", "--output", "net.pt2")
    assert (folder / "net.pt2").stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_resumed_it_ends_like_an_uninterrupted_run(command, folder, installed, finished):
    started = [sys.executable, "-m", "lightseg", "train", *WHOLE, "runs_dir=cut"]
    with subprocess.Popen(started, cwd=folder, env=environment(installed), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if list(folder.glob("cut/*/*/*/*/checkpoints/last.ckpt")):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
    cut = only_run(folder / "cut")
    assert not (cut / "record.json").exists()  # killed before its end, or this test would show nothing
    command("train", f"resume={cut.relative_to(folder)}")
    assert record_of(cut)["metrics"] == record_of(finished)["metrics"]
    assert (cut / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sweep_of_two_and_again(command, folder):
    options = [*SMALL, "trainer.max_epochs=1", "seed=0,1", "runs_dir=sweep"]
    assert "[2/2] seed=1: val/top1" in command("train", *options)
    assert len(list(folder.glob("sweep/*/*/*/*/record.json"))) == 2
    (log, _) = sorted((folder / "sweep" / "sweeps").glob("*.log"))
    assert log.read_text().startswith("$ lightseg train task=cls data=x ")
    assert command("train", *options).count("there already") == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_of_torchrun_and_of_lightning(command, folder):
    options = [*SMALL, *DDP, "trainer.max_epochs=1"]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    command("train", *options, "runs_dir=torchrun", launcher=torchrun)
    command("train", *options, "runs_dir=lightning")
    records = [record_of(only_run(folder / name)) for name in ("torchrun", "lightning")]
    assert records[0]["metrics"] == records[1]["metrics"] and records[0]["protocol"]["images"] == 4


def test_the_commit_is_that_of_the_code_and_of_no_repository_around_it(tmp_path):
    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    assert git_state(tmp_path) == {}
    environment_folder = tmp_path / "venv" / "lib"
    environment_folder.mkdir(parents=True)
    (environment_folder / "code.py").touch()
    (tmp_path / ".gitignore").write_text("venv/\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "mine")
    assert len(git_state(tmp_path)["commit"]) == 40 and git_state(tmp_path)["dirty"] is False
    assert git_state(environment_folder) == {}
