"""Pose runs that are interrupted and resumed, or shared by two processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import only_run
from tests.tasks.persons import figures, judged
from tests.tasks.runs import killed_and_resumed, run

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_killed_and_resumed_ends_like_the_uninterrupted_run(pose_words, tmp_path):
    options = ["trainer.max_epochs=4", "trainer.log_every_n_steps=1", "ema.decay=0.9", "data.augment.half_body=0.5"]
    whole = run(pose_words(*options, f"runs_dir={tmp_path / 'whole'}"))
    resumed = killed_and_resumed(pose_words(*options, f"runs_dir={tmp_path / 'cut'}"))
    assert resumed["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
    logged = [(only_run(tmp_path / name) / "metrics.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert logged[0] == logged[1]


@pytest.mark.slow
def test_two_processes_leave_one_record_of_every_person_once(pose_words, mini_pose, tmp_path):
    """5 persons for two processes: one of them is given to both so that they have equally many."""
    sigmas = "data.skeleton.sigmas=[" + ",".join(["0.4"] * 17) + "]"  # lenient: figures above 0 after four steps
    words = pose_words("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "data.batch_size=3",
                       "data.eval_batch_size=1", "evaluation.predictions=true", "trainer.max_epochs=2",
                       sigmas)  # fmt: skip
    command = [sys.executable, "train.py", *words]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["val/AR"] > 0
    results = folder / "predictions" / "results.json"
    assert len(json.loads(results.read_text())) == 5
    annotations = mini_pose / "annotations" / "person_keypoints_val.json"
    assert judged(annotations, results, [0.4] * 17) == figures(record)
    one = run(["mode=test", f"ckpt={folder / 'checkpoints' / 'best.ckpt'}", f"runs_dir={tmp_path / 'one'}",
               "trainer.devices=1", "trainer.strategy=auto"])  # fmt: skip
    assert one["metrics"] == pytest.approx(record["metrics"], abs=1e-4)
