"""`search=dmasking`: what is done beside the training of a super-network, which is an ordinary training.

Weights train on one half of the training pictures, by the run's own optimizer. After each of its steps the alphas of
the decisions take one of theirs (Adam), on a batch of the other half, of the task's loss and the cost term: FBNet
(arXiv:1812.03443) and FBNetV2 (arXiv:2004.05565). The cost term is |expected cost / target - 1| times `search.weight`.
A run that goes on from its last.ckpt ends with the architecture that the uninterrupted one would have found.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from lightseg import record
from lightseg.backbones.supernet.gumbel import decisions, draw, temperature
from lightseg.backbones.supernet.supernet import SuperNet
from lightseg.draw import save_image
from lightseg.errors import LightsegError
from lightseg.profile import count_madds, count_params, measure_latency
from lightseg.search.dmasking.cost import Costs
from lightseg.search.dmasking.derive import choose, found_model
from lightseg.search.dmasking.history import History, search_picture
from lightseg.search.dmasking.latency_table import table_of

from ..base import NonFiniteLoss, Task
from ..data import DataModule


class DMasking(pl.Callback):
    """The choices of a search: trained with the super-network, kept in its checkpoints, made at its end.

    Args:
        task: over the super-network of a space.
        data: of which the weights are given one half.

    Raises:
        LightsegError: no net of the space is within the target, a table of another space, too few pictures.
    """

    def __init__(self, task: Task, data: DataModule, config: dict[str, Any]) -> None:
        self.task, self.data, self.config = task, data, config
        self.options, self.seed = config["search"], config["seed"]
        self.net: SuperNet = task.model.backbone.net  # type: ignore[assignment]
        self.image_size = tuple(config["profile"]["image_size"] or data.evaluation_size())
        self.costs = Costs(self.net, self.image_size, self.options["cost"], self._latency())
        self.costs.check_target(self.options["target"], self.net.space.name)
        count = len(data.dataset("train"))
        order = np.random.default_rng([self.seed, 1]).permutation(count).tolist()
        data.part, self.part = order[: (count + 1) // 2], order[(count + 1) // 2 :]
        if len(self.part) < data.options["batch_size"]:
            raise LightsegError(
                f"search=dmasking trains weights and choices on halves of the pictures: data.batch_size="
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
        return table_of(self.net, self.image_size, Path(self.options["table"] or path))

    # -- training ------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.alphas = [one.alpha for one in decisions(self.net).values()]
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
        # of (seed, epoch, step) alone, as all randomness of a run: one that goes on draws what it would have drawn
        step = trainer.current_epoch * 1_000_003 + batch_index
        self.generator = torch.Generator().manual_seed((self.seed * 2_147_483_647 + step * 8191) % 2**63)
        draw(self.net, self.temperature, self.generator)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        if self._batches is None or (own := next(self._batches, None)) is None:
            return
        own = self.task.prepare_batch(trainer.strategy.batch_to_device(own))
        for alpha in self.alphas:
            alpha.requires_grad_(True)
        try:
            draw(self.net, self.temperature, self.generator)
            with trainer.precision_plugin.train_step_context():
                loss = self.task.head.loss(self.task.model(own["images"]), own)["loss"]
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
        module.log_dict({"search/cost": cost.detach(), "search/loss": loss.detach()}, batch_size=len(own["names"]))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.history.note({name: one.probabilities().tolist() for name, one in decisions(self.net).items()})

    def state_dict(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict() if self.optimizer is not None else self._restored
        return {"optimizer": optimizer, "history": self.history.as_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict["optimizer"]
        self.history = History(**state_dict["history"])

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, folder: Path) -> None:
        """`arch.yaml`, `search.json` and a picture in the run folder; the task's model is then the net that was found,
        with the super-network's weights."""
        chosen = choose(self.net, self.costs, self.options["target"])
        found = found_model(self.task.model, chosen)
        arch: str = found.spec["arch"]
        found_cost, measured = self.costs.of(chosen), self._measure(found)
        named = {name: one.choices[chosen[name]] for name, one in decisions(self.net).items()}
        size = found_size(self.image_size, self.net, chosen)
        content = {
            "space": self.net.space.name,
            "arch": found.spec["backbone"],
            "cost": self.options["cost"],
            "target": self.options["target"],
            "found": found_cost,
            "measured": measured,
            "measured_at": list(size),
            "choices": named,
            "history": self.history.as_dict(),
        }
        try:
            (folder / "arch.yaml").write_text(arch, encoding="utf-8")
            record.write_json(folder / "search.json", content)
            choices = {name: list(one.choices) for name, one in decisions(self.net).items()}
            picture = search_picture(self.history, choices, chosen, self.options["target"], self.costs.say)
            save_image(picture, folder / "images" / "search.png")
        except OSError as error:
            raise LightsegError(f"cannot write into {folder}: {error.strerror}; resume={folder} tries again") from error
        over = "" if found_cost <= self.options["target"] * 1.0001 else " (above it: no single change is cheaper)"
        print(
            f"found {found.spec['backbone']}: {self.costs.say(found_cost)} for a target of "
            f"{self.costs.say(self.options['target'])}{over}; measured at {size[0]}x{size[1]}: "
            f"{measured['madds'] / 1e6:.3f} M multiply-adds, {measured['params'] / 1e6:.3f} M parameters, "
            f"{measured['latency_ms']:.2f} ms (backbone)\n"
            f"  python train.py task={self.config['task']} data={self.config['data']['name']} "
            f"backbone={folder / 'arch.yaml'}",
            flush=True,
        )
        if self.config["channels_last"]:
            found.to(memory_format=torch.channels_last)
        self.task.model = found

    def _measure(self, found: Any) -> dict[str, float]:
        """Of its backbone, on one picture."""
        shape = (1, self.net.stem.conv.in_channels, *self.image_size)
        backbone = found.backbone
        latency = measure_latency(backbone, shape, runs=self.config["profile"]["runs"])["latency_ms"]
        return {"madds": count_madds(backbone, shape), "params": count_params(backbone), "latency_ms": latency}


def found_size(image_size: tuple[int, ...], net: SuperNet, chosen: dict[str, int]) -> tuple[int, ...]:
    """Height and width of the picture at the chosen input size."""
    sizes = net.input_size.choices
    share = sizes[chosen.get("input_size", 0)] / sizes[-1]
    return tuple(max(1, round(side * share)) for side in image_size)
