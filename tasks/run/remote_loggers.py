"""MLflow and Comet through Lightning's loggers. A logger that fails says so once and is silent from then on: training
goes on with metrics.csv."""

import os
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CometLogger, MLFlowLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightseg.config.overrides import dotted
from lightseg.tracking.account import unreachable

COMET_SERVER = "https://www.comet.com"


class _Forgiving:
    """`attempt` runs what may fail for reasons of a server or a disk, once it has failed no more."""

    service = ""
    failed = False

    def attempt(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # the packages raise many kinds
            self.failed = True
            _warn(f"{self.service} stops logging: {_first_line(error)}")


class MLflow(_Forgiving, MLFlowLogger):
    service = "MLflow"
    last_step = 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.last_step = step or 0
        self.attempt(lambda: MLFlowLogger.log_metrics(self, metrics, step))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Not logged: `log_config` logs the configuration, which includes them."""

    def log_config(self, config: dict[str, Any]) -> None:
        self.attempt(lambda: MLFlowLogger.log_hyperparams(self, config))

    def finalize(self, status: str = "success") -> None:
        self.attempt(lambda: MLFlowLogger.finalize(self, status))

    def log_samples(self, module: Any, samples: list[Any], sheet: Any) -> None:
        self.attempt(lambda: self.experiment.log_image(self.run_id, sheet, "val_images.png"))

    def conclude(self, figures: dict[str, float]) -> None:
        """The figures of the record, at the last step, so that MLflow's table shows them."""
        self.attempt(lambda: MLFlowLogger.log_metrics(self, figures, self.last_step))
        self.finalize("success")


class Comet(_Forgiving, CometLogger):
    service = "Comet"

    def __init__(self, *, offline: bool, **kwargs: Any) -> None:
        self._offline = offline
        super().__init__(**kwargs)

    def _create_experiment(self) -> None:
        if self._offline:  # not by Lightning's argument, which also disables the experiment
            self._online = False
        super()._create_experiment()

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda: CometLogger.log_metrics(self, *args, **kwargs))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Not logged: `log_config` logs the configuration, which includes them."""

    def log_config(self, config: dict[str, Any]) -> None:
        self.attempt(lambda: CometLogger.log_hyperparams(self, config))

    def finalize(self, status: str) -> None:
        self.attempt(lambda: CometLogger.finalize(self, status))

    def log_samples(self, module: Any, samples: list[Any], sheet: Any) -> None:
        self.attempt(lambda: self.experiment.log_image(sheet, name="val/images"))

    def conclude(self, figures: dict[str, float]) -> None:
        """The figures of the record, and the end of the experiment."""
        self.attempt(lambda: self.experiment.log_metrics(figures))
        self.attempt(lambda: self.experiment.end())


@rank_zero_only
def mlflow_logger(options: dict[str, Any], folder: Path, config: dict[str, Any]) -> Logger | None:
    """MLflow's logger, on a server or in the database `<runs_dir>/mlflow.db`. None, with a warning, if it cannot start.

    A resumed run keeps its id.
    """
    runs = Path(config["runs_dir"]).absolute()
    uri = options["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs / 'mlflow.db'}"
    if uri.startswith("http") and (reason := unreachable(uri)):
        _warn(f"MLflow does not respond at {uri} ({reason}): this run is logged without it")
        return None
    # its own defaults retry a request for minutes, at each logged step
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    identity = folder / "mlflow_id"

    def start() -> MLflow:
        logger = MLflow(
            experiment_name=options["experiment_name"] or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lightseg",
            run_name="-".join(folder.parts[-3:]),
            tracking_uri=uri,
            artifact_location=(runs / "mlflow_artifacts").as_uri() if uri.startswith("sqlite:") else None,
            run_id=identity.read_text() if identity.is_file() else None,
        )
        logger.run_id  # noqa: B018  # makes the run
        if not identity.is_file():  # MLflow refuses another value of a parameter
            logger.log_config(dotted(config))
            identity.write_text(str(logger.run_id))
        return logger

    return _started("MLflow", start)


@rank_zero_only
def comet_logger(options: dict[str, Any], folder: Path, config: dict[str, Any]) -> Logger | None:
    """Comet's logger, online or as an archive in the run folder. None, with a warning, if it cannot start.

    A server that does not respond gives an archive. A resumed run keeps its key and has an archive per session: Comet
    names an archive by the key and Python's random numbers, which the seed fixes, and overwrites one of that name.
    """
    archive = folder / "comet" / f"session_{len(list(folder.glob('comet/session_*'))) + 1}"

    def start() -> Comet:
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")  # read at the import: Lightning logs
        import comet_ml

        online = options["online"]
        if online is None:
            online = comet_ml.config.get_config("comet.api_key") is not None
        server = os.environ.get("COMET_URL_OVERRIDE") or COMET_SERVER
        if online and (reason := unreachable(server)):
            _warn(
                f"Comet does not respond ({reason}): this run is offline, upload it later: comet upload {archive}/*.zip"
            )
            online = False
        if not online:
            archive.mkdir(parents=True)
        identity = folder / "comet_key"
        if not identity.is_file():
            identity.write_text(secrets.token_hex(16))
        logger = Comet(
            offline=not online,
            workspace=options["workspace"] or os.environ.get("COMET_WORKSPACE"),
            project=options["project"] or os.environ.get("COMET_PROJECT_NAME") or "lightseg",
            experiment_key=identity.read_text(),
            mode="get_or_create",
            name="-".join(folder.parts[-3:]),
            offline_directory=str(archive),
            log_code=False,
            log_git_patch=False,
            auto_output_logging=False,
            auto_param_logging=False,
            auto_metric_logging=False,
            display_summary_level=0,
        )
        logger.log_config(dotted(config))
        return logger

    return _started("Comet", start)


BUILDERS: dict[str, Callable[[dict[str, Any], Path, dict[str, Any]], Logger | None]] = {
    "mlflow": mlflow_logger,
    "comet": comet_logger,
}


def _started(service: str, start: Callable[[], Any]) -> Any:
    try:
        return start()
    except Exception as error:  # training continues without it
        _warn(f"{service} cannot start: {_first_line(error)}")
        return None


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
