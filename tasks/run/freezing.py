"""Parts of the model that are not trained: for the first epochs, or for the whole run.

The weights of a frozen part get no gradient step and no weight decay, and its batch norm keeps its statistics.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightseg.backbones import Classifier, FeaturePyramid
from lightseg.backbones.create import probe_size
from lightseg.config.freeze import read_freeze
from lightseg.errors import LightsegError, nearest
from lightseg.model import Model


class Freezing:
    """The frozen parts of a model.

    Args:
        freeze: the key `freeze` of the configuration: part -> epochs, or true for the whole run. A part is `backbone`,
            `head`, `stage1` to `stageN` (what the first feature maps of the backbone are computed with), or the name of
            a module (`backbone.net.blocks.0`).
        freeze_bn: freeze the batch norm of the backbone for the whole run.

    Raises:
        LightsegError: the model has no such part, or nothing is left to train.
    """

    def __init__(self, model: Model, freeze: Any, freeze_bn: bool) -> None:
        self.epochs = read_freeze(freeze)
        self.parts = {part: list(_tensors(model, part)) for part in self.epochs}
        self.norms = {part: list(_norms(model, parameters)) for part, parameters in self.parts.items()}
        if freeze_bn:
            part = "the backbone's batch norm"
            layers = [layer for layer in model.backbone.modules() if isinstance(layer, _BatchNorm)]
            self.epochs[part], self.norms[part] = None, layers
            self.parts[part] = [parameter for layer in layers for parameter in layer.parameters()]
        for part, count in self.epochs.items():
            if count is None:  # before an optimizer or DistributedDataParallel takes those that require gradients
                for parameter in self.parts[part]:
                    parameter.requires_grad_(False)
        first = {id(parameter) for part in self.frozen_parts(0) for parameter in self.parts[part]}
        if all(id(parameter) in first for parameter in model.parameters()):
            raise LightsegError(f"freeze={freeze} leaves nothing to train in the first epoch: leave a part out")

    def frozen_parts(self, epoch: int) -> list[str]:
        """epoch: from 0."""
        return [part for part, count in self.epochs.items() if count is None or epoch < count]

    def ends_at(self, epoch: int) -> list[str]:
        """The parts that are trained from this epoch on."""
        return [part for part, count in self.epochs.items() if count == epoch]

    def set_norms(self, epoch: int) -> None:
        """Evaluation mode for frozen batch norm, training mode for those that are trained again."""
        frozen = {id(layer) for part in self.frozen_parts(epoch) for layer in self.norms[part]}
        for layer in (layer for layers in self.norms.values() for layer in layers):
            layer.train(id(layer) not in frozen)

    def drop_gradients(self, epoch: int) -> None:
        """An optimizer leaves out what has no gradient. The gradients are computed all the same, because
        DistributedDataParallel waits for those of all parameters that it was given."""
        for part in self.frozen_parts(epoch) if self.epochs else ():
            for parameter in self.parts[part]:
                parameter.grad = None


def _tensors(model: Model, part: str) -> Iterator[nn.Parameter]:
    classifier: Any = model.backbone.net if isinstance(model.backbone, Classifier) else None
    head: nn.Module = classifier.get_classifier() if classifier is not None else model.head
    own = {id(parameter) for parameter in head.parameters()}
    if part == "head":
        yield from head.parameters()
    elif part == "backbone":  # without the last layer of a classifier, which is its head
        yield from (parameter for parameter in model.backbone.parameters() if id(parameter) not in own)
    elif part.removeprefix("stage").isdigit():
        yield from _stage(model.backbone, part)
    else:
        yield from _module(model, part).parameters()


def _stage(backbone: nn.Module, part: str) -> Iterator[nn.Parameter]:
    """The parameters that a feature map depends on."""
    number, count = int(part.removeprefix("stage")), len(backbone.stages)  # type: ignore[arg-type]
    if not isinstance(backbone, FeaturePyramid) or not 1 <= number <= count:
        choices = f"stage1 to stage{count}" if isinstance(backbone, FeaturePyramid) else "a module's name"
        raise LightsegError(f"freeze={part}: backbone={backbone.name} has no such stage: give {choices}")
    net: Any = backbone.net
    was_training = [(module, module.training) for module in backbone.modules()]
    parameters = list(backbone.parameters())
    weight = parameters[0]
    backbone.eval()
    with torch.enable_grad():
        images = torch.zeros(1, len(backbone.mean), *probe_size(net, backbone.name), device=weight.device)
        feature_map = backbone(images)[number - 1]
        gradients = torch.autograd.grad(feature_map.sum(), parameters, allow_unused=True)
    for module, training in was_training:
        module.training = training
    yield from (parameter for parameter, grad in zip(parameters, gradients, strict=True) if grad is not None)


def _module(model: Model, part: str) -> nn.Module:
    names = dict(model.named_modules())
    if part not in names or not any(True for _ in names[part].parameters()):
        choices = ["backbone", "head", *(name for name in names if name)]
        raise LightsegError(f"freeze={part}: the model has no part of that name with weights: {nearest(part, choices)}")
    return names[part]


def _norms(model: Model, parameters: Iterable[nn.Parameter]) -> Iterator[_BatchNorm]:
    """The batch-norm layers whose weights are among the parameters."""
    chosen = {id(parameter) for parameter in parameters}
    for layer in model.modules():
        if isinstance(layer, _BatchNorm) and any(id(parameter) in chosen for parameter in layer.parameters()):
            yield layer
