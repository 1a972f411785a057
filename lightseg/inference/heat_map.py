"""Which parts of an image a prediction rests on: a heat map of the evidence for a class.

HiResCAM (Draelos and Carin, arXiv:2011.08891, section 3): the gradient of a class's score by a feature map, times the
map, summed over its channels. With average pooling and a linear layer it equals Grad-CAM (Selvaraju et al.,
arXiv:1610.02391). Grad-CAM averages the gradients over the map first, which spreads the score of a box or keypoint,
resting on a few cells, over the image.

By default the evidence is that of all maps that the head reads: SSDLite sees small objects, and a decoder of keypoints
sees edges, in other maps than the deepest. Their sum is in cells of `CELL` pixels, each with its share of the score.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightseg.backbones import Classifier
from lightseg.errors import LightsegError
from lightseg.input_contract import Size
from lightseg.model import Model
from lightseg.task_specs import TaskSpec

CELL = 16  # pixels of the network's input


def heat_map(
    model: Model, task: TaskSpec, image: np.ndarray, label: int | None, *, stage: int | None = None, score: float = 0.3
) -> tuple[np.ndarray | None, Any]:
    """The evidence for a class in an image, and the image's prediction.

    Args:
        model: in evaluation mode.
        image: the network's input, uint8 [h, w, 3].
        label: index of the class or keypoint. None: of everything that is predicted.
        stage: the backbone's feature map, from 1, shallow to deep; later maps count through it. None: all that the head
            reads.
        score: minimum score of the boxes that count.

    Returns:
        The heat float32 [h, w], 0 to 1 at its maximum, or None where nothing of the class is predicted; and the
        prediction as `TaskSpec.predict`, in pixels of the input.

    Raises:
        LightsegError: the backbone has no such stage or no maps, or the task cannot be explained.
    """
    stages = len(model.backbone.stages)
    if stage is not None and not 1 <= stage <= stages:
        have = f"stages 1 to {stages}" if stages > 1 else "stage 1 alone before its own classifier"
        raise LightsegError(f"--explain-layer {stage}: {model.backbone.name} has {have}: give one, or leave it out")
    size = (image.shape[0], image.shape[1])
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(model.mean.device)
    with torch.enable_grad():
        maps, outputs = _run(model, model.normalize(pixels), size, stage)
        total = task.explained_score(model.head, outputs, size, label, score)
        gradients = None if total is None else torch.autograd.grad(total, maps, allow_unused=True)
    with torch.no_grad():
        (prediction,) = task.predict(model.head, _detached(outputs), size, [size])
        if gradients is None:
            return None, prediction
        pairs = [(m.detach().float(), g.float()) for m, g in zip(maps, gradients, strict=True) if g is not None]
        if _channels_last(model):
            pairs = [(m.permute(0, 3, 1, 2), g.permute(0, 3, 1, 2)) for m, g in pairs]
        return _heat(pairs, size, stage is not None), prediction


def _run(model: Model, x: Tensor, size: Size, stage: int | None) -> tuple[list[Tensor], Any]:
    """The feature maps to differentiate by, and the head's raw outputs."""
    features, finish = _parts(model)
    if stage is None:  # only the head's part of the graph
        with torch.no_grad():
            computed = features(x)
        maps = [m.detach().requires_grad_() for m in computed]
    else:
        maps = features(x.requires_grad_())
    if any(m.ndim != 4 for m in maps):
        raise LightsegError(f"--explain: {model.backbone.name} has no feature maps: take a net of convolutions")
    outputs = model.head(finish([m.clone() for m in maps]), size)  # clones: a layer may work in place
    return maps if stage is None else [maps[stage - 1]], outputs


def _parts(model: Model) -> tuple[Callable[[Tensor], list[Tensor]], Callable[[list[Tensor]], list[Tensor]]]:
    """The net up to its maps, as its layers pass them on, and from the maps to what the head takes."""
    net: Any = model.backbone.net
    if isinstance(model.backbone, Classifier):  # timm's: the last map, and the published classifier on it
        return lambda x: [net.forward_features(x)], lambda maps: [net.forward_head(maps[0])]
    if _channels_last(model):
        return lambda x: list(net(x)), lambda maps: [m.permute(0, 3, 1, 2) for m in maps]
    return model.backbone, lambda maps: maps


def _channels_last(model: Model) -> bool:
    """Whether the net's maps are [B, h, w, C], as those of timm's Swin."""
    return getattr(model.backbone.net, "output_fmt", "NCHW") == "NHWC"


def _heat(pairs: list[tuple[Tensor, Tensor]], size: Size, own_cells: bool) -> np.ndarray:
    """(map, gradient) pairs [1, C, h, w] -> heat [H, W]."""
    grid = (-(-size[0] // CELL), -(-size[1] // CELL))
    total = torch.zeros((), device=pairs[0][0].device)
    for values, gradient in pairs:
        share = (values * gradient).sum(1, keepdim=True) * (values.shape[2] * values.shape[3])  # a share of area
        if not own_cells:
            coarser = values.shape[2] >= grid[0] and values.shape[3] >= grid[1]
            share = F.interpolate(share, grid, mode="area") if coarser else _smooth(share, grid)
        total = total + share
    heat = _smooth(total.clamp(min=0), size)[0, 0]
    return (heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)).cpu().numpy()


def _smooth(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _detached(outputs: Any) -> Any:
    return {k: v.detach() for k, v in outputs.items()} if isinstance(outputs, dict) else outputs.detach()
