"""`lightseg.train(callbacks=[...])`."""

import json
import traceback
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

import lightseg
from lightseg.errors import LightsegError
from tasks.run.user_callbacks import ReadableStates, check_callbacks
from tests.conftest import only_run


class Breaks(pl.Callback):
    """Raises at the start of an epoch, and counts the epochs before."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.seen = epoch, 0

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise ZeroDivisionError("mine")
        self.seen += 1

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def test_it_runs_and_when_it_raises_the_run_can_be_resumed(words, tmp_path, capsys):
    with pytest.raises(ZeroDivisionError, match="mine") as raised:
        lightseg.train(words("trainer.max_epochs=2"), callbacks=[Breaks(1)])
    assert Path(traceback.extract_tb(raised.value.__traceback__)[-1].filename) == Path(__file__)
    folder = only_run(tmp_path / "runs")
    error = capsys.readouterr().err
    assert f"your callback Breaks raised this error; finished epochs are saved (continue with resume={folder})" in error
    assert not (folder / "record.json").exists()
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0
    unbroken = Breaks(9)
    run = lightseg.train(resume=folder, callbacks=[unbroken])
    assert run.record["training"]["epochs"] == 2 and unbroken.seen == 2
    assert json.loads((folder / "record.json").read_text())["metrics"] == run.record["metrics"]


def test_what_is_no_callback_is_one_line():
    class Lightning:
        pass

    Lightning.__module__ = "lightning.pytorch.callbacks.callback"
    callback = Breaks(1)
    assert check_callbacks((callback,)) == [callback]
    for value, line in (
        (callback, "callbacks is a list"),
        ("Breaks", "callbacks is a list"),
        ([Breaks], r"Breaks is a class: give an object of it, Breaks\(\)"),
        ([Lightning()], "is of the package lightning: import Callback from pytorch_lightning"),
        ([print], "is no pytorch_lightning.Callback"),
    ):
        with pytest.raises(LightsegError, match=line):
            check_callbacks(value)


def test_a_state_that_resume_could_not_read_is_refused_before_the_checkpoint():
    class Odd(Breaks):
        def state_dict(self):
            return {"path": Path("x")}

    ReadableStates([Breaks(1)]).on_save_checkpoint(None, None, {})
    with pytest.raises(LightsegError, match="the state of callback Odd cannot be read back"):
        ReadableStates([Odd(1)]).on_save_checkpoint(None, None, {})
