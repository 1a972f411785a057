"""Runs as jobs of submitit, through its local executor."""

import os
import sys

import train
from lightseg.config.sweep import read_sweep
from tasks.launch import launchers
from tests.tasks.launch.conftest import ROOT, records, started
from tests.tasks.launch.test_local import sweep, wait_for

JOBS = ["launcher=submitit", "launcher.cluster=local", "launcher.time=5"]


def test_every_run_is_a_job_and_a_failed_one_is_reported(calls, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    words = [*JOBS, "seed=0,1", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 1
    out = capsys.readouterr().out
    assert len(records(tmp_path / "runs")) == 1 and len(started(calls)) == 2
    assert "failed: seed=1: seed 1 is not to be run (log: " in out
    monkeypatch.delenv("FAIL")
    assert train.main(words) == 0
    assert len(records(tmp_path / "runs")) == 2 and len(started(calls)) == 3


def test_a_sweep_that_is_killed_finds_its_jobs_again(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("HANG", "0")
    (tmp_path / "hang").touch()
    words = [*JOBS, "seed=0,1", f"runs_dir={tmp_path / 'runs'}"]
    with sweep(*words) as first:
        wait_for(tmp_path / "hanging", first)
        first.kill()
    with sweep(*words) as second:
        (tmp_path / "hang").unlink()
        out, _ = second.communicate(timeout=120)
        assert second.returncode == 0, out
    assert len(records(tmp_path / "runs")) == 2
    assert sorted(started(calls)) == ["seed=0 begun", "seed=1 begun"]


def test_a_single_run_can_be_a_job(calls, tmp_path):
    assert train.main([*JOBS, f"runs_dir={tmp_path / 'runs'}"]) == 0
    assert len(records(tmp_path / "runs")) == 1


def test_what_is_asked_of_slurm(tmp_path, monkeypatch):
    """The script that sbatch would get."""
    import submitit

    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 1))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    words = ["launcher=submitit", "launcher.partition=gpu", "launcher.time=90", "launcher.gpus=2", "launcher.cpus=6",
             "launcher.memory_gb=32", "trainer.devices=2", "trainer.num_nodes=3"]  # fmt: skip
    plan = read_sweep(words)
    launcher = launchers.Submitit(plan.launcher, tmp_path)
    executor = launcher._executor(plan.runs[0].config["trainer"], "seg-mini_seg-x")
    text = executor._executor._make_submission_file_text("command", "uid")
    for line in ("--partition=gpu", "--time=90", "--gpus-per-node=2", "--cpus-per-task=6", "--mem=32GB", "--nodes=3",
                 "--ntasks-per-node=2", "--job-name=seg-mini_seg-x"):  # fmt: skip
        assert f"#SBATCH {line}\n" in text, (line, text)


def test_a_job_that_slurm_does_not_take_is_one_line(tmp_path, monkeypatch, capsys):
    """An sbatch that says no."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun"):
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpuu' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    words = ["launcher=submitit", "launcher.partition=gpuu", "seed=0,1", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # after sbatch's own
    assert line.startswith("error: launcher=submitit: the job was not accepted: ") and "invalid partition" in line


def test_the_command_is_this_interpreter_and_this_checkout():
    assert [sys.executable, str(ROOT / "train.py")] == launchers.TRAIN
