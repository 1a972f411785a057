"""`lightseg.train`: what its arguments mean, what it refuses in one line, and that it may be called again and again."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lightseg
from lightseg.commands import train as command
from lightseg.config.compose import compose
from lightseg.config.python_overrides import check_one_run, merge_overrides
from lightseg.errors import DataError, LightsegError
from tasks.run import distributed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("overrides", "keywords", "values"),
    [
        ((), {"task": "cls"}, {"task": "cls"}),
        ({"trainer.max_epochs": 2}, {"task": "cls"}, {"trainer.max_epochs": 2, "task": "cls"}),
        (["trainer.max_epochs=2", "optimizer.lr=1e-3"], {}, {"trainer.max_epochs": 2, "optimizer.lr": 1e-3}),
        ((), {"trainer": {"max_epochs": 2}}, {"trainer": {"max_epochs": 2}}),
        ((), {"trainer.max_epochs": 2}, {"trainer.max_epochs": 2}),  # **{"trainer.max_epochs": 2}
        (["trainer=short"], {"trainer": {"max_epochs": 2}}, {"trainer": "short", "trainer.max_epochs": 2}),
        ({"data": {"root": "x"}}, {"data": "rooms"}, {"data.root": "x", "data": "rooms"}),
        ({"ema": {"decay": 0.5}}, {"ema": {"warmup": False}}, {"ema.decay": 0.5, "ema.warmup": False}),
        ({"data.root": Path("a/b")}, {"evaluation": {"scales": (1.0, 2)}},
         {"data.root": "a/b", "evaluation": {"scales": [1.0, 2]}}),
        (["data.root='/data/a,b'"], {"backbone": "a,b"}, {"data.root": "/data/a,b", "backbone": "a,b"}),
    ],
)  # fmt: skip
def test_what_the_arguments_mean(overrides, keywords, values):
    assert merge_overrides(overrides, keywords) == values


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    values = merge_overrides({"optimizer.lr": np.float32(0.5)}, {"seed": np.int64(3)})
    assert values == {"optimizer.lr": 0.5, "seed": 3} and type(values["seed"]) is int
    assert compose(values).seed == 3


@pytest.mark.parametrize(
    ("overrides", "keywords", "said"),
    [
        ({"seed": 1}, {"seed": 2}, "'seed' is given twice"),
        (["trainer.max_epochs=2"], {"trainer": {"max_epochs": 2}}, "'trainer.max_epochs' is given twice"),
        ("task=cls", {}, "give a list of key=value texts, a dict, or keywords"),
        (["--cfg"], {}, "--cfg is for the command line"),
        (
            ["seed=0,1", "backbone=micronet_m3,micronet_m0"],
            {},
            "'seed=0,1' means 4 runs, which is for the command line",
        ),
        ((), {"backbone": object()}, "backbone is of type object"),
        ((), {"backbone": ["micronet_m3", "micronet_m0"]}, "must be a single word"),
        ((), {"backbone": "micronet_m3,micronet_m0"}, "unknown backbone 'micronet_m3,micronet_m0'"),
        ((), {"tusk": "cls"}, "no key 'tusk'"),
        ((), {"trainer": {"max_epoch": 1}}, "did you mean max_epochs"),
        ((), {"optimizer": {"lr": "1e-3"}}, "must be a number"),
        ((), {"launcher": "submitit"}, "launcher=submitit is for the command line"),
        ((), {"search": "optuna"}, "search=optuna is for the command line"),
        ({"search": "netadapt"}, {}, "search=netadapt is for the command line"),
    ],
)
def test_what_cannot_work_is_one_line(overrides, keywords, said, monkeypatch):
    monkeypatch.setattr(command, "_run", lambda config, callbacks: pytest.fail("it began"))
    with pytest.raises(LightsegError) as refused:
        lightseg.train(overrides, **keywords)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_page_composes_and_its_figures_are_there(monkeypatch, tmp_path):
    """Every block of docs/python.md, with the run left out."""
    configs = []
    run = tmp_path / "runs" / "x"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").touch()

    def train(overrides=(), /, **keywords):
        configs.append(compose(merge_overrides(overrides, keywords)))
        check_one_run(configs[-1])
        from omegaconf import OmegaConf

        OmegaConf.save(configs[-1], run / "config.yaml")
        return command.FinishedRun(run, {"metrics": {"val/mIoU": 0.5}})

    monkeypatch.setattr(lightseg, "train", train, raising=False)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        # tests/docs/test_docs_ship.py, tests/inspection/test_inspect.py
        if "lightseg.load" not in block and "lightseg.inspect_data" not in block:
            exec(block, names)
    assert [config.task for config in configs[:4]] == ["seg", "cls", "cls", "cls"]
    assert [config.trainer.max_epochs for config in configs[1:4]] == [2, 2, 2]
    assert (configs[4].resume, configs[5].mode, configs[5].evaluation.flip) == (str(run), "test", True)
    assert [config.backbone for config in configs[6:]] == ["mobilenetv3_small", "micronet_m3"]


def test_the_import_stays_light_and_nothing_hides_the_function():
    code = """
import sys, lightseg
assert "train" in dir(lightseg) and not {"torch", "omegaconf", "yaml"} & sys.modules.keys()
import lightseg.commands.train
from lightseg import train
assert train is lightseg.train is lightseg.commands.train.train and not {"torch", "omegaconf"} & sys.modules.keys()
try:
    lightseg.trian
except AttributeError as error:
    assert "'trian'" in str(error)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


# -- the run itself ----------------------------------------------------------------------------------------------------


def test_it_trains_again_and_again_in_one_process(words, capsys, tmp_path):
    """Twice the same run: the same figures, folders of their own, and a line an epoch where there is no terminal."""
    options = words("trainer.max_epochs=1")
    first = lightseg.train(options)
    assert distributed.FOLDER not in os.environ
    printed = capsys.readouterr().out
    assert "epoch 1/1  loss " in printed and f"record: {first.folder / 'record.json'}" in printed
    with pytest.raises(LightsegError, match="no such file"):
        lightseg.train(options, pretrained=tmp_path / "none.pth")
    again = lightseg.train(options)
    assert first.folder != again.folder and {f.parent for f in (first.folder, again.folder)} == {first.folder.parent}
    assert again.record["metrics"] == first.record["metrics"] and len(first.record["metrics"]) > 2
    assert (again.folder / "record.json").is_file() and "metrics" not in repr(again)
    tables = {(run.folder / "metrics.csv").read_text() for run in (first, again)}
    assert len(tables) == 1
    tested = lightseg.train(mode="test", ckpt=again.folder / "checkpoints" / "best.ckpt", runs_dir=tmp_path / "tested")
    assert tested.record["metrics"] == again.record["metrics"]


class Execute:
    """In place of tasks.run.execute."""

    def __init__(self, run) -> None:
        self.run = run


@pytest.fixture
def run_is(monkeypatch):
    def replace(run) -> None:
        modules = {"run.execute": Execute(run), "run.distributed": distributed}
        monkeypatch.setattr(command, "trainer_module", modules.__getitem__)

    return replace


def test_an_error_of_a_data_loading_process_is_one_line_too(run_is):
    def run(config, defaults, callbacks):
        raise DataError(
            "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            '  File "x.py", line 1, in y\nlightseg.errors.DataError: a.png: broken\n'
        )

    run_is(run)
    with pytest.raises(DataError) as refused:
        lightseg.train(logger="csv")
    assert str(refused.value) == "a.png: broken"
    assert refused.value._render_traceback_() == ["DataError: a.png: broken"]  # what IPython asks for


def interrupted(config, defaults, callbacks):
    """What Lightning does on Ctrl-C."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(1)


def test_ctrl_c_is_ctrl_c_and_works_the_next_time_too(run_is, capsys):
    before = signal.getsignal(signal.SIGINT)
    run_is(interrupted)
    with pytest.raises(KeyboardInterrupt):
        lightseg.train(logger="csv")
    assert signal.getsignal(signal.SIGINT) is before
    assert command.main(["logger=csv"]) == 130
    assert capsys.readouterr().err.startswith("interrupted; finished epochs are saved")


def test_a_process_that_ends_itself_ends(run_is):
    run_is(lambda config, defaults, callbacks: sys.exit(2))  # one of several, where the first one failed
    with pytest.raises(SystemExit):
        lightseg.train(logger="csv")


def test_no_run_takes_the_folder_of_the_one_before(run_is, tmp_path, monkeypatch):
    folders = iter([tmp_path / "a", tmp_path / "b"])

    def run(config, defaults, callbacks):
        folder = distributed.agree(lambda: next(folders))
        assert os.environ[distributed.FOLDER] == str(folder)  # for the processes that Lightning starts
        return {"metrics": {}}

    run_is(run)
    assert [lightseg.train(logger="csv").folder for _ in range(2)] == [tmp_path / "a", tmp_path / "b"]
    assert distributed.FOLDER not in os.environ
    monkeypatch.setenv("LOCAL_RANK", "1")  # one that Lightning started, at a second training: its folder is not known
    with pytest.raises(LightsegError, match="once per program"):
        lightseg.train(logger="csv")


@pytest.mark.parametrize("what", [["--help"], ["--cfg"], []])
def test_without_the_extra_train(what, tmp_path):
    """As `pip install lightseg` leaves it: help is there, and the rest says what to install."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules["omegaconf"] = None
from lightseg.cli import main
sys.exit(main(["train", *{what}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if what == ["--help"]:
        assert done.returncode == 0 and "Choices" in done.stdout
    else:
        assert (
            done.returncode == 2 and done.stderr == "error: training needs omegaconf: pip install 'lightseg[train]'\n"
        )
