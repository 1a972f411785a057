"""The LightningModule of all tasks: training step, evaluation step and optimizer."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from lightseg.catalog.tasks import get_task
from lightseg.cpu_training import optimize_for_cpu
from lightseg.data.collate import shown
from lightseg.errors import LightsegError
from lightseg.model import create_model
from lightseg.unused_parameters import unused_parameters

from .run.finite_loss import FiniteLoss
from .run.freezing import Freezing
from .run.optimization import SCHEDULE, build_optimizer, build_schedule, rates_of
from .run.progressive import Progressive
from .run.regularization import check_dropout, set_regularization
from .run.resumed_epoch import batches_done, continue_batches, continue_schedules

Batch = dict[str, Any]  # images [B, C, H, W] as the model takes them, names list[str], and the task's targets


class Task(pl.LightningModule):
    """A Model with its metric and optimizer. A subclass per task adds `evaluate`, the metric and drawing.

    Args:
        model: the arguments of `lightseg.model.create_model`.
        optimizer, schedule: the groups of configs/train.yaml.
        progressive: the phases of the run.
        resume_schedule: of a resumed run with more epochs: "extend" follows the longer schedule from where it is,
            "restart" begins a schedule of the epochs that are left.
        freeze, freeze_bn: the parts that are not trained, see `Freezing`.
        channels_last: NHWC memory format.
    """

    headings: tuple[str, ...]  # of the images that `draw` returns
    colors_mean_classes = True  # in the images of `draw`
    one_results_file = False  # predictions are a file of COCO results instead of a file per image
    resolution = "the label's own"  # of the metric, for the record's protocol
    metric: Any  # a torchmetrics.Metric whose compute() returns {"mIoU": ...}

    def __init__(
        self,
        model: dict[str, Any],
        optimizer: dict[str, Any],
        schedule: dict[str, Any],
        *,
        progressive: Progressive,
        resume_schedule: str = "extend",
        freeze: Any = None,
        freeze_bn: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.model = create_model(**model)
        contract = self.model.contract
        self.class_names = list(contract.class_names or map(str, range(model["num_classes"])))
        self.palette = [list(color) for color in contract.palette or ()]
        self.monitor = get_task(model["task"]).monitor  # chooses the best checkpoint
        # the spec does not contain `pretrained`: a checkpoint has its weights
        self.save_hyperparameters(
            {
                "model": self.model.spec,
                "optimizer": optimizer,
                "schedule": schedule,
                "freeze": freeze,
                "freeze_bn": freeze_bn,
            }
        )
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.freezing = Freezing(self.model, freeze, freeze_bn)
        self.optimizer_options, self.schedule_options = optimizer, schedule
        self.finite_loss = FiniteLoss()
        self.progressive, self.resume_schedule = progressive, resume_schedule
        check_dropout(self.model, progressive.values)
        self.schedule_start = 0  # optimizer step at which the schedule began
        self.scheduled: dict[str, float] = {}  # values of this phase
        self.flip, self.scales = False, [1.0]
        self.evaluated = 0  # samples of the final evaluation, in this process
        self._saved_schedules: list[dict[str, Any]] = []
        self.wall_before = 0.0  # seconds of earlier sessions of a resumed run
        self._started = time.monotonic()
        self._seed = torch.initial_seed() % 2**31

    # -- for subclasses ----------------------------------------------------------------------------------------------

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        """Additional arguments of the constructor, from a composed configuration and the evaluation set."""
        return {}

    @staticmethod
    def model_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        """Arguments of `create_model` that depend on the data and replace those of all tasks."""
        return {}

    def evaluate(self, batch: Batch) -> Any:
        """Predictions of a batch, from the outputs of `self(images)`; updates `self.metric`."""
        raise NotImplementedError

    def draw(self, sample: Batch, prediction: Any) -> list[Any]:
        """A row of the contact sheet: an image uint8 [H, W, 3] for each of `headings`."""
        raise NotImplementedError

    def sample_image(self, sample: Batch, prediction: Any) -> Any:
        """The image of a sample for W&B, uint8 [H, W, 3], onto which `annotations` are drawn."""
        return shown(sample["images"], self.model.contract)

    def annotations(self, sample: Batch, prediction: Any) -> dict[str, Any]:
        """Ground truth and prediction of a sample for W&B, as arguments of `wandb.Image`."""
        return {}

    def prepare_batch(self, batch: Batch) -> Batch:
        """Transform a training batch on the device, before the model."""
        return batch

    def protocol(self) -> dict[str, Any]:
        """Additional entries of the record's protocol, on how the metrics were measured."""
        return {}

    def baselines(self) -> dict[str, float]:
        """Metrics of a trivial prediction, for comparison. Called after training."""
        return {}

    def charts(self) -> dict[str, Any]:
        """Charts of the evaluation by name, uint8 [H, W, 3]. Called in every process, before the metric is reset."""
        return {}

    # -- steps -------------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, training_outputs: bool = False) -> Any:
        """images [B, C, H, W] -> the head's raw outputs in float32. training_outputs: what the loss needs besides.

        Of a step only this runs under the autocast of a `*-mixed` precision. Coordinates, losses and metrics do not:
        bfloat16 has 8 bits, which is a pixel of 256.
        """
        mixed: AbstractContextManager = nullcontext()
        if self._trainer is not None:
            mixed = self._trainer.precision_plugin.forward_context()
        with mixed:
            outputs = self.model(images, training_outputs=training_outputs)
        half = (torch.float16, torch.bfloat16)
        return apply_to_collection(outputs, Tensor, lambda output: output.float() if output.dtype in half else output)

    def _without_autocast(self) -> AbstractContextManager:
        """Lightning runs whole steps under autocast."""
        return torch.autocast(self.device.type, enabled=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        with self._without_autocast():
            batch = self.prepare_batch(batch)
            self.finite_loss.before_forward(self.trainer, self.model)
            losses = self.head.loss(self._train_forward(batch["images"]), batch)
        loss = losses["loss"]
        self.finite_loss.check(loss, self.trainer, batch["names"])
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=len(batch["names"]))
        self.log_dict(rates_of(self.trainer.optimizers[0]), batch_size=1)
        return loss

    def on_after_backward(self) -> None:
        self.finite_loss.after_backward()

    def _train_forward(self, images: Tensor) -> Any:
        try:
            return self(images, training_outputs=True)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise LightsegError(
                f"batch norm needs more than a value per channel, and a batch of {len(images)} image of "
                f"{images.shape[-2]}x{images.shape[-1]} has just one: give data.batch_size=2 or larger images"
            ) from error

    def validation_step(self, batch: Batch, batch_index: int) -> Any:
        with self._without_autocast():
            return self.evaluate(batch)

    def test_step(self, batch: Batch, batch_index: int) -> Any:
        self.evaluated += len(batch["names"])
        with self._without_autocast():
            return self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"val/{key}": value for key, value in self.metric.compute().items()})
        self.metric.reset()

    def on_test_epoch_end(self) -> None:
        # the final metrics are named after their split; `final/` keeps them apart from the epochs' in the loggers
        split = self.trainer.datamodule.evaluation_split  # type: ignore[attr-defined]
        figures = {f"{split}/{key}": value for key, value in {**self.metric.compute(), **self.baselines()}.items()}
        self.log_dict(figures, logger=False)
        for logger in self.loggers:
            logger.log_metrics({f"final/{key}": float(value) for key, value in figures.items()}, self.global_step)
        self.metric.reset()

    @property
    def head(self) -> Any:
        return self.model.head

    def describe(self) -> str:
        spec, params = self.model.spec, sum(p.numel() for p in self.model.parameters())
        return f"{spec['task']}: {spec['backbone']} + {spec['head']['name']}, {params / 1e6:.2f} M parameters"

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["wall_s"] = self.wall_before + time.monotonic() - self._started
        checkpoint["schedule"] = {"start": self.schedule_start, "epochs": self.trainer.max_epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.wall_before = checkpoint.get("wall_s", 0.0)
        # not restored: the rate follows from the step and the configuration, whose number of epochs may have changed
        self._saved_schedules = checkpoint.get("lr_schedulers", [])
        checkpoint["lr_schedulers"] = []
        schedule = checkpoint.get("schedule", {})
        extended = schedule.get("epochs") != self.trainer.max_epochs
        restarts = self.resume_schedule == "restart" and extended
        self.schedule_start = checkpoint["global_step"] if restarts else schedule.get("start", 0)

    # -- phases of the run -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        self._set_phase()
        self.freezing.set_norms(self.current_epoch)
        for part in self.freezing.ends_at(self.current_epoch):
            rates = ", ".join(f"{name} {rate:.2g}" for name, rate in rates_of(self.trainer.optimizers[0]).items())
            if self.global_rank == 0:
                print(f"epoch {self.current_epoch + 1}: {part} is trained from here on ({rates})", flush=True)

    def _set_phase(self) -> None:
        self.scheduled = self.progressive.at(self.progressive.phase(self.current_epoch))
        set_regularization(self.model, self.scheduled, self.progressive.max_value("drop_path", 0.0))

    # -- randomness and batch norm -----------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # dropout and stochastic depth depend only on (seed, epoch, step, rank): a resumed run samples the same values,
        # independent of the state of the global generator
        step = (self.current_epoch + 1) * 1_000_003 + batch_index
        torch.manual_seed((self._seed * 2_147_483_647 + step * 8191 + self.global_rank) % 2**63)

    def setup(self, stage: str) -> None:
        if stage != "fit" or self.trainer.world_size == 1:
            return
        contract, parameters = self.model.contract, dict(self.model.named_parameters())
        size = contract.train_size or contract.size or (256, 256)
        for name in unused_parameters(self.model, size, contract.channels):
            parameters[name].requires_grad_(False)  # before DistributedDataParallel, which would wait for its gradient

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            optimize_for_cpu(self.model)

    def on_train_start(self) -> None:
        self.freezing.set_norms(self.current_epoch)
        if self.global_step:
            self._set_phase()  # resumed within an epoch, which does not start again
            step = self._schedule_step(batches_done(self.trainer))
            continue_schedules(self.trainer, self._saved_schedules, step, self.schedule_start)
            continue_batches(self.trainer)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.freezing.drop_gradients(self.current_epoch)

    # -- optimizer ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        # Under mixed precision Lightning cannot clip gradients for a fused optimizer.
        clips = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        fuses = self.device.type == "cpu" and not clips
        optimizer = build_optimizer(self.model, fused=fuses, **self.optimizer_options)
        steps = int(self.trainer.estimated_stepping_batches)
        if self.progressive.grows_batches:  # epochs have different numbers of steps: count those of the largest images
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self._steps_an_epoch = data.training_samples() // data.options["batch_size"]
            steps = self._steps_an_epoch * int(self.trainer.max_epochs or 1)
        options = {key: value for key, value in self.schedule_options.items() if key in SCHEDULE}
        steps -= self.schedule_start
        scheduler = build_schedule(optimizer, steps, epochs=self.trainer.max_epochs or 1, **options)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self._schedule_step(self.trainer.fit_loop.epoch_loop.batch_idx + 1))

    def _schedule_step(self, batches: int) -> int:
        """batches: of the epoch that are done."""
        if not self.progressive.grows_batches:
            return self.global_step - self.schedule_start
        # steps differ in their number of images: the fraction of the run counts
        share_of_epoch = batches / max(1, int(self.trainer.num_training_batches))
        return round((self.current_epoch + share_of_epoch) * self._steps_an_epoch)
