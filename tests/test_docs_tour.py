"""docs/tour.md from its first command to its last, in an empty folder, as a shell runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lightseg.cli import VERBS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
WITH_FILES = ("predict.md", "export.md", "tour.md")  # pages whose predictions and exports are run


def test_it_shows_training_a_sweep_and_what_comes_after():
    said = "\n".join(COMMANDS)
    for part in ("task=det", "seed=0,1", "lightseg leaderboard", "lightseg predict", "lightseg export"):
        assert part in said


def test_no_other_page_has_predictions_and_exports():
    for page in sorted((ROOT / "docs").glob("*.md")):
        if page.name not in WITH_FILES:
            assert not re.search(r"lightseg (?:predict|export) [\w./*-]+ ", page.read_text(encoding="utf-8")), page.name


def test_every_page_is_in_the_index_and_every_verb_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
    for verb in VERBS:
        assert f"lightseg {verb}" in readme, verb


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    run = f"{sys.executable} {ROOT / 'train.py'}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    printed = []
    for command in COMMANDS:
        words = command.replace("python train.py", run).replace("lightseg ", f"{sys.executable} -m lightseg.cli ", 1)
        if "experiment=tour" in words:
            words += " trainer.max_epochs=1 logger=csv profile.runs=2"
        done = subprocess.run(["bash", "-euc", words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    said = "\n".join(printed)
    for part in ("val/mIoU", "val/mAP", "record.json", "there already", "micronet_m3", "16 answered", "same answers"):
        assert part in said
    assert len(list(tmp_path.glob("runs/seg/*/*/*/record.json"))) == 5
    assert len(list((tmp_path / "answers" / "masks").rglob("*.png"))) == 16
