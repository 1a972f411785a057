"""`search=dmasking`: the callback that trains the choices of a super-network during an ordinary training.

The weights train on half of the training images with the run's optimizer. After each of its steps, the alphas of the
decisions are updated by Adam on a batch of the other half. Their loss is that of the task plus the cost term
|expected cost / target - 1| times `search.weight`: FBNet (arXiv:1812.03443) and FBNetV2 (arXiv:2004.05565). A resumed
run ends with the architecture of the uninterrupted run.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from lightseg.atomic_io import write_json
from lightseg.backbones.supernet.gumbel import decisions, sample_choices, temperature
from lightseg.backbones.supernet.supernet import SuperNet
from lightseg.config import usage
from lightseg.draw import save_image
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, count_params, measure_latency
from lightseg.search.dmasking.cost import Costs
from lightseg.search.dmasking.derive import choose, derive_model
from lightseg.search.dmasking.history import History, plot_search
from lightseg.search.dmasking.latency_table import read_or_measure

from ..base import Task
from ..data import DataModule
from ..run.finite_loss import NonFiniteLoss


class DMasking(pl.Callback):
    """Trains the choices of a search, saves them in the checkpoints, and derives the net at the end.

    Args:
        task: with the super-network of a space as backbone.
        data: of the run; its training is restricted to half of the images.
        config: of the run.

    Raises:
        LightsegError: no net of the space is within the target, a table of another space, or too few images.
    """

    def __init__(self, task: Task, data: DataModule, config: dict[str, Any]) -> None:
        self.task, self.data, self.config = task, data, config
        self.options, self.seed = config["search"], config["seed"]
        self.net: SuperNet = task.model.backbone.net  # type: ignore[assignment]
        self.image_size = tuple(config["profile"]["image_size"])
        self.costs = Costs(self.net, self.image_size, self.options["cost"], self._latency())
        self.costs.check_target(self.options["target"], self.net.space.name)
        count = len(data.dataset("train"))
        order = np.random.default_rng([self.seed, 1]).permutation(count).tolist()
        data.part, self.part = order[: (count + 1) // 2], order[(count + 1) // 2 :]
        if len(self.part) < data.options["batch_size"]:
            raise LightsegError(
                f"search=dmasking trains weights and choices on halves of the images: data.batch_size="
                f"{data.options['batch_size']} is more than the {len(self.part)} of a half"
            )
        self.warmup = math.ceil(self.options["warmup"] * config["trainer"]["max_epochs"])
        self.history = History()
        self.optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] | None = None

    def _latency(self) -> Any:
        if self.options["cost"] != "latency_ms":
            return None
        path = Path(self.config["runs_dir"]) / "latency_tables" / f"{self.net.space.name}.json"
        return read_or_measure(self.net, self.image_size, Path(self.options["table"] or path))

    # -- training ------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.alphas = [decision.alpha for decision in decisions(self.net).values()]
        options = {"lr": self.options["lr"], "weight_decay": self.options["weight_decay"], "betas": (0.5, 0.999)}
        self.optimizer = torch.optim.Adam(self.alphas, **options)  # type: ignore[arg-type]
        if self._restored is not None:
            self.optimizer.load_state_dict(self._restored)
        self.costs.to(module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        loader = self.data.training_loader(self.part)
        loader.batch_sampler.sampler.set_epoch(trainer.current_epoch)  # type: ignore[union-attr]
        self._batches = iter(loader) if trainer.current_epoch >= self.warmup else None

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_index: int) -> None:
        done = (trainer.current_epoch + batch_index / int(trainer.num_training_batches)) / (trainer.max_epochs or 1)
        self.temperature = temperature(done, *self.options["temperature"])
        # a function of (seed, epoch, step), like all randomness of a run, so that a resumed run samples the same
        step = trainer.current_epoch * 1_000_003 + batch_index
        self.generator = torch.Generator().manual_seed((self.seed * 2_147_483_647 + step * 8191) % 2**63)
        sample_choices(self.net, self.temperature, self.generator)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        if self._batches is None or (alpha_batch := next(self._batches, None)) is None:
            return
        alpha_batch = self.task.prepare_batch(trainer.strategy.batch_to_device(alpha_batch))
        for alpha in self.alphas:
            alpha.requires_grad_(True)
        try:
            sample_choices(self.net, self.temperature, self.generator)
            outputs = self.task(alpha_batch["images"], training_outputs=True)
            loss = self.task.head.loss(outputs, alpha_batch)["loss"]
            cost = self.costs.expected()
            total = loss + self.options["weight"] * (cost / self.options["target"] - 1).abs()
            gradients = torch.autograd.grad(total, self.alphas, allow_unused=True)
        finally:
            for alpha in self.alphas:
                alpha.requires_grad_(False)
        if not math.isfinite(value := float(total.detach())):
            raise NonFiniteLoss(f"the loss of the choices is {value}: lower optimizer.lr; last.ckpt is untouched")
        assert self.optimizer is not None
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.history.costs.append(float(cost.detach()))
        module.log_dict(
            {"search/cost": cost.detach(), "search/loss": loss.detach()}, batch_size=len(alpha_batch["names"])
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.history.append({name: d.probabilities().tolist() for name, d in decisions(self.net).items()})

    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict() if self.optimizer is not None else self._restored
        return {"optimizer": optimizer, "history": self.history.as_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict["optimizer"]
        self.history = History(**state_dict["history"])

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, folder: Path) -> None:
        """Write `arch.yaml`, `search.json` and a plot into the run folder `folder`.

        The task's model becomes the derived net with the super-network's weights.
        """
        chosen = choose(self.net, self.costs, self.options["target"])
        derived = derive_model(self.task.model, chosen)
        arch: str = derived.spec["arch"]
        cost, measured = self.costs.cost_of(chosen), self._measure(derived)
        named = {name: decision.choices[chosen[name]] for name, decision in decisions(self.net).items()}
        size = chosen_size(self.image_size, self.net, chosen)
        content = {
            "space": self.net.space.name,
            "arch": derived.spec["backbone"],
            "cost": self.options["cost"],
            "target": self.options["target"],
            "found": cost,
            "measured": measured,
            "measured_at": list(size),
            "choices": named,
            "history": self.history.as_dict(),
        }
        try:
            (folder / "arch.yaml").write_text(arch, encoding="utf-8")
            write_json(folder / "search.json", content)
            choices = {name: list(decision.choices) for name, decision in decisions(self.net).items()}
            plot = plot_search(self.history, choices, chosen, self.options["target"], self.costs.format)
            save_image(plot, folder / "images" / "search.png")
        except OSError as error:
            raise LightsegError(f"cannot write into {folder}: {error.strerror}; resume={folder} tries again") from error
        over = "" if cost <= self.options["target"] * 1.0001 else " (above it: no single change is cheaper)"
        print(
            f"found {derived.spec['backbone']}: {self.costs.format(cost)} for a target of "
            f"{self.costs.format(self.options['target'])}{over}; measured at {size[0]}x{size[1]}: "
            f"{measured['madds'] / 1e6:.3f} M multiply-adds, {measured['params'] / 1e6:.3f} M parameters, "
            f"{measured['latency_ms']:.2f} ms (backbone)\n"
            f"  {usage.command([*usage.task_and_data(self.config), 'backbone=' + str(folder / 'arch.yaml')])}",
            flush=True,
        )
        if self.config["channels_last"]:
            derived.to(memory_format=torch.channels_last)
        self.task.model = derived

    def _measure(self, model: Any) -> dict[str, float]:
        """Multiply-adds, parameters and latency (ms) of the backbone, for a single image."""
        shape = (1, self.net.stem.conv.in_channels, *self.image_size)
        backbone = model.backbone
        latency = measure_latency(backbone, shape, runs=self.config["profile"]["runs"])["latency_ms"]
        return {"madds": count_madds(backbone, shape), "params": count_params(backbone), "latency_ms": latency}


def chosen_size(image_size: tuple[int, ...], net: SuperNet, chosen: dict[str, int]) -> tuple[int, ...]:
    """Height and width of the image in pixels at the chosen input size."""
    sizes = net.input_size.choices
    ratio = sizes[chosen.get("input_size", 0)] / sizes[-1]
    return tuple(max(1, round(side * ratio)) for side in image_size)
