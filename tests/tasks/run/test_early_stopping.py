"""`trainer.patience` and `checkpoints.top_k`."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

import train
from tasks.base import Task
from tasks.run.checkpoints import RunCheckpoint
from tasks.run.early_stopping import EarlyStopping, training_of
from tasks.run.top_k import TopK
from tests.conftest import only_run

NAN = float("nan")


def trainer_with(value: float, epoch: int = 0, min_epochs: int | None = None) -> SimpleNamespace:
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    metrics = {"val/mIoU": torch.tensor(value)}
    state = SimpleNamespace(fn="fit")
    return SimpleNamespace(
        state=state,
        sanity_checking=False,
        callback_metrics=metrics,
        strategy=strategy,
        should_stop=False,
        current_epoch=epoch,
        global_step=0,
        min_epochs=min_epochs,
        min_steps=None,
    )


def stopped_after(callback: EarlyStopping, epochs: list[list[float]], least: int | None = None) -> int | None:
    """The epoch, from 1, after which it stops. epochs: the values of each epoch's evaluations."""
    for epoch, values in enumerate(epochs, 1):
        for value in values:
            callback.on_validation_end(trainer_with(value), None)
        trainer = trainer_with(0.0, epoch - 1, least)
        callback.on_train_epoch_end(trainer, None)
        if trainer.should_stop:
            return epoch
    return None


@pytest.mark.parametrize(
    ("epochs", "stop"),
    [
        ([[0.1], [0.2], [0.15], [0.2], [0.3]], 4),  # an equal value is no better one
        ([[0.1], [0.05], [0.2], [0.1], [0.3]], None),
        ([[0.1], [NAN], [NAN]], 3),  # undefined: no better one
        ([[NAN], [0.1], [0.2]], None),
        ([[NAN], [NAN]], 2),
        ([[0.3, 0.2], [0.1, 0.4]], None),  # it would be 2 in the middle of the second epoch
        ([[0.3, 0.2], [0.1, 0.1]], 2),
        ([[], [0.3], [], [0.2], [], [0.1]], 6),  # without an evaluation nothing is counted
    ],
)
def test_when_it_stops(epochs, stop):
    assert stopped_after(EarlyStopping("val/mIoU", 2), epochs) == stop


def test_a_resumed_run_has_its_count_and_the_patience_that_it_is_given():
    first = EarlyStopping("val/mIoU", 3)
    assert stopped_after(first, [[0.5], [0.4]]) is None
    again = EarlyStopping("val/mIoU", 2)
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert stopped_after(again, [[0.4]]) == 1
    assert again.reason == "val/mIoU was not above 0.5000 in 2 evaluations (trainer.patience=2)"
    trainer, longer = trainer_with(0.0), EarlyStopping("val/mIoU", 9)
    longer.load_state_dict(again.state_dict())
    longer.on_train_start(trainer, None)
    assert not trainer.should_stop and longer.waited == 2


def test_it_does_not_stop_before_min_epochs():
    assert stopped_after(EarlyStopping("val/mIoU", 1), [[0.3], [0.2], [0.4], [0.1]], least=3) == 4
    assert stopped_after(EarlyStopping("val/mIoU", 1), [[0.3], [0.2], [0.1], [0.1]], least=3) == 3


def test_the_end_of_a_run_is_not_early():
    callback, best = EarlyStopping("val/mIoU", 1), RunCheckpoint()
    callback.reason, best.validated_step = "no better value", 6
    epoch_loop = SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=True))
    loops = {"fit_loop": SimpleNamespace(epoch_loop=epoch_loop), "callbacks": [callback, best]}
    end = {**loops, "is_global_zero": False, "global_step": 8, "max_steps": -1, "max_epochs": 4}
    training = {"epochs": 3, "steps": 8, "validated_step": 6, "stopped": callback.reason}
    assert training_of(SimpleNamespace(**end, current_epoch=3)) == training
    assert training_of(SimpleNamespace(**end, current_epoch=4))["stopped"] is None
    assert training_of(SimpleNamespace(**{**end, "max_steps": 8}, current_epoch=3))["stopped"] is None


def test_a_run_is_stopped_evaluated_and_when_resumed_only_evaluated(words, tmp_path, monkeypatch, capsys):
    values = iter([0.2, 0.6, NAN, 0.5, 0.55])

    def on_validation_epoch_end(task):
        task.log("val/mIoU", next(values))
        task.metric.reset()

    monkeypatch.setattr(Task, "on_validation_epoch_end", on_validation_epoch_end)
    options = ("trainer.max_epochs=9", "trainer.patience=2", "checkpoints.top_k=2", "logger=none", "log=jsonl")
    assert train.main(words(*options)) == 0
    out, err = capsys.readouterr()
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "record.json").read_text())
    reason = "val/mIoU was not above 0.6000 in 2 evaluations (trainer.patience=2)"
    assert record["training"] == {"epochs": 4, "steps": 12, "validated_step": 12, "stopped": reason}
    assert f"stopped early after epoch 4: {reason}" in err
    assert record["protocol"]["checkpoint"] == "best"
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "step000006-0.6000.ckpt", "step000012-0.5000.ckpt"}
    steps = [torch.load(folder / "checkpoints" / name, weights_only=True)["global_step"] for name in sorted(names)]
    assert steps == [6, 12, 6, 12]  # best.ckpt is what it is without top_k
    assert not (folder / "metrics.csv").exists() and not (folder / "images").exists()

    written = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in written] == ["start", *["evaluation", "epoch"] * 4, "evaluation", "end"]
    assert (written[0]["folder"], written[0]["epochs"], written[0]["resumed"]) == (str(folder), 9, False)
    assert [event["metrics"]["val/mIoU"] for event in written[1:9:2]] == pytest.approx([0.2, 0.6, None, 0.5])
    assert [(event["epoch"], event["step"]) for event in written[2:9:2]] == [(1, 3), (2, 6), (3, 9), (4, 12)]
    final = written[-2]
    assert final["final"] and final["samples"] == 3 and final["metrics"]["val/mIoU"] == record["metrics"]["val/mIoU"]
    assert written[-1]["stopped"] == reason and Path(written[-1]["record"]) == folder / "record.json"

    (folder / "record.json").unlink()
    moved = folder.rename(tmp_path / "moved")
    assert train.main([f"resume={moved}"]) == 0
    again = json.loads((moved / "record.json").read_text())
    assert again["training"] == record["training"] and again["metrics"] == record["metrics"]
    assert {path.name for path in (moved / "checkpoints").iterdir()} == names
    assert math.isclose(next(values), 0.55)  # nothing was trained or validated again


def kept_after(folder: Path, scores: list[float], state: dict | None = None) -> tuple[set[str], dict]:
    """The values of the kept checkpoints, and the callback's state."""
    callback = TopK(folder, "val/mIoU", 2)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[callback])
    trainer.save_checkpoint = lambda path, *_: (
        Path(path).parent.mkdir(parents=True, exist_ok=True),
        Path(path).touch(),
    )
    if state is not None:
        callback.load_state_dict(state)
    for step, score in enumerate(scores, 10 if state else 0):
        candidates = {"step": torch.tensor(step), "epoch": torch.tensor(0), "val/mIoU": torch.tensor(score)}
        callback._save_topk_checkpoint(trainer, candidates)
    return {path.name for path in (folder / "checkpoints").iterdir()}, callback.state_dict()


def test_the_best_are_kept_also_in_a_moved_folder(tmp_path):
    kept, state = kept_after(tmp_path / "a", [0.3, 0.5, 0.4, NAN])
    assert kept == {"step000001-0.5000.ckpt", "step000002-0.4000.ckpt"}
    moved = (tmp_path / "a").rename(tmp_path / "b")
    kept, _ = kept_after(moved, [0.45, 0.1], state)
    assert kept == {"step000001-0.5000.ckpt", "step000010-0.4500.ckpt"}
