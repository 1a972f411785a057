"""`logger=`: none, one, several; their keys and packages. Nothing here imports torch."""

import pytest

from lightseg.config import loggers
from lightseg.config.compose import compose, plain
from lightseg.config.loggers import logger_names
from lightseg.config.python_overrides import merge_overrides
from lightseg.config.sweep import read_sweep
from lightseg.errors import LightsegError


@pytest.fixture(autouse=True)
def every_package_is_there(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda module: object())


def group(*overrides: str) -> dict:
    return plain(compose(list(overrides)))["logger"]


def error_of(*overrides: str) -> str:
    with pytest.raises(LightsegError) as error:
        compose(list(overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_several_are_one_group_however_they_are_written():
    both = group("logger=csv,mlflow")
    assert both == {"name": ["csv", "mlflow"], "images": 8, "tracking_uri": None, "experiment_name": None}
    assert both == group("logger=[csv,mlflow]") == group("logger=[csv, mlflow]")
    for value in (["csv", "mlflow"], ("csv", "mlflow"), "csv,mlflow"):
        assert plain(compose(merge_overrides({}, {"logger": value})))["logger"] == both
    assert group("logger=csv,mlflow", "logger.experiment_name=a")["experiment_name"] == "a"
    assert group("logger=[tensorboard]")["name"] == "tensorboard"
    assert group("logger=null") == group("logger=none") == {"name": "none", "images": 0}


def test_a_list_of_loggers_is_of_each_run_of_a_sweep():
    runs = read_sweep(["logger=csv,mlflow", "seed=0,1"]).runs
    assert [run.config["logger"]["name"] for run in runs] == [["csv", "mlflow"]] * 2
    assert [run.name for run in runs] == ["seed=0", "seed=1"]


def test_what_a_user_s_file_changes_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team.yaml").write_text("name: comet\nproject: rooms\nimages: 3\n")
    for order in ("./team.yaml,csv", "csv,./team.yaml"):
        assert {"project": "rooms", "images": 3}.items() <= group(f"logger={order}").items()


def test_a_resumed_run_may_have_other_loggers(tmp_path):
    from omegaconf import OmegaConf

    OmegaConf.save(compose(["logger=csv,mlflow", "logger.tracking_uri=http://x"]), tmp_path / "config.yaml")
    assert group(f"resume={tmp_path}")["tracking_uri"] == "http://x"
    assert group(f"resume={tmp_path}", "logger=csv,mlflow")["tracking_uri"] is None
    assert group(f"resume={tmp_path}", "logger=none")["name"] == "none"


def test_what_cannot_work_is_one_line():
    assert "csv is chosen twice" in error_of("logger=csv,csv")
    assert "leave it or the others out" in error_of("logger=csv,none")
    assert "no logger named 'mlfow': did you mean mlflow?" in error_of("logger=csv,mlfow")
    unknown = error_of("logger=mlflow", "logger.tracking=http://x")
    assert "no key 'logger.tracking'" in unknown and "did you mean logger.tracking_uri" in unknown
    for value in ("csv,", "[]"):
        assert "give a name, or several as in logger=csv,wandb" in error_of(f"logger={value}")
    assert logger_names(" csv , wandb") == ["csv", "wandb"]


@pytest.mark.parametrize(("name", "package"), [(name, package) for name, (_, package) in loggers.PACKAGES.items()])
def test_a_missing_package_is_named_with_its_command(name, package, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda module: None if module == loggers.PACKAGES[name][0] else object())
    assert f"logger={name}: {package} is not installed: pip install {package}, or choose" in error_of(f"logger={name}")
    assert f"pip install {package}" in error_of(f"logger=csv,{name}")
    assert group("logger=csv")["name"] == "csv"
