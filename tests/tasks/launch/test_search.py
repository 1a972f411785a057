"""Optuna over a given space: ordinary runs, a study that goes on, and MnasNet's reward."""

import json

import pytest

import train
from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch_yaml import read_arch, write_arch
from tasks.launch import optuna_search as search
from tests.tasks.launch.conftest import records, started

SPACE = "search.space={optimizer.lr: [1e-4, 1e-1, log], backbone: [mobilenetv3_small, mobilenetv3_large]}"


def tried(runs) -> list[tuple[float, str]]:
    """Learning rate and backbone of every record, in the order of the runs."""
    found = [(path.stat().st_mtime_ns, path) for path in runs.glob("*/*/*/*/record.json")]
    contents = [json.loads(path.read_text()) for _, path in sorted(found)]
    return [(one["config"]["optimizer"]["lr"], one["config"]["backbone"]) for one in contents]


@pytest.mark.slow
def test_an_interrupted_search_goes_on_and_proposes_what_a_whole_one_would(calls, tmp_path, capsys, monkeypatch):
    words = ["search=optuna", SPACE, "seed=1"]
    assert train.main([*words, "search.trials=3", f"runs_dir={tmp_path / 'whole'}"]) == 0
    out = capsys.readouterr().out
    assert "best of 3: trial" in out and "  lightseg train seed=1 runs_dir=" in out
    assert all(1e-4 <= lr <= 1e-1 for lr, _ in tried(tmp_path / "whole"))
    calls.write_text("")

    def stop(*args, **options):
        raise KeyboardInterrupt

    cut = [*words, f"runs_dir={tmp_path / 'cut'}"]
    assert train.main([*cut, "search.trials=1"]) == 0
    with monkeypatch.context() as patched:  # between a trial's begin and its run
        patched.setattr(search, "run_all", stop)
        assert train.main([*cut, "search.trials=3"]) == 130
    assert train.main([*cut, "search.trials=3"]) == 0
    assert tried(tmp_path / "cut") == tried(tmp_path / "whole")
    assert len(started(calls)) == len(records(tmp_path / "cut")) == 3
    capsys.readouterr()
    assert train.main([*cut, "search.trials=3"]) == 0
    assert len(started(calls)) == 3 and "no trial is left" in capsys.readouterr().out


def test_a_trial_that_fails_is_reported_and_the_search_goes_on(calls, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FAIL", "0")
    words = ["search=optuna", SPACE, "search.trials=2", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 1
    out = capsys.readouterr().out
    assert len(started(calls)) == 2 and out.count("\nfailed: optimizer.lr=") == 2 and "no trial has a value" in out


def test_the_reward_is_mnasnets():
    record = {"task": "det", "metrics": {"val/mAP": 0.3}, "cost": {"latency_ms": 20.0}}
    options = {"objective": "reward", "target_ms": 10.0, "reward_exponent": -0.07}
    # the paper's own reading of -0.07: twice the latency is worth 5 % of accuracy
    assert search.objective(record, options) == pytest.approx(0.3 / 1.05, rel=2e-3)
    assert search.objective({**record, "cost": {"latency_ms": 10.0}}, options) == pytest.approx(0.3)
    assert search.objective(record, {"objective": "monitor"}) == 0.3
    assert search.objective({**record, "metrics": {"val/mAP": None}}, options) is None


def test_a_study_that_cannot_be_read_is_one_line(calls, tmp_path, capsys):
    words = ["search=optuna", SPACE, "search.trials=1", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main(words) == 0
    (study,) = (tmp_path / "runs" / "sweeps").glob("search-*.db")
    study.write_text("not a database at all, " * 100)
    assert train.main(words) == 2
    assert f"{study} cannot be used as a study" in (line := capsys.readouterr().err) and line.count("\n") == 1


def test_a_space_of_widths_depths_kernels_and_expansions_of_an_architecture(calls, tmp_path, capsys):
    base = tmp_path / "base.yaml"
    write_arch(next(arch for arch in ARCHS if arch.name == "fbnetv2_f1"), base)
    space = "{arch.width: [0.5, 1.5, linear], arch.depth: [0.5, 1.0], arch.kernel: [3, 5], arch.expansion: [0.5, 1.0]}"
    words = ["search=optuna", f"backbone={base}", f"search.space={space}", f"runs_dir={tmp_path / 'runs'}"]
    assert train.main([*words, "search.trials=2"]) == 0
    names = [name for _, name in tried(tmp_path / "runs")]
    nets = [read_arch(name) for name in names]
    assert len(set(nets)) == 2 and all(net.name.startswith("fbnetv2_f1_w") for net in nets)
    assert all(
        {block.kernel for stage in net.stages for block in stage if hasattr(block, "kernel")} <= {3, 5} for net in nets
    )
    out = capsys.readouterr().out
    (command,) = [line for line in out.splitlines() if line.startswith("  lightseg train ")]
    assert "best of 2: trial" in out and sum(f"backbone={name}" in command for name in names) == 1
    assert train.main([*words, "search.trials=2"]) == 0 and len(started(calls)) == 2
    capsys.readouterr()
    for more, message in {
        "backbone=mobilenetv2": "arch.width changes an architecture: give backbone=<arch.yaml>, one file",
        "search.space={arch.kernel: [3, 6]}": "kernel 6 is even",
        "search.space={arch.kernel: [3, 7, linear]}": "arch.kernel takes choices",
        "search.reward_exponent=0.07": "search.reward_exponent=0.07 (the command line): must be a number from -10 to 0",
    }.items():
        key = more.split("=", 1)[0]
        assert train.main([*(word for word in words if not word.startswith(f"{key}=")), more]) == 2
        line = capsys.readouterr().err
        assert message in line and line.count("\n") == 1
