"""A sweep on this machine: skipped, resumed, begun again, failed, killed, interrupted, shared."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train
from lightseg.config.sweep import read_sweep
from tasks.run import run_folder
from tests.tasks.launch.conftest import FAKE, ROOT, records, started

QUICK = (
    "import sys; from tasks.launch import launchers; launchers.TRAIN = [sys.executable, sys.argv.pop(1)]; "
    "import train; sys.exit(train.main(sys.argv[1:]))"
)


def sweep(*words: str) -> subprocess.Popen:
    """In a process of its own, which can be killed."""
    command = [sys.executable, "-c", QUICK, str(FAKE), *words]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_every_combination_runs_once_and_is_there_when_asked_again(calls, tmp_path, capsys):
    words = ["task=seg,cls", "backbone=micronet_m3", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 0
    assert len(started(calls)) == len(records(tmp_path / "runs")) == 2
    out = capsys.readouterr().out
    assert "[2/2] task=cls: val/top1 0.4398" in out and out.count("M MAdds") == 1
    # a larger sweep has the smaller one's runs already, whatever its logger is
    assert train.main([*words, "seed=0,1", "logger=csv"]) == 0
    assert len(started(calls)) == len(records(tmp_path / "runs")) == 4
    assert capsys.readouterr().out.count("there already") == 2


def test_a_run_that_fails_is_reported_and_stops_no_other(calls, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    words = ["seed=0,1,2", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 1
    out = capsys.readouterr().out
    assert len(records(tmp_path / "runs")) == 2
    (line,) = (line for line in out.splitlines() if line.startswith("failed: "))
    assert line.startswith("failed: seed=1: seed 1 is not to be run (log: ")
    log = Path(line.rpartition("log: ")[2].rstrip(")"))
    assert "seed=1" in log.read_text() and "is not to be run" in log.read_text()
    monkeypatch.delenv("FAIL")
    assert train.main(words) == 0
    assert started(calls) == ["seed=0 begun", "seed=1 begun", "seed=2 begun", "seed=1 begun"]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", ["1", "0"])
def test_killed_and_started_again_it_ends_like_an_uninterrupted_one(calls, tmp_path, monkeypatch, epochs):
    monkeypatch.setenv("HANG", "1")
    monkeypatch.setenv("EPOCHS", epochs)
    words = ["seed=0,1,2"]
    assert train.main([*words, f"runs_dir={tmp_path / 'whole'}"]) == 0
    calls.write_text("")
    (tmp_path / "hang").touch()
    with sweep(*words, f"runs_dir={tmp_path / 'cut'}") as process:
        wait_for(tmp_path / "hanging", process)
        process.kill()
    assert started(calls) == ["seed=0 begun", "seed=1 begun"]
    (tmp_path / "hang").unlink()
    assert train.main([*words, f"runs_dir={tmp_path / 'cut'}"]) == 0
    assert started(calls)[2:] == [f"seed=1 {'resumed' if epochs == '1' else 'begun'}", "seed=2 begun"]
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert len(list((tmp_path / "cut").glob("*/*/*/*/"))) == 3  # no half one is left


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the run ends by itself")
def test_the_run_ends_with_the_sweep(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("HANG", "0")
    (tmp_path / "hang").touch()
    with sweep("seed=0,1", f"runs_dir={tmp_path / 'runs'}") as process:
        wait_for(tmp_path / "hanging", process)
        process.kill()
    run = int(calls.read_text().split()[-1])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{run}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail(f"process {run} goes on")


def test_interrupted_it_ends_its_run_and_says_so(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("HANG", "1")
    (tmp_path / "hang").touch()
    with sweep("seed=0,1,2", f"runs_dir={tmp_path / 'runs'}") as process:
        wait_for(tmp_path / "hanging", process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 130
    assert "interrupted; finished epochs are saved" in out and "Traceback" not in out
    assert len(records(tmp_path / "runs")) == 1 and len(started(calls)) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int(calls.read_text().split()[-1]), 0)


@pytest.mark.slow
def test_two_sweeps_at_once_share_the_runs(calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HANG", "0")
    (tmp_path / "hang").touch()
    words = ["seed=0,1,2", f"runs_dir={tmp_path / 'runs'}"]
    with sweep(*words) as first:
        wait_for(tmp_path / "hanging", first)
        with sweep(*words) as second:
            assert second.stdout is not None
            lines = [second.stdout.readline() for _ in range(4)]  # it leaves the first its run and does the others
            assert "seed=0: runs in another process" in "".join(lines)
            (tmp_path / "hang").unlink()
            rest, _ = second.communicate(timeout=120)
            assert second.returncode == 0 and "failed" not in rest
        first.communicate(timeout=120)
        assert first.returncode == 0
    assert sorted(started(calls)) == ["seed=0 begun", "seed=1 begun", "seed=2 begun"]
    assert len(records(tmp_path / "runs")) == 3


@pytest.mark.slow
def test_a_record_that_is_not_whole_is_written_again_one_of_another_schema_is_left_alone(calls, tmp_path):
    words = ["seed=0,1", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 0
    first, second = sorted((tmp_path / "runs").glob("*/*/*/*/record.json"))
    whole = records(tmp_path / "runs")
    first.write_text(first.read_text()[:1000])
    second.write_text(second.read_text().replace('"schema": 1', '"schema": 0'))
    assert train.main(words) == 0
    assert started(calls)[2:] == ["seed=0 resumed", "seed=1 begun"]
    assert '"schema": 0' in second.read_text()
    second.unlink()
    assert records(tmp_path / "runs") == whole


def test_a_run_that_goes_on_is_neither_resumed_nor_removed(calls, tmp_path, monkeypatch, capsys):
    """One that was started by itself, not by a sweep."""
    monkeypatch.setenv("HANG", "0")
    monkeypatch.setenv("EPOCHS", "0")
    (tmp_path / "hang").touch()
    words = ["seed=0", f"runs_dir={tmp_path / 'runs'}"]
    with subprocess.Popen([sys.executable, str(FAKE), *words], cwd=ROOT) as process:
        wait_for(tmp_path / "hanging", process)
        (run,) = read_sweep(words).runs
        found = run_folder.find_runs(run.config)
        assert found.running is not None and not found.unfinished and found.finished is None
        run_folder.last_checkpoint(found.running).parent.mkdir()
        run_folder.last_checkpoint(found.running).touch()
        code = train.main([f"resume={found.running}"])
        (tmp_path / "hang").unlink()
        assert process.wait(60) == 0
        assert code == 2 and "is active in another process" in capsys.readouterr().err
    assert run_folder.find_runs(run.config).finished is not None


def test_a_folder_that_cannot_be_made_is_one_line(calls, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert train.main(["seed=0,1", f"runs_dir={tmp_path / 'file'}"]) == 2
    assert "cannot create" in capsys.readouterr().err
    assert started(calls) == []


def test_a_sweep_that_torchrun_starts_is_refused(calls, tmp_path, capsys, monkeypatch):
    for key, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    assert train.main(["seed=0,1", f"runs_dir={tmp_path / 'runs'}"]) == 2
    assert "start it in a single process" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
