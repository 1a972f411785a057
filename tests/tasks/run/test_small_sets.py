"""First runs on small sets, with the defaults of batch size and warm-up."""

import shutil
from pathlib import Path

import yaml

from lightseg.cli import main
from tests.conftest import only_run
from tests.nets import SHALLOW
from tests.tasks.conftest import write_boxes, write_classes
from tests.tasks.persons import own_words, write_figures
from tests.tasks.runs import run

SHORT = ["trainer.max_epochs=1", "profile.runs=1", "logger=csv", "data.workers=0"]
BACKBONE = f"backbone={SHALLOW}"


def write_masks(mini_seg: Path, root: Path) -> Path:
    """A folder of an image and a mask for each split."""
    for split in ("train", "val"):
        image = next((mini_seg / "leftImg8bit" / split).rglob("*.png"))
        mask = next((mini_seg / "gtFine" / split).rglob("*labelIds.png"))
        for source, kind in ((image, "images"), (mask, "masks")):
            target = root / kind / split / "0.png"
            target.parent.mkdir(parents=True)
            shutil.copy(source, target)
    return root


def test_a_single_training_image_of_every_task(mini_seg, tmp_path):
    """It is repeated, as batch norm needs more than a value. A classifier has an image of each of two classes."""
    boxes, persons = (
        write_boxes(tmp_path / "boxes", train=1, val=1),
        write_figures(tmp_path / "persons", train=1, val=1),
    )
    classes = write_classes(tmp_path / "classes", ("red", "blue"), train=1)
    splits = [f"data.split.{split}={{images: {split}, annotations: {split}.json}}" for split in ("train", "val")]
    masks = write_masks(mini_seg, tmp_path / "masks")
    names = ",".join(f"c{number}" for number in range(34))
    sets = {
        "seg": ["data=folder", f"data.root={masks}", f"data.classes=[{names}]", "data.augment.crop_size=[64,128]"],
        "cls": ["data=imagefolder", f"data.root={classes}", "data.augment.size=32"],
        "det": ["data=coco", f"data.root={boxes}", *splits, "data.augment.size=[64,96]", "data.eval.size=[64,96]"],
        "pose": [*own_words(persons), *splits],
    }
    for task, words in sets.items():
        runs = tmp_path / "runs" / task
        record = run([f"task={task}", BACKBONE, *words, *SHORT, f"runs_dir={runs}"])
        config = yaml.safe_load((only_run(runs) / "config.yaml").read_text())
        assert record["config"]["data"]["batch_size"] == config["data"]["batch_size"] in (2, 4), task
        assert config["replaced"]["data.batch_size"] > 4, task


def test_the_batch_size_is_that_of_the_set_and_the_run_is_known_again(words, tmp_path, capsys):
    asked = words("data.batch_size=50", "trainer.max_epochs=1")
    record = run(asked)
    assert "data.batch_size=50 is more than the 6 training images: 6 is used" in capsys.readouterr().out
    assert record["config"]["data"]["batch_size"] == 6 and record["setting"]["data.batch_size"] == 50
    folder = only_run(tmp_path / "runs")
    assert main(["train", f"resume={folder}", "trainer.max_epochs=2"]) == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["batch_size"] == 6 and config["replaced"] == {"data.batch_size": 50}
