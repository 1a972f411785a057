"""`log=jsonl`: what is on stdout, and what is elsewhere."""

import json
import sys

import pytest

from lightseg import events
from lightseg.commands import train as command
from lightseg.errors import LightsegError


def lines(capsys) -> tuple[list[dict], str]:
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_events_alone_are_on_stdout(capsys):
    events.emit("epoch")  # outside a stream
    with events.stream(True):
        print("text")
        events.emit("epoch", epoch=1, metrics={"val/mIoU": float("nan"), "train/loss": 0.5})
        with events.stream(True):
            events.emit("end")
        events.emit("end")
    print("text again")
    out, err = capsys.readouterr()
    *written, last = out.splitlines()
    first, second, third = map(json.loads, written)
    assert (first["event"], first["metrics"]) == ("epoch", {"val/mIoU": None, "train/loss": 0.5})
    assert second["event"] == third["event"] == "end" and (last, err) == ("text again", "text\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [(LightsegError("x: y"), 2), (KeyboardInterrupt(), 130), (SystemExit(143), 143), (RuntimeError("broken"), 1)],
)
def test_an_exception_is_the_last_event_once(error, code, capsys):
    with pytest.raises(type(error)), events.stream(True), events.stream(True):
        events.emit("start", folder="runs/x")
        raise error
    (_, last), _ = lines(capsys)
    assert (last["event"], last["kind"], last["exit_code"]) == ("error", type(error).__name__, code)
    assert last["folder"] == "runs/x" and "\n" not in last["message"]


def test_other_processes_of_a_run_are_silent(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with events.stream(True):
        events.emit("epoch")
    assert capsys.readouterr().out == ""


def test_a_reader_that_leaves_does_not_end_the_run(monkeypatch):
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with events.stream(True):
        events.emit("epoch")
        events.emit("end")


def test_an_error_in_the_configuration_is_an_event_too(capsys):
    assert command.main(["log=jsonl", "trainer.max_epoch=1"]) == 2
    (event,), err = lines(capsys)
    assert event["event"] == "error" and event["message"].startswith("no key 'trainer.max_epoch'")
    assert err.startswith("error: no key 'trainer.max_epoch'")
    assert command.main(["log=jsonl", "logger=csv", "seed=0,1"]) == 2
    assert "log=jsonl is for one run" in lines(capsys)[0][0]["message"]
    assert command.main(["log=jsonl", "logger=csv", "--cfg"]) == 0
    assert "log: jsonl" in capsys.readouterr().out
