"""Sweeps: how lists are parsed, and errors before the first run."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import train
from lightseg.config import sweep
from lightseg.config.compose import compose, plain
from lightseg.config.search_space import as_text, read_space
from lightseg.config.sweep import expand, identity, read_sweep, split_values
from lightseg.errors import LightsegError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("0, 1 ,2", ["0", "1", "2"]),
        ("[1,2]", ["[1,2]"]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("{train: 6, val: 3}", ["{train: 6, val: 3}"]),
        ("[{a: [1,2]},3],null", ["[{a: [1,2]},3]", "null"]),
        ('"a,b"', ['"a,b"']),
        ("'a,b',c", ["'a,b'", "c"]),
        ("['a],b',c],d", ["['a],b',c]", "d"]),
        ("o'brien,b", ["o'brien", "b"]),
        (",", ["", ""]),
        ("", [""]),
    ],
)
def test_a_list_is_split_at_its_own_commas(text, values):
    assert split_values(text) == values


def test_the_product_in_order_the_last_list_fastest():
    pairs = [[pair for pair, _ in combination] for combination in expand(["task=seg,det", "a=1", "seed=0,1"])]
    assert pairs == [[f"task={task}", "a=1", f"seed={seed}"] for task in ("seg", "det") for seed in (0, 1)]


def test_every_run_is_composed_and_named_by_what_differs():
    runs = read_sweep(["task=seg,det", "seed=0,1", "optimizer.lr=0.1"]).runs
    assert [run.name for run in runs] == [f"task={t} seed={s}" for t in ("seg", "det") for s in (0, 1)]
    assert [(run.config["data"]["name"], run.config["seed"]) for run in runs][1:3] == [("mini_seg", 1), ("mini_det", 0)]
    assert plain(compose(runs[3].overrides)) == runs[3].config
    assert len({run.identity for run in runs}) == 4


def test_single_values_are_one_run():
    only = read_sweep(["data.augment.crop_size=[64,96]", "data.count={train: 6, val: 3}"])
    assert only.is_one_run and list(only.first.data.augment.crop_size) == [64, 96]
    assert not read_sweep(["seed=0,1"]).is_one_run


def test_identity_does_not_depend_on_folder_and_logger(tmp_path):
    def identity_of(*overrides: str) -> str:
        return identity(plain(compose(list(overrides))))

    assert identity_of() == identity_of("logger=csv", f"runs_dir={tmp_path}", "profile.runs=3", "launcher=submitit")
    assert len({identity_of(), identity_of("seed=1"), identity_of("optimizer.lr=0.1"), identity_of("task=det")}) == 4
    checkpoint = [tmp_path / "a.ckpt", tmp_path / "b.ckpt"]
    for path in checkpoint:
        path.touch()
    assert len({identity_of("mode=test", f"ckpt={path}") for path in checkpoint}) == 2


def error_of(*overrides: str) -> str:
    with pytest.raises(LightsegError) as error:
        read_sweep(list(overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_invalid_sweeps_are_errors_before_the_first_run(tmp_path):
    assert "unknown backbone 'micronet_m33'" in (line := error_of("backbone=micronet_m3,micronet_m33", "seed=0,1"))
    assert "(in backbone=micronet_m33 seed=0)" in line
    assert "empty value" in error_of("seed=,") and "empty value" in error_of("seed=0,,1")
    assert "has no value" in error_of("backbone=")
    assert "are the same run" in error_of("seed=0,1,0")
    assert "are the same run" in error_of("profile.runs=1,2")
    assert "a single runs_dir" in error_of("runs_dir=a,b")
    assert "a single resume" in error_of("resume=a,b") and "continues a single run" in error_of("resume=a", "seed=0,1")
    assert "key=value" in error_of("seed=0,1", "mobilenetv2")
    assert "given twice" in error_of("seed=0,1", "seed=2")
    assert "no launcher named 'slurm'" in error_of("launcher=slurm", "seed=0,1")
    assert "launcher.partition" in error_of("launcher.partition=gpu", "seed=0,1")


def test_a_missing_slurm_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr(sweep.shutil, "which", lambda name: None)
    assert "no Slurm here (no sbatch)" in error_of("launcher=submitit", "seed=0,1")
    assert "no Slurm here (no sbatch)" in error_of("launcher=submitit")
    assert read_sweep(["launcher=submitit", "launcher.cluster=local"]).launcher["name"] == "submitit"
    assert "must be one of slurm, local" in error_of("launcher=submitit", "launcher.cluster=pbs")
    assert "must be a whole number, 1 or more" in error_of("launcher=submitit", "launcher.time=0")
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    assert "lightseg[sweep]" in error_of("launcher=submitit", "seed=0,1")
    assert "lightseg[sweep]" in error_of("search=optuna", "search.space={optimizer.lr: [1e-4, 1e-2, log]}")


def test_a_space_of_choices_and_ranges(tmp_path):
    text = (
        "{optimizer.lr: [1e-4, 1e-2, log], seed.x: [1, 8, linear], backbone: [a, 'b,c'], head.dropout: [0, 0.5, null]}"
    )
    space = read_space(yaml.safe_load(text))
    assert space["optimizer.lr"].ends == (1e-4, 1e-2) and space["optimizer.lr"].scale == "log"
    assert space["seed.x"].ends == (1, 8) and isinstance(space["seed.x"].ends[0], int)
    assert space["backbone"].texts == ["a", '"b,c"'] and space["backbone"].scale is None
    assert space["head.dropout"].texts == ["0", "0.5", "null"]
    (tmp_path / "space.yaml").write_text(text[1:-1].replace("], ", "]\n"))
    assert read_space(str(tmp_path / "space.yaml")) == space


@pytest.mark.parametrize(
    "value", ["a", "1", "true", "null", "a,b", "a: b", "[x", 1, 0.25, 1e-7, True, None, [1, 2], "1e-3"]
)
def test_a_choice_is_the_same_value_on_the_command_line(value):
    text = as_text(value)
    assert split_values(text) == [text]
    read = yaml.safe_load(text)
    assert (float(read) if value == 1e-7 else read) == value


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("null", "give the keys"),
        ("{}", "give the keys"),
        ("{optimizer.lr: 1}", "takes a list"),
        ("{optimizer.lr: []}", "takes a list"),
        ("{optimizer.lr: [1, 2, 3, log]}", "a range is two numbers"),
        ("{optimizer.lr: [a, b, log]}", "a range is two numbers"),
        ("{optimizer.lr: [1e-2, 1e-4, log]}", "the smaller one"),
        ("{optimizer.lr: [0, 1e-4, log]}", "above 0"),
        ("{optimizer.lr: [0, .inf, linear]}", "a range is two numbers"),
        ("{backbone: [micronet_m3, micronet_m3]}", "twice"),
        ("{backbone: [micronet_m3, micronet_m33]}", "unknown backbone 'micronet_m33'"),
        ("{optimiser.lr: [1e-4, 1e-2, log]}", "did you mean optimizer.lr"),
        ("{task: [seg, det]}", "task cannot be searched"),
        ("{logger.images: [1, 2]}", "cannot be searched"),
        ("/nowhere/space.yaml", "No such file"),
    ],
)
def test_invalid_spaces(space, message):
    assert message in error_of("search=optuna", f"search.space={space}")


def test_invalid_searches():
    space = "search.space={optimizer.lr: [1e-4, 1e-2, log]}"
    assert "put the lists into search.space" in error_of("search=optuna", space, "seed=0,1")
    assert "must be a whole number, 1 or more" in error_of("search=optuna", space, "search.trials=0")
    assert "must be one of monitor, reward" in error_of("search=optuna", space, "search.objective=accuracy")
    assert "search.target_ms" in error_of("search=optuna", space, "search.objective=reward")
    assert "no search named 'grid'" in error_of("search=grid")
    assert "search.trials" in error_of("search.trials=3")


def test_a_sweep_is_checked_and_printed_without_torch():
    code = (
        "import sys, train; codes = [train.main(['seed=,']), train.main(['--cfg', 'seed=0,1', 'task=seg,det'])]; "
        "sys.exit('torch' in sys.modules or codes != [2, 0])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stderr.count("\n") == 1
    configurations = list(yaml.safe_load_all(result.stdout))
    assert [(config["seed"], config["task"]) for config in configurations] == [
        (0, "seg"),
        (0, "det"),
        (1, "seg"),
        (1, "det"),
    ]


def test_the_command_prints_the_error(capsys, tmp_path):
    assert train.main(["backbone=micronet_m3,micronet_m33", f"runs_dir={tmp_path / 'runs'}"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown backbone 'micronet_m33'")
    assert not (tmp_path / "runs").exists()
