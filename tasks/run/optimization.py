"""Optimizer and learning rate schedule of timm, with parameter groups by timm's rules."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler, PolyLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import nn

from lightseg.backbones import Classifier
from lightseg.errors import LightsegError, nearest
from lightseg.model import Model

WARMUP_SHARE = 0.05  # of the run's steps, where `schedule.warmup_steps` is null
SCHEDULE = ("name", "power", "milestones", "gamma", "decay_epochs", "min_lr", "warmup_steps")  # of the learning rate
NO_DECAY = ", no weight decay"  # ends the name of a parameter group
NO_WEIGHT_DECAY = re.compile(  # the names in timm's models
    r"\b(cls|dist|reg)_token|\bpos_embed|_pos\b|\brel_pos|relative_position_bias|position_embedding_table|\bcpb_mlp\b"
    r"|\battention_biases|\blogit_scale"
)
FUSED_ON_CPU = ("adam", "adamw", "momentum", "sgd")  # torch's own: timm's other optimizers have no fused kernels


def build_optimizer(
    model: Model,
    *,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float,
    backbone_lr_mult: float,
    eps: float | None,
    layer_decay: float | None,
    fused: bool,
) -> torch.optim.Optimizer:
    """timm's optimizer `name`.

    Args:
        weight_decay: of the parameters that `takes_weight_decay`.
        backbone_lr_mult: the backbone's learning rate relative to the head's, or to that of a classifier's last layer.
        eps: of Adam's and RMSprop's denominator. None: timm's default.
        layer_decay: the learning rate of each block of the backbone relative to the next deeper block. None: 1.
        fused: use torch's fused kernels where they exist: 3 ms instead of 13 per step for 3 M weights on a CPU.
    """
    groups: list[dict[str, Any]] = []
    decayed = {id(parameter) for key, parameter in model.named_parameters() if takes_weight_decay(key, parameter)}
    for part, rate, params in _by_rate(model, lr, backbone_lr_mult, layer_decay or 1.0):
        for name_of_group, chosen, decay in (
            (part, [p for p in params if id(p) in decayed], weight_decay),
            (part + NO_DECAY, [p for p in params if id(p) not in decayed], 0.0),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": name_of_group})
    extra: dict[str, Any] = {"fused": True} if fused and name in FUSED_ON_CPU else {}
    if eps is not None:
        extra["eps"] = eps
    no_eps = f"optimizer.name={name} takes no optimizer.eps: leave it null"
    try:
        optimizer = create_optimizer_v2(groups, opt=name, lr=lr, weight_decay=weight_decay, momentum=momentum, **extra)
    except (ValueError, AssertionError) as error:
        if name in list_optimizers():
            raise LightsegError(f"optimizer.name={name}: {' '.join(str(error).split())}") from error
        raise LightsegError(f"optimizer.name={name}: {nearest(name, map(str, list_optimizers()))}") from error
    except TypeError as error:
        raise LightsegError(no_eps) from error
    if eps is not None and "eps" not in optimizer.defaults:  # timm ignores eps where the optimizer has none
        raise LightsegError(no_eps)
    return optimizer


def takes_weight_decay(key: str, parameter: nn.Parameter) -> bool:
    """False for biases and norm layers, and for what timm's transformers list in `no_weight_decay()`: class tokens,
    position tables, attention biases. A pyramid has lost that method, so the names decide.
    """
    return parameter.ndim > 1 and not key.endswith(".bias") and not NO_WEIGHT_DECAY.search(key)


def _by_rate(
    model: Model, lr: float, backbone_lr_mult: float, layer_decay: float
) -> Iterator[tuple[str, float, list[nn.Parameter]]]:
    """Names, learning rates and trained parameters: of the backbone, by depth, and of the head.

    The head of a classifier is its last layer.
    """
    classifier: Any = model.backbone.net if isinstance(model.backbone, Classifier) else None
    last = classifier.get_classifier() if classifier is not None else model.head
    # distilled transformers have two classifiers
    head = [p for layer in (last if isinstance(last, tuple) else (last,)) for p in layer.parameters()]
    head_ids = {id(parameter) for parameter in head}
    backbone = [(key, p) for key, p in model.backbone.named_parameters() if id(p) not in head_ids]
    layers = _layers(backbone) if layer_decay != 1.0 else [[p for _, p in backbone]]
    for depth, layer in enumerate(layers):
        rate = lr * backbone_lr_mult * layer_decay ** (len(layers) - depth)
        yield f"backbone/{depth}" if len(layers) > 1 else "backbone", rate, [p for p in layer if p.requires_grad]
    yield "head", lr, [p for p in head if p.requires_grad]


def _layers(backbone: list[tuple[str, nn.Parameter]]) -> list[list[nn.Parameter]]:
    """Parameters by block, shallow to deep. A block has two numbers in its name, `blocks.3.1`, or is a child module."""
    layers: dict[str, list[nn.Parameter]] = {}
    for key, parameter in backbone:
        parts = key.split(".")[1:]  # `net.`
        numbered = [index for index, part in enumerate(parts[:-1]) if part.isdigit()][:2]
        layers.setdefault(".".join(parts[: numbered[-1] + 1] if numbered else parts[:1]), []).append(parameter)
    return list(layers.values())


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """`lr/backbone` and `lr/head`, with `layer_decay` also `lr/backbone/0`, ...: the present learning rates."""
    named = [group for group in optimizer.param_groups if "name" in group]  # none in a checkpoint of an older release
    return {f"lr/{group['name'].removesuffix(NO_DECAY)}": float(group["lr"]) for group in named}


def build_schedule(
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    epochs: int,
    name: str,
    power: float,
    milestones: list[float],
    gamma: float,
    decay_epochs: float,
    min_lr: float,
    warmup_steps: int | None,
) -> Scheduler | None:
    """timm's schedulers, counted in optimizer steps; `milestones` are fractions of the run. None for a constant rate.

    `exponential` multiplies the rate by `gamma` every `decay_epochs` of the run's `epochs`. The warm-up is linear: of n
    steps, step i (from 0) has (i + 1) / (n + 1) of the rate. `warmup_steps` null: 5 % of the run.
    """
    check_warmup(warmup_steps, steps)
    if warmup_steps is None:
        warmup_steps = round(WARMUP_SHARE * steps)
    warmup: dict[str, Any] = {"warmup_t": warmup_steps, "warmup_lr_init": 0.0, "t_in_epochs": False}
    kinds: dict[str, Callable[[], Scheduler]] = {
        "poly": lambda: Poly(optimizer, t_initial=steps, power=power, lr_min=min_lr, cycle_limit=1, **warmup),
        "cosine": lambda: Cosine(optimizer, t_initial=steps, lr_min=min_lr, cycle_limit=1, **warmup),
        "step": lambda: MultiStep(
            # timm applies a milestone a step early, and counts it from the end of the warm-up
            optimizer,
            decay_t=[round(m * steps) + 1 for m in milestones],
            decay_rate=gamma,
            warmup_prefix=False,
            **warmup,
        ),
        "exponential": lambda: Step(optimizer, decay_t=decay_epochs * steps / epochs, decay_rate=gamma, **warmup),
        "constant": lambda: MultiStep(optimizer, decay_t=[], decay_rate=1.0, **warmup),
    }
    if name not in kinds:
        raise LightsegError(f"schedule.name={name}: {nearest(name, kinds)}")
    if name == "constant" and not warmup_steps:
        return None
    schedule = kinds[name]()
    schedule.step_update(0)
    return schedule


def check_warmup(warmup_steps: int | None, steps: int) -> None:
    """Raise LightsegError for a warm-up that is not shorter than the run of `steps` optimizer steps."""
    if warmup_steps is not None and warmup_steps >= steps:
        raise LightsegError(
            f"schedule.warmup_steps={warmup_steps} is not shorter than the run of {steps} optimizer steps: "
            f"give fewer, or null for {WARMUP_SHARE:.0%} of the run"
        )


class _WarmUp:
    """Without it the first step of timm's linear warm-up has a rate of 0."""

    warmup_t: int

    def _get_lr(self, t: float) -> list[float]:
        if t < self.warmup_t:
            t = (t + 1) * self.warmup_t / (self.warmup_t + 1)
        return super()._get_lr(t)  # type: ignore[misc]


class Poly(_WarmUp, PolyLRScheduler):
    pass


class Cosine(_WarmUp, CosineLRScheduler):
    pass


class MultiStep(_WarmUp, MultiStepLRScheduler):
    pass


class Step(_WarmUp, StepLRScheduler):
    pass
