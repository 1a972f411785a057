"""A share as the evaluation split: its lists in the run's folder, checked on resume."""

from pathlib import Path

import pytest

from lightseg.config.compose import compose, plain
from lightseg.errors import LightsegError
from tasks.data import DataModule
from tasks.run.progressive import Progressive
from tasks.run.split_lists import save_lists
from tests.data.datasets.label_writers import make_scenes, write_labelme

SCENES = make_scenes(12)


def module(root: Path) -> DataModule:
    overrides = ["task=det", "data=labelme", f"data.root={root}", "data.split={train: ., val: 0.3}", "data.workers=0"]
    config = plain(compose(overrides))
    data = DataModule(config["data"], 0, Progressive(config["schedule"], config["trainer"]["max_epochs"]))
    data.check()
    return data


@pytest.fixture
def root(tmp_path) -> Path:
    write_labelme(tmp_path / "set", {"all": SCENES})
    return tmp_path / "set"


def test_the_lists_of_a_run(root, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    data = module(root)
    save_lists(data, run, resumed=False)
    lists = {split: (run / "splits" / f"{split}.txt").read_text().split() for split in ("train", "val")}
    assert sorted(lists["train"] + lists["val"]) == sorted(f"all/{scene.name}.png" for scene in SCENES)
    assert lists["val"] == [f"all/{name}.png" for name in data.dataset("val").names]
    save_lists(module(root), run, resumed=True)


def test_a_run_is_not_resumed_with_other_images(root, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    save_lists(module(root), run, resumed=False)
    before = (run / "splits" / "train.txt").read_text()
    gone = module(root).dataset("train").paths[0]
    gone.unlink()
    gone.with_suffix(".json").unlink()
    with pytest.raises(LightsegError) as error:
        save_lists(module(root), run, resumed=True)
    name = gone.relative_to(root)
    assert str(error.value) == (
        f"{run}/splits/train.txt: the run began with other images (0 are new, 1 are missing, the first: {name}): "
        "restore them, or start a new run"
    )
    assert (run / "splits" / "train.txt").read_text() == before
