"""metrics.csv always; Weights & Biases or TensorBoard beside it. No logger may ever stop a training."""

import csv
import secrets
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightseg.atomic_io import writing
from lightseg.tracking.account import logged_in


class MetricsCSV(Logger):
    """`metrics.csv`: one row an optimizer step that logged something, columns added as they appear.

    Lightning's CSVLogger drops the file of an interrupted run when that run goes on; this one keeps the rows up to
    the checkpoint and appends.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        if resume_step is not None and path.is_file():
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if int(row["step"]) < resume_step:
                        self.rows[int(row["step"])] = {k: v for k, v in row.items() if v != ""}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        step = step or 0
        self.rows.setdefault(step, {"step": step}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        columns = list(dict.fromkeys(["step", "epoch", *(key for row in self.rows.values() for key in row)]))
        with writing(self.path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))


class Wandb(WandbLogger):
    """WandbLogger that knows how to show a sample; see `wandb_logger`."""

    def log_samples(self, module: Any, samples: list[tuple[dict[str, Any], Any]], sheet: Any) -> None:
        import wandb

        def log() -> None:
            pictures = [
                wandb.Image(
                    module.picture(sample, prediction),
                    **{"caption": sample["name"], **module.annotations(sample, prediction)},
                )
                for sample, prediction in samples
            ]
            self.experiment.log({"val/pictures": pictures})

        _harmless(log)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        _harmless(lambda: WandbLogger.log_metrics(self, *args, **kwargs))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """`wandb_logger` gave the whole configuration; the task's arguments would stand beside it once more."""

    def conclude(self, record: dict[str, Any]) -> None:
        """The figures of the record become the run's summary: W&B's table shows and sorts by what leaderboards say."""
        _harmless(lambda: self.experiment.summary.update(summary(record)))

    def finalize(self, status: str) -> None:
        _harmless(lambda: WandbLogger.finalize(self, status))

    def finish(self) -> None:
        _harmless(lambda: self.experiment.finish())


class TensorBoard(TensorBoardLogger):
    def log_samples(self, module: Any, samples: list[Any], sheet: Any) -> None:
        self.experiment.add_image("val/pictures", sheet, dataformats="HWC")


def build_loggers(
    options: dict[str, Any], folder: Path, config: dict[str, Any], resume_step: int | None
) -> list[Logger]:
    loggers: list[Logger] = [MetricsCSV(folder / "metrics.csv", resume_step)]
    if options["name"] == "tensorboard":
        loggers.append(TensorBoard(save_dir=folder, name="", version="tensorboard"))
    if options["name"] == "wandb" and (logger := wandb_logger(options, folder, config)) is not None:
        loggers.append(logger)
    return loggers


def close(loggers: list[Logger], record: dict[str, Any]) -> None:
    """End the loggers' runs: W&B's would otherwise wait for the interpreter to end."""
    for logger in loggers:
        logger.save()
        if isinstance(logger, Wandb):
            logger.conclude(record)
            logger.finish()


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """One level, with the keys of the command line (`optimizer.lr`), which are those of a W&B sweep's parameters."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def summary(record: dict[str, Any]) -> dict[str, float]:
    """`val/mIoU`, `cost/madds`, ...: the record's metrics (without undefined ones), its cost and its time."""
    metrics = {key: value for key, value in record["metrics"].items() if value is not None}
    cost = {f"cost/{key}": value for key, value in record["cost"].items() if isinstance(value, int | float)}
    return metrics | cost | {"cost/wall_s": record["wall_s"]}


@rank_zero_only
def wandb_logger(options: dict[str, Any], folder: Path, config: dict[str, Any]) -> Wandb | None:
    """Online where the user is logged in or asks for it, else offline; None with a warning where W&B cannot start.

    A resumed run goes on under its id. Its configuration is flat, with `task`, `data`, `backbone` and `head` by name.
    """
    import wandb

    mode = options["mode"]
    if mode == "auto":
        mode = "online" if logged_in() else "offline"
    identity = folder / "wandb_id"
    run_id = identity.read_text() if identity.is_file() else secrets.token_hex(4)
    names = {"data": config["data"]["name"], "head": config["head"]["name"]}
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = wandb.init(
                project=options["project"],
                entity=options["entity"],
                mode=attempt,
                dir=str(folder),
                id=run_id,
                resume="allow",  # offline it is noted in the run's log, and `wandb sync` appends
                name="-".join(folder.parts[-3:]),
                group=f"{config['task']}/{config['data']['name']}",
                config=flat(config) | names,
                settings=wandb.Settings(init_timeout=30, silent=True, console="off"),
            )
            identity.write_text(run.id)  # an agent of a W&B sweep gives its own
            return Wandb(experiment=run)
        except Exception as error:  # whatever W&B does, training goes on
            warnings.warn(f"W&B ({attempt}) does not start: {str(error).splitlines()[0]}", stacklevel=2)
    return None


def _harmless(action: Any) -> None:
    try:
        action()
    except Exception as error:
        warnings.warn(f"W&B: {str(error).splitlines()[0] if str(error) else type(error).__name__}", stacklevel=3)
