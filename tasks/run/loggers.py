"""Loggers: metrics.csv, Weights & Biases and TensorBoard. Errors of a logger never stop a training."""

import os
import secrets
import warnings
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightseg.tracking.account import run_mode, unreachable

from . import remote_loggers
from .metrics_csv import MetricsCSV


class Wandb(WandbLogger):
    """WandbLogger that also logs sample images. See `wandb_logger`."""

    def log_samples(self, module: Any, samples: list[tuple[dict[str, Any], Any]], sheet: Any) -> None:
        import wandb

        def log() -> None:
            images = [
                wandb.Image(
                    module.sample_image(sample, prediction),
                    **{"caption": sample["name"], **module.annotations(sample, prediction)},
                )
                for sample, prediction in samples
            ]
            self.experiment.log({"val/images": images})

        _ignore_errors(log)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        _ignore_errors(lambda: WandbLogger.log_metrics(self, *args, **kwargs))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Not logged: `wandb_logger` logs the configuration, which includes them."""

    def conclude(self, figures: dict[str, float]) -> None:
        """Write the figures of the record into the run's summary, so that W&B's table shows and sorts by them."""
        _ignore_errors(lambda: self.experiment.summary.update(figures))
        self.finish()

    def finalize(self, status: str) -> None:
        _ignore_errors(lambda: WandbLogger.finalize(self, status))

    def finish(self) -> None:
        _ignore_errors(lambda: self.experiment.finish())


class TensorBoard(TensorBoardLogger):
    def log_samples(self, module: Any, samples: list[Any], sheet: Any) -> None:
        self.experiment.add_image("val/images", sheet, dataformats="HWC")


def build_loggers(
    options: dict[str, Any], folder: Path, config: dict[str, Any], resume_step: int | None
) -> list[Logger]:
    """The loggers of `logger=`: metrics.csv besides any other, nothing for `none`."""
    names = [options["name"]] if isinstance(options["name"], str) else options["name"]
    if names == ["none"]:
        return []
    loggers: list[Logger] = [MetricsCSV(folder / "metrics.csv", resume_step)]
    if "tensorboard" in names:
        loggers.append(TensorBoard(save_dir=folder, name="", version="tensorboard"))
    started = [build(options, folder, config) for name, build in BUILDERS.items() if name in names]
    return [*loggers, *(logger for logger in started if logger is not None)]


def close(loggers: list[Logger], record: dict[str, Any]) -> None:
    """Save the loggers and write the record's figures into those that conclude a run.

    W&B's run is finished, which would otherwise wait for the end of the interpreter.
    """
    for logger in loggers:
        logger.save()
        if hasattr(logger, "conclude"):
            logger.conclude(summary(record))


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The configuration with dotted keys (`optimizer.lr`), which are also the parameter names of W&B sweeps."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def summary(record: dict[str, Any]) -> dict[str, float]:
    """`val/mIoU`, `cost/madds`, ...: the record's metrics (without undefined metrics), cost and time."""
    metrics = {key: value for key, value in record["metrics"].items() if value is not None}
    cost = {f"cost/{key}": value for key, value in record["cost"].items() if isinstance(value, int | float)}
    return metrics | cost | {"cost/wall_s": record["wall_s"]}


@rank_zero_only
def wandb_logger(options: dict[str, Any], folder: Path, config: dict[str, Any]) -> Wandb | None:
    """W&B's logger, online or offline (`run_mode`). None for `disabled`, and, with a warning, if W&B cannot start.

    A server that does not respond gives an offline run within TIMEOUT_S: wandb.init itself would try for minutes, and a
    second wandb.init after it refuses the id. WANDB_PROJECT and WANDB_ENTITY apply where the options are null.
    A resumed run keeps its id. The logged configuration is flat, with the names of `task`, `data`, `backbone`, `head`.
    """
    import wandb

    mode: Any = run_mode(options["mode"])
    if mode == "disabled":
        return None
    if mode == "online" and (reason := unreachable()):
        warnings.warn(
            f"W&B does not respond ({reason}): this run is offline, upload it later: lightseg sync", stacklevel=2
        )
        mode = "offline"
    identity = folder / "wandb_id"
    run_id = identity.read_text() if identity.is_file() else secrets.token_hex(4)
    names = {"data": config["data"]["name"], "head": config["head"]["name"]}
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = wandb.init(
                project=options["project"] or os.environ.get("WANDB_PROJECT") or "lightseg",
                entity=options["entity"],
                mode=attempt,
                dir=os.environ.get("WANDB_DIR") or str(folder),
                id=run_id,
                resume="allow",  # offline it is written to the run's log, and `wandb sync` appends
                name="-".join(folder.parts[-3:]),
                group=f"{config['task']}/{config['data']['name']}",
                config=flat(config) | names,
                settings=wandb.Settings(init_timeout=30, silent=True, console="off"),
            )
            identity.write_text(run.id)  # an agent of a W&B sweep sets another id
            return Wandb(experiment=run)
        except Exception as error:  # training continues without W&B
            warnings.warn(f"W&B ({attempt}) cannot start: {str(error).splitlines()[0]}", stacklevel=2)
            if wandb.run is None:
                wandb.teardown()  # otherwise the id of the run that did not start is in use
    return None


BUILDERS = {"wandb": wandb_logger, **remote_loggers.BUILDERS}


def _ignore_errors(action: Any) -> None:
    try:
        action()
    except Exception as error:
        warnings.warn(f"W&B: {str(error).splitlines()[0] if str(error) else type(error).__name__}", stacklevel=3)
