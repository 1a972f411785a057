"""Dropout and stochastic depth of a built model, which progressive learning changes with the phase."""

from collections.abc import Mapping

from timm.layers import DropPath
from torch import nn

from lightseg.backbones import Classifier
from lightseg.errors import LightsegError
from lightseg.model import Model

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def check_dropout(model: Model, values: Mapping[str, object]) -> None:
    """Raise LightsegError where `dropout` is scheduled and the model has none. values: of the phases, by name."""
    has = isinstance(model.backbone, Classifier) or any(isinstance(module, DROPOUTS) for module in model.modules())
    if "dropout" in values and not has:
        name = f"{model.spec['backbone']} with head.name={model.spec['head']['name']}"
        raise LightsegError(f"schedule.dropout: {name} has no dropout: leave it out")


def set_regularization(model: nn.Module, values: Mapping[str, float], built_with: float) -> None:
    """Set the rates of a phase.

    Args:
        values: may have `dropout` and `drop_path`.
        built_with: the rate of stochastic depth with which the model was built.
    """
    if "dropout" in values:
        set_dropout(model, values["dropout"])
    if "drop_path" in values:
        set_drop_path(model, values["drop_path"], built_with)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the dropout rate of heads and timm's nets, which have a module or a number `drop_rate`."""
    for module in model.modules():
        if isinstance(module, DROPOUTS):
            module.p = rate
        elif isinstance(getattr(module, "drop_rate", None), float):
            module.drop_rate = rate  # type: ignore[assignment]


def set_drop_path(model: nn.Module, rate: float, built_with: float) -> None:
    """Set stochastic depth to `rate` in the deepest block. The rates of all blocks are scaled alike.

    built_with: the rate with which the model was built.
    """
    for module in model.modules():
        if isinstance(module, DropPath):
            if not hasattr(module, "built_with"):
                module.built_with = module.drop_prob  # type: ignore[assignment]
            module.drop_prob = float(module.built_with) * rate / built_with if built_with else 0.0  # type: ignore[arg-type]
