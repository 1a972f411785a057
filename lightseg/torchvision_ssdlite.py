"""Official weights of torchvision's SSDLite, with backbone and head in a single file."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones.weights import match_in_order, read_state
from lightseg.errors import LightsegError
from lightseg.heads.default_boxes import BOXES_PER_CELL

log = logging.getLogger(__name__)
CLASS_BIAS = "head.classification_head.module_list.0.1.bias"
CLASS_PREDICTORS = "head.classification_head.module_list."
# ids of COCO's 80 categories: torchvision's detectors predict the id, lightseg's the index in this list
COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def read(pretrained: bool | str) -> dict[str, Tensor] | None:
    """The state dict of torchvision's SSDLite. None for any other file."""
    if isinstance(pretrained, bool) or not pretrained:
        return None
    state = read_state(Path(pretrained))
    return state if CLASS_BIAS in state else None


def load(model: Any, state: Mapping[str, Tensor]) -> None:
    """Load the state dict of torchvision's `ssdlite320_mobilenet_v3_large` (whose classes include the background).

    The detector's backbone is `mobilenetv3_large_reduced`, or `mobilenetv3_large` for weights of torchvision that
    started from ImageNet. Both list their tensors in the same order. For 80 classes, the weights of COCO's 80
    categories are selected from those of its 90 ids. For another number of classes, only backbone and extra blocks are
    loaded, the predictors start at random, and a warning is logged.

    Raises:
        LightsegError: the weights belong to another net.
    """
    classes = state[CLASS_BIAS].numel() // BOXES_PER_CELL - 1
    target = model.state_dict()
    if (classes, model.head.num_classes) == (90, 80):
        state, classes = only_categories(state), 80
    if classes != model.head.num_classes:
        log.warning(
            f"the detector's weights know {classes} classes and the data has {model.head.num_classes}: backbone and "
            "extra blocks are loaded, the predictors start at random"
        )
        target = {key: value for key, value in target.items() if "_predictors." not in key}
    try:
        loaded = match_in_order(state, target)
    except LightsegError as error:
        name = model.spec.get("backbone", "this net")
        raise LightsegError(f"the weights of torchvision's SSDLite do not fit a detector on {name}: {error}") from error
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    if any(norm.eps != 1e-3 for norm in norms):
        log.warning("torchvision's SSDLite was trained with batch norm eps 1e-3: give head.variant=torchvision")
    if any(value != 0.5 for value in (*model.contract.mean, *model.contract.std)):
        log.warning(
            f"torchvision's SSDLite was trained on pixels with mean and std 0.5, {model.backbone.name} normalizes "
            "differently: the published accuracy cannot be reached without training"
        )
    model.load_state_dict({**model.state_dict(), **loaded})


def only_categories(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a detector for ids 0 (background) to 90, reduced to the background and COCO's 80 categories."""
    kept = torch.tensor([0, *COCO_IDS])
    chosen = dict(state)
    for key, value in state.items():
        if key.startswith(CLASS_PREDICTORS) and value.ndim and len(value) == BOXES_PER_CELL * 91:
            chosen[key] = value.unflatten(0, (BOXES_PER_CELL, 91))[:, kept].flatten(0, 1)
    return chosen
