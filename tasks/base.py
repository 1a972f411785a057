"""The one training step, the one evaluation step, and the optimiser: what every task shares."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler, PolyLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn

from lightseg.cpu_training import optimise_for_cpu
from lightseg.errors import LightsegError, nearest
from lightseg.model import create_model

Batch = dict[str, Any]  # images uint8 [B, C, H, W], names list[str], and the task's targets


FUSED_ON_CPU = ("adam", "adamw", "momentum", "sgd")  # torch's own: timm's other optimisers have no such kernels


class NonFiniteLoss(LightsegError):
    """The loss became NaN or infinite."""


class Task(pl.LightningModule):
    """A Model, a metric and the optimiser settings. A task file adds `evaluate`, its metric, monitor and drawing.

    Args:
        model: the arguments of `lightseg.model.create_model`.
        optimizer, schedule: the groups of configs/train.yaml.
        palette: an RGB colour a class, for pictures.
        freeze_bn: keep the backbone's batch-norm layers as they were loaded.
        channels_last: NHWC memory format.
    """

    monitor: str  # the metric that picks the best checkpoint, larger is better
    metric: Any  # a torchmetrics.Metric whose compute() gives {"mIoU": ...}

    def __init__(
        self,
        model: dict[str, Any],
        optimizer: dict[str, Any],
        schedule: dict[str, Any],
        *,
        palette: list[list[int]],
        freeze_bn: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.model = create_model(**model)
        self.class_names: list[str] = model["class_names"]
        self.palette = palette
        # a checkpoint rebuilds the net from its own weights: it must not ask for the pretrained ones again
        self.save_hyperparameters(
            {"model": self.model.spec, "optimizer": optimizer, "schedule": schedule, "freeze_bn": freeze_bn}
        )
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer_options, self.schedule_options = optimizer, schedule
        self.freeze_bn = freeze_bn
        self.flip, self.scales = False, [1.0]
        self.wall_before = 0.0  # seconds that earlier sessions of a resumed run took
        self._started = time.monotonic()
        self._seed = torch.initial_seed() % 2**31

    # -- what a task file adds ---------------------------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> Any:
        """Predictions of a batch; updates `self.metric`."""
        raise NotImplementedError

    def draw(self, sample: Batch, prediction: Any) -> list[Any]:
        """One row of the contact sheet: pictures for `headings`, as uint8 arrays [H, W, 3]."""
        raise NotImplementedError

    # -- steps -------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        outputs = self.model(batch["images"])
        losses = self.head.loss(outputs, batch)
        loss = losses["loss"]
        if not math.isfinite(value := float(loss.detach())):
            raise NonFiniteLoss(
                f"the loss is {value} at step {self.global_step} (epoch {self.current_epoch}) on "
                f"{', '.join(batch['names'])}: "
                "lower optimizer.lr, set trainer.gradient_clip_val, or look at these images; last.ckpt is untouched"
            )
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=len(batch["names"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> Any:
        return self.evaluate(batch)

    def test_step(self, batch: Batch, batch_index: int) -> Any:
        return self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"val/{key}": value for key, value in self.metric.compute().items()})
        self.metric.reset()

    def on_test_epoch_end(self) -> None:
        # the final figures keep the name of the split that they were measured on
        self.log_dict({f"{self.trainer.datamodule.evaluation_split}/{k}": v for k, v in self.metric.compute().items()})  # type: ignore[attr-defined]
        self.metric.reset()

    @property
    def head(self) -> Any:
        return self.model.head

    def describe(self) -> str:
        spec = self.model.spec
        params = sum(p.numel() for p in self.model.parameters())
        return f"{spec['task']}: {spec['backbone']} + {spec['head']['name']}, {params / 1e6:.2f} M parameters"

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["wall_s"] = self.wall_before + time.monotonic() - self._started

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.wall_before = checkpoint.get("wall_s", 0.0)

    # -- randomness and batch norm -----------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # dropout and stochastic depth depend on (seed, epoch, step, rank) alone: a resumed run draws what the first one
        # drew, whatever loaders and workers took from the global generator in between
        step = (self.current_epoch + 1) * 1_000_003 + batch_index
        torch.manual_seed((self._seed * 2_147_483_647 + step * 8191 + self.global_rank) % 2**63)

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            optimise_for_cpu(self.model)

    def train(self, mode: bool = True) -> "Task":
        super().train(mode)
        if mode and self.freeze_bn:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    # -- optimiser ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        optimizer = self._optimizer()
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_schedule(optimizer, steps, **self.schedule_options)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self.global_step)

    def _optimizer(self) -> torch.optim.Optimizer:
        options = dict(self.optimizer_options)
        name, lr, decay = options["name"], options["lr"], options["weight_decay"]
        if self.freeze_bn:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.requires_grad_(False)
        groups = []
        for part, rate in ((self.model.backbone, lr * options["backbone_lr_mult"]), (self.model.head, lr)):
            trained = [p for p in part.parameters() if p.requires_grad]
            # biases and norm layers are one-dimensional: no weight decay (timm's rule)
            for params, weight_decay in (
                ([p for p in trained if p.ndim > 1], decay),
                ([p for p in trained if p.ndim <= 1], 0.0),
            ):
                if params:
                    groups.append({"params": params, "lr": rate, "weight_decay": weight_decay})
        # one kernel a step instead of several a weight: 3 ms against 13 for 3 M weights on a CPU. Under mixed precision
        # Lightning refuses to clip gradients for a fused optimiser.
        clips = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        fuses = self.device.type == "cpu" and name in FUSED_ON_CPU and not clips
        fused: dict[str, Any] = {"fused": True} if fuses else {}
        try:
            return create_optimizer_v2(
                groups, opt=name, lr=lr, weight_decay=decay, momentum=options["momentum"], **fused
            )
        except (ValueError, AssertionError) as error:
            from timm.optim import list_optimizers

            raise LightsegError(f"optimizer.name={name}: {nearest(name, map(str, list_optimizers()))}") from error


def build_schedule(
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    name: str,
    power: float,
    milestones: list[float],
    gamma: float,
    min_lr: float,
    warmup_steps: int,
) -> Scheduler | None:
    """timm's schedulers, counted in optimizer steps; `milestones` are fractions of the run. None: a constant rate."""
    if warmup_steps >= steps:
        raise LightsegError(
            f"schedule.warmup_steps={warmup_steps} is not shorter than the run of {steps} optimizer steps"
        )
    warmup: dict[str, Any] = {"warmup_t": warmup_steps, "warmup_lr_init": 0.0, "t_in_epochs": False}
    kinds: dict[str, Callable[[], Scheduler]] = {
        "poly": lambda: PolyLRScheduler(
            optimizer, t_initial=steps, power=power, lr_min=min_lr, cycle_limit=1, **warmup
        ),
        "cosine": lambda: CosineLRScheduler(optimizer, t_initial=steps, lr_min=min_lr, cycle_limit=1, **warmup),
        "step": lambda: MultiStepLRScheduler(
            optimizer, decay_t=[round(m * steps) for m in milestones], decay_rate=gamma, **warmup
        ),
        "constant": lambda: MultiStepLRScheduler(optimizer, decay_t=[], decay_rate=1.0, **warmup),
    }
    if name not in kinds:
        raise LightsegError(f"schedule.name={name}: {nearest(name, kinds)}")
    return kinds[name]() if name != "constant" or warmup_steps else None
