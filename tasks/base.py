"""The one training step, the one evaluation step, and the optimiser: what every task shares."""

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from lightseg.catalog.tasks import get_task
from lightseg.cpu_training import optimize_for_cpu
from lightseg.errors import LightsegError
from lightseg.model import create_model

from .run.optimisation import SCHEDULE, build_optimizer, build_schedule
from .run.progressive import Progressive

Batch = dict[str, Any]  # images uint8 [B, C, H, W], names list[str], and the task's targets


class NonFiniteLoss(LightsegError):
    """The loss became NaN or infinite."""


class Task(pl.LightningModule):
    """A Model, a metric and the optimiser settings. A task file adds `evaluate`, its metric, monitor and drawing.

    Args:
        model: the arguments of `lightseg.model.create_model`.
        optimizer, schedule: the groups of configs/train.yaml.
        progressive: the stages of the run, where settings change during it.
        freeze_bn: keep the backbone's batch-norm layers as they were loaded.
        channels_last: NHWC memory format.
    """

    headings: tuple[str, ...]  # of the pictures that `draw` gives
    colors_mean_classes = True  # in its pictures
    one_results_file = False  # predictions go into one COCO file, where others are a file a picture
    resolution = "the label's own"  # at which the metric is taken: part of the record's protocol
    metric: Any  # a torchmetrics.Metric whose compute() gives {"mIoU": ...}

    def __init__(
        self,
        model: dict[str, Any],
        optimizer: dict[str, Any],
        schedule: dict[str, Any],
        *,
        progressive: Progressive,
        freeze_bn: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.model = create_model(**model)
        contract = self.model.contract
        self.class_names = list(contract.class_names or map(str, range(model["num_classes"])))
        self.palette = [list(color) for color in contract.palette or ()]
        self.monitor = get_task(model["task"]).monitor  # picks the best checkpoint
        # a checkpoint rebuilds the net from its own weights: it must not ask for the pretrained ones again
        self.save_hyperparameters(
            {"model": self.model.spec, "optimizer": optimizer, "schedule": schedule, "freeze_bn": freeze_bn}
        )
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer_options, self.schedule_options = optimizer, schedule
        self.progressive = progressive
        self.scheduled: dict[str, float] = {}  # this stage's values
        self.freeze_bn = freeze_bn
        self.flip, self.scales = False, [1.0]
        self.wall_before = 0.0  # seconds that earlier sessions of a resumed run took
        self._started = time.monotonic()
        self._seed = torch.initial_seed() % 2**31

    # -- what a task file adds ---------------------------------------------------------------------------------------

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        """What its constructor takes besides, of a composed configuration and the pictures that are evaluated."""
        return {}

    @staticmethod
    def model_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        """Arguments of `create_model` that the data decide, in place of those that all tasks have."""
        return {}

    def evaluate(self, batch: Batch) -> Any:
        """Predictions of a batch; updates `self.metric`."""
        raise NotImplementedError

    def draw(self, sample: Batch, prediction: Any) -> list[Any]:
        """One row of the contact sheet: pictures for `headings`, as uint8 arrays [H, W, 3]."""
        raise NotImplementedError

    def picture(self, sample: Batch, prediction: Any) -> Any:
        """What W&B shows of a sample, uint8 [H, W, 3]: its image, which lies under `annotations`."""
        return sample["images"].permute(1, 2, 0).cpu().numpy()

    def annotations(self, sample: Batch, prediction: Any) -> dict[str, Any]:
        """How W&B is to lay truth and prediction over a sample's image: arguments of `wandb.Image`."""
        return {}

    def prepare_batch(self, batch: Batch) -> Batch:
        """What is done to a training batch on the device, before the model sees it."""
        return batch

    def protocol(self) -> dict[str, Any]:
        """What a reader of the record must know besides of how its metrics were measured."""
        return {}

    def baselines(self) -> dict[str, float]:
        """Figures of a trivial answer to the same questions, for comparison. Called after training."""
        return {}

    def charts(self) -> dict[str, Any]:
        """Pictures of the whole evaluation, by name. Called by every process, before the metric is reset."""
        return {}

    # -- steps -------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        batch = self.prepare_batch(batch)
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
        split = self.trainer.datamodule.evaluation_split  # type: ignore[attr-defined]
        figures = {**self.metric.compute(), **self.baselines()}
        self.log_dict({f"{split}/{key}": value for key, value in figures.items()})
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

    # -- stages of the run -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        self.scheduled = self.progressive.at(self.progressive.stage(self.current_epoch))
        if "dropout" in self.scheduled:
            set_dropout(self.model, self.scheduled["dropout"])
        if "drop_path" in self.scheduled:
            set_drop_path(self.model, self.scheduled["drop_path"], self.progressive.most("drop_path", 0.0))

    # -- randomness and batch norm -----------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # dropout and stochastic depth depend on (seed, epoch, step, rank) alone: a resumed run draws what the first one
        # drew, whatever loaders and workers took from the global generator in between
        step = (self.current_epoch + 1) * 1_000_003 + batch_index
        torch.manual_seed((self._seed * 2_147_483_647 + step * 8191 + self.global_rank) % 2**63)

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            optimize_for_cpu(self.model)

    def train(self, mode: bool = True) -> "Task":
        super().train(mode)
        if mode and self.freeze_bn:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    # -- optimiser ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        if self.freeze_bn:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.requires_grad_(False)
        # Under mixed precision Lightning refuses to clip gradients for a fused optimiser.
        clips = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        fuses = self.device.type == "cpu" and not clips
        optimizer = build_optimizer(self.model, fused=fuses, **self.optimizer_options)
        steps = int(self.trainer.estimated_stepping_batches)
        if self.progressive.grows_batches:  # epochs have different numbers of steps: count what full pictures take
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self._steps_an_epoch = len(data.dataset("train")) // data.options["batch_size"]
            steps = self._steps_an_epoch * int(self.trainer.max_epochs or 1)
        options = {key: value for key, value in self.schedule_options.items() if key in SCHEDULE}
        scheduler = build_schedule(optimizer, steps, epochs=self.trainer.max_epochs or 1, **options)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        step = self.global_step
        if self.progressive.grows_batches:  # steps are of unequal weight: what counts is the share of the run
            loop = self.trainer.fit_loop.epoch_loop
            done = self.current_epoch + (loop.batch_idx + 1) / max(1, int(self.trainer.num_training_batches))
            step = round(done * self._steps_an_epoch)
        scheduler.step_update(step)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Dropout of heads and of timm's nets, which keep theirs as a module or as the number `drop_rate`."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "drop_rate", None), float):
            module.drop_rate = rate  # type: ignore[assignment]


def set_drop_path(model: nn.Module, rate: float, built_with: float) -> None:
    """Stochastic depth, whose rate grows with depth up to the `rate` of the deepest block: all are scaled alike."""
    for module in model.modules():
        if isinstance(module, DropPath):
            if not hasattr(module, "built_with"):
                module.built_with = module.drop_prob  # type: ignore[assignment]
            module.drop_prob = float(module.built_with) * rate / built_with if built_with else 0.0  # type: ignore[arg-type]
