"""Official weights of a whole detector: torchvision's SSDLite, backbone and head in one file."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones.weights import match_in_order, read_state
from lightseg.errors import LightsegError
from lightseg.heads.default_boxes import BOXES_PER_PLACE

log = logging.getLogger(__name__)
CLASS_BIAS = "head.classification_head.module_list.0.1.bias"
CLASS_PREDICTORS = "head.classification_head.module_list."
# COCO's 80 categories have ids up to 90; torchvision's detectors answer with the id, ours with the place among the 80.
COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def read(pretrained: bool | str) -> dict[str, Tensor] | None:
    """The state dict of torchvision's SSDLite, if that is what the file holds."""
    if isinstance(pretrained, bool) or not pretrained:
        return None
    state = read_state(Path(pretrained))
    return state if CLASS_BIAS in state else None


def load(model: Any, state: Mapping[str, Tensor]) -> None:
    """Load the state dict of torchvision's `ssdlite320_mobilenet_v3_large` (classes counted with the background) into a
    detector on `mobilenetv3_large_reduced`, or on `mobilenetv3_large` where torchvision's began with ImageNet weights.

    Both list their tensors in the same order. Of weights for COCO's 90 ids a detector of 80 classes takes those of the
    80 categories. With another number of classes the predictors start at random: backbone and extra blocks are loaded,
    and a log line says so.

    Raises:
        LightsegError: the weights are of another net.
    """
    classes = state[CLASS_BIAS].numel() // BOXES_PER_PLACE - 1
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
            f"torchvision's SSDLite was trained on pixels with mean and std 0.5, {model.backbone.name} normalises "
            "otherwise: the weights are a start, their published accuracy is not to be had"
        )
    model.load_state_dict({**model.state_dict(), **loaded})


def only_categories(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a detector for ids 0 (background) to 90 as one for the background and COCO's 80 categories."""
    kept = torch.tensor([0, *COCO_IDS])
    chosen = dict(state)
    for key, value in state.items():
        if key.startswith(CLASS_PREDICTORS) and value.ndim and len(value) == BOXES_PER_PLACE * 91:
            chosen[key] = value.unflatten(0, (BOXES_PER_PLACE, 91))[:, kept].flatten(0, 1)
    return chosen
