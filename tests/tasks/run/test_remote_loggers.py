"""MLflow and Comet, without their packages: what Lightning's classes are given, and that their errors stop nothing."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytorch_lightning.loggers import CometLogger, MLFlowLogger

from lightseg.tracking import account
from tasks.run import loggers, remote_loggers
from tasks.run.loggers import MetricsCSV, build_loggers, close
from tasks.run.remote_loggers import Comet, MLflow, comet_logger, mlflow_logger

MLFLOW = {"name": "mlflow", "tracking_uri": None, "experiment_name": None, "images": 8}
COMET = {"name": "comet", "workspace": "team", "project": None, "online": None, "images": 8}


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "runs" / "seg" / "mini_seg" / "net" / "time"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def started(monkeypatch) -> list[dict]:
    """The arguments of every logger that was made."""
    calls: list[dict] = []

    def make(**arguments):
        calls.append(arguments)
        return SimpleNamespace(run_id="id1", log_config=lambda config: calls[-1].update(config=config))

    monkeypatch.setattr(remote_loggers, "MLflow", make)
    monkeypatch.setattr(remote_loggers, "Comet", make)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "COMET_WORKSPACE", "COMET_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return calls


def config_of(folder: Path) -> dict:
    return {"runs_dir": str(folder.parents[3]), "optimizer": {"lr": 0.1}}


def test_mlflow_has_a_database_of_all_runs_and_one_run_a_folder(folder, started):
    for _ in range(2):
        assert mlflow_logger(MLFLOW, folder, config_of(folder)) is not None
    first, again = started
    runs = folder.parents[3]
    assert first["tracking_uri"] == f"sqlite:///{runs / 'mlflow.db'}"
    assert first["artifact_location"] == (runs / "mlflow_artifacts").as_uri()
    assert (first["experiment_name"], first["run_name"]) == ("lightseg", "mini_seg-net-time")
    assert first["config"] == {"runs_dir": str(runs), "optimizer.lr": 0.1}
    assert (first["run_id"], again["run_id"]) == (None, "id1")
    assert "config" not in again  # MLflow refuses another value of a parameter, such as of `resume`


def test_mlflow_s_variables_and_its_server(folder, started, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "rooms")
    with pytest.warns(UserWarning, match=r"MLflow does not respond at http://127.0.0.1:9 \(.*refused\)"):
        assert mlflow_logger(MLFLOW, folder, config_of(folder)) is None
    monkeypatch.setattr(remote_loggers, "unreachable", lambda url: None)
    mlflow_logger(MLFLOW, folder, config_of(folder))
    assert (started[0]["tracking_uri"], started[0]["experiment_name"]) == ("http://127.0.0.1:9", "rooms")


@pytest.mark.parametrize(("key", "answers", "offline"), [(None, True, True), ("k", True, False), ("k", False, True)])
def test_comet_is_offline_without_a_key_or_a_server(folder, started, monkeypatch, key, answers, offline):
    stand_in = SimpleNamespace(config=SimpleNamespace(get_config=lambda name: key))
    monkeypatch.setitem(__import__("sys").modules, "comet_ml", stand_in)
    monkeypatch.setattr(remote_loggers, "unreachable", lambda url: None if answers else "no route")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(2):
            assert comet_logger(COMET, folder, config_of(folder)) is not None
    first, again = started
    assert first["offline"] is again["offline"] is offline
    assert first["experiment_key"] == again["experiment_key"] and len(first["experiment_key"]) == 32
    assert (first["workspace"], first["project"], first["mode"]) == ("team", "lightseg", "get_or_create")
    assert len(warned) == 2 * (not answers)
    if offline:  # Comet overwrites an archive of the same name
        assert [Path(call["offline_directory"]).name for call in started] == ["session_1", "session_2"]


def test_a_package_that_cannot_start_leaves_the_run_its_csv(folder, started, monkeypatch):
    def broken(**arguments):
        raise RuntimeError("no such table\nand more")

    monkeypatch.setattr(remote_loggers, "MLflow", broken)
    with pytest.warns(UserWarning, match="MLflow cannot start: no such table$"):
        (only,) = build_loggers({**MLFLOW, "name": ["csv", "mlflow"]}, folder, config_of(folder), None)
    assert isinstance(only, MetricsCSV)


@pytest.mark.parametrize(("own", "base"), [(MLflow, MLFlowLogger), (Comet, CometLogger)])
def test_an_error_is_said_once_and_training_goes_on(own, base, monkeypatch):
    calls = []

    def fail(self, *args, **kwargs):
        calls.append(args)
        raise ConnectionError("server gone")

    monkeypatch.setattr(base, "log_metrics", fail)
    logger = own.__new__(own)
    with pytest.warns(UserWarning, match=f"{own.service} stops logging: server gone") as warned:
        for step in range(3):
            logger.log_metrics({"a": 1.0}, step)
        close([logger], {"metrics": {}, "cost": {}, "wall_s": 1.0})
    assert len(calls) == len(warned) == 1


def test_none_is_no_logger_and_several_are_in_addition_to_the_csv(folder, monkeypatch):
    made = {name: (lambda options, folder, config, name=name: name) for name in ("wandb", "mlflow", "comet")}
    monkeypatch.setattr(loggers, "BUILDERS", made)

    def kinds(name) -> list:
        built = build_loggers({"name": name}, folder, {}, None)
        return [item if isinstance(item, str) else type(item).__name__ for item in built]

    assert kinds("none") == []
    assert kinds("csv") == ["MetricsCSV"]
    assert kinds(["tensorboard", "mlflow", "wandb"]) == ["MetricsCSV", "TensorBoard", "wandb", "mlflow"]


def test_unreachable_of_another_address(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert "refused" in str(account.unreachable()) and "refused" in str(account.unreachable("http://127.0.0.1:9/x"))
