"""What a run sends to W&B in each mode, counted by a local server, and what it does where the server is of no use."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb

from lightseg.tracking import account
from tasks.run.loggers import wandb_logger

CONFIG = {"task": "seg", "data": {"name": "camvid"}, "head": {"name": "lraspp"}}


@pytest.fixture
def requests(monkeypatch, request):
    """The requests to a server that knows no run; the environment is that of a user who is logged in to it."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(f"{self.command} {self.path}")
            self.send_response(404)
            self.end_headers()

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_MODE", "WANDB_DISABLED", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    wandb.teardown()  # it reads the environment once a process
    request.addfinalizer(wandb.teardown)
    request.addfinalizer(server.shutdown)
    return seen


def logger_of(folder, mode="auto", project=None):
    logger = wandb_logger({"mode": mode, "project": project, "entity": None}, folder, CONFIG)
    if logger is not None:
        logger.finish()
    return logger


@pytest.mark.parametrize(
    ("variables", "mode", "offline_run"),
    [
        ({"WANDB_MODE": "offline"}, "auto", True),
        ({"WANDB_MODE": "dryrun"}, "auto", True),
        ({"WANDB_MODE": "disabled"}, "auto", False),
        ({"WANDB_DISABLED": "true"}, "auto", False),
        ({}, "offline", True),
        ({}, "disabled", False),
        ({"WANDB_MODE": "online"}, "disabled", False),
    ],
)
def test_nothing_is_sent(requests, monkeypatch, tmp_path, variables, mode, offline_run):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    logger = logger_of(tmp_path, mode)
    assert (logger is not None) == offline_run == bool(list(tmp_path.glob("wandb/offline-run-*")))
    assert requests == []


def test_a_server_that_refuses_the_run_leaves_an_offline_run(requests, tmp_path):
    with pytest.warns(UserWarning, match="W&B \\(online\\) cannot start"):
        assert logger_of(tmp_path) is not None  # logged in: online
    assert "POST /graphql" in requests
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


@pytest.mark.parametrize("hangs", [False, True])
def test_a_server_that_does_not_respond_leaves_an_offline_run(requests, monkeypatch, tmp_path, hangs):
    monkeypatch.setattr(account, "TIMEOUT_S", 1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if hangs:
            listener.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        wandb.teardown()
        with pytest.warns(UserWarning, match="W&B does not respond"):
            assert logger_of(tmp_path) is not None
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_project_and_folder_of_the_environment(requests, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("WANDB_PROJECT", "street-scenes")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    assert logger_of(tmp_path, "offline").experiment.project == "street-scenes"
    assert list((tmp_path / "elsewhere").glob("wandb/offline-run-*")) and not (tmp_path / "wandb").exists()
    assert logger_of(tmp_path, "offline", project="mine").experiment.project == "mine"
