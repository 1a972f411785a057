"""best.ckpt has the weights that scored best, also with several evaluations an epoch, ties, and a moved run folder."""

import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from tasks.run.checkpoints import checkpoint_callbacks
from tasks.run.signals import StopSignals
from tests.conftest import only_run
from tests.tasks.runs import run


def validated(folder: Path) -> list[tuple[float, int]]:
    """(mIoU, step) of every evaluation of a training."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/mIoU"]]
    return [(float(row["val/mIoU"]), int(row["step"])) for row in rows if row["epoch"] != "2"]


def test_with_several_evaluations_an_epoch(words, tmp_path):
    record = run(words("trainer.val_check_interval=1", "optimizer.lr=0.02", "ema.decay=0", "trainer.max_epochs=2"))
    folder = only_run(tmp_path / "runs")
    scores = validated(folder)
    assert len(scores) >= 5
    best, step = max(scores)
    assert len({score for score, _ in scores}) > 3
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["global_step"] == step + 1
    assert record["metrics"]["val/mIoU"] == pytest.approx(best, abs=1e-6)


def best_after(folder: Path, scores: list[float], state: dict | None = None) -> tuple[int, dict]:
    """The number of the evaluation that best.ckpt is of, and the callback's state. Only Lightning's trainer is real."""
    (best, _), saved = checkpoint_callbacks(folder, "val/mIoU", StopSignals()), [-1]
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[best])
    if state is not None:
        best.load_state_dict(state)
    for index, score in enumerate(scores):
        if best.check_monitor_top_k(trainer, torch.tensor(score)):
            best._save_checkpoint = lambda *_, index=index: saved.append(index)
            best._update_best_and_save(torch.tensor(score), trainer, {})
    return saved[-1], best.state_dict()


@pytest.mark.parametrize(
    ("scores", "index"),
    [([0.1, 0.3, 0.2], 1), ([0.3, 0.3, 0.3], 2), ([float("nan")] * 3, 2), ([float("nan"), 0.1, float("nan")], 1)],
)
def test_of_equal_or_undefined_values_the_last_is_kept(tmp_path, scores, index):
    assert best_after(tmp_path / "run", scores)[0] == index


def test_a_moved_run_folder_keeps_its_best_value(tmp_path):
    _, state = best_after(tmp_path / "old", [0.5])
    assert best_after(tmp_path / "new", [0.4], state)[0] == -1
    assert best_after(tmp_path / "new", [0.6], state)[0] == 0
