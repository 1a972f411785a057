"""Model: normalise, backbone, head. The only place where a backbone meets a head; it has no training state.

`create_model` builds one; `load_model` rebuilds one from a checkpoint of a run, without Lightning and without
unpickling anything but tensors and plain values.
"""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones import FeaturePyramid, create_backbone
from lightseg.backbones.weights import match_in_order, read_state
from lightseg.errors import LightsegError, nearest
from lightseg.heads.default_boxes import BOXES_PER_PLACE
from lightseg.heads.detection_loss import DetectionLoss
from lightseg.heads.lraspp import LRASPP, RASPP
from lightseg.heads.segmentation_loss import SegmentationLoss
from lightseg.heads.ssdlite import SSDLite

HEADS: dict[str, dict[str, type[nn.Module]]] = {  # the first of a task is its default
    "seg": {"lraspp": LRASPP, "raspp": RASPP},
    "det": {"ssdlite": SSDLite},
}
LOSSES: dict[str, type[nn.Module]] = {"seg": SegmentationLoss, "det": DetectionLoss}
OUTPUT_STRIDES = {"seg": 16, "det": 32}  # what the published nets of a task have
log = logging.getLogger(__name__)


class Model(nn.Module):
    """uint8 pixels in, the head's raw outputs out.

    Attributes:
        spec: the plain values `create_model` needs to build the same model again; saved in every checkpoint.
    """

    def __init__(self, backbone: FeaturePyramid, head: nn.Module, spec: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.spec = spec or {}
        # in 0..255 units and not saved: they belong to the backbone's name and to `pixels` in the spec
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", _per_channel(backbone.pixels.mean), persistent=False)
        self.register_buffer("std", _per_channel(backbone.pixels.std), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB [B, C, H, W] in 0..255 -> float32 in the channel order and statistics of the backbone's weights."""
        if images.dtype != torch.uint8:
            raise LightsegError(f"images must be uint8 in 0..255, got {images.dtype}; the model normalises them itself")
        if self.backbone.pixels.bgr:
            images = images.flip(1)
        return (images.float() - self.mean) / self.std

    def forward(self, images: Tensor) -> Any:
        """images: uint8 RGB [B, C, H, W], 0..255. Returns the head's raw outputs."""
        return self.head(self.backbone(self.normalise(images)), tuple(images.shape[-2:]))


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).mul(255).view(1, -1, 1, 1)


def create_model(
    backbone: str,
    task: str,
    num_classes: int,
    *,
    pretrained: bool | str = False,
    output_stride: int | None = None,
    in_chans: int = 3,
    drop_path_rate: float = 0.0,
    pixels: str | None = None,
    head: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    class_names: list[str] | None = None,
) -> Model:
    """Join a backbone with the head of a task.

    Args:
        backbone: a catalog name, any timm name, or a searched architecture's path.
        task: `seg` or `det`.
        num_classes: number of classes the head answers with.
        pretrained: False, True (official weights) or a weight file, for the backbone; for `det` also the file of a
            whole detector, torchvision's SSDLite, for backbone and head (`load_torchvision_ssdlite`).
        output_stride: stride of the deepest map: 8, 16 or 32. None: the task's usual one.
        in_chans: channels of the images.
        drop_path_rate: stochastic depth of the backbone.
        pixels: what the backbone's weights want of an image, as for `create_backbone`.
        head: the head's `name` and its own options, `{"name": "lraspp", "variant": "torchvision", "filters": 128}`.
        loss: options of the task's loss.
        class_names: names of the classes, kept with the model.

    Raises:
        LightsegError: unknown backbone, task, head or option; an output stride the net cannot give.
    """
    if task not in HEADS:
        raise LightsegError(f"no task named '{task}': {nearest(task, HEADS)}")
    options = {key: value for key, value in (head or {}).items() if value is not None}  # None: the head's own default
    head_name = options.pop("name", next(iter(HEADS[task])))
    if head_name not in HEADS[task]:
        raise LightsegError(f"task={task} has no head named '{head_name}': {nearest(head_name, HEADS[task])}")
    head_class = HEADS[task][head_name]
    known = set(inspect.signature(head_class).parameters) - {"stages", "num_classes", "loss"}
    for key in options:
        if key not in known:
            raise LightsegError(f"head {head_name} has no option '{key}': {nearest(key, sorted(known))}")
    output_stride = output_stride or OUTPUT_STRIDES[task]
    detector = _whole_detector(pretrained) if task == "det" else None
    pyramid = _pyramid(
        backbone,
        # a variant may name what it asks of its backbone: taps, dilation, batch-norm eps
        getattr(head_class, "BACKBONE_OPTIONS", {}).get(options.get("variant"), {}),
        pretrained=pretrained if detector is None else False,
        output_stride=output_stride,
        in_chans=in_chans,
        drop_path_rate=drop_path_rate,
        pixels=pixels,
    )
    built = head_class(pyramid.stages, num_classes, loss=LOSSES[task](**dict(loss or {})), **options)
    spec = {
        "backbone": pyramid.name,
        "task": task,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "pixels": pixels,
        "head": {"name": head_name, **options},
        "loss": dict(loss or {}),
        "class_names": class_names,
    }
    model = Model(pyramid, built, spec)
    if detector is not None:
        load_torchvision_ssdlite(model, detector)
    return model


def _pyramid(name: str, asked: Mapping[str, Any], **options: Any) -> FeaturePyramid:
    """The backbone as a head asks for it. Of several taps it is the first that the net can give; what is wrong besides
    is wrong with the last of them too."""
    taps = asked.get("taps", "last")
    *preferred, last = [taps] if isinstance(taps, str) else taps
    for choice in preferred:
        try:
            return create_backbone(name, **{**options, **asked, "taps": choice})
        except LightsegError:
            continue
    return create_backbone(name, **{**options, **asked, "taps": last})


def _whole_detector(pretrained: bool | str) -> dict[str, Tensor] | None:
    """The state dict of torchvision's SSDLite, if that is what the file holds."""
    if isinstance(pretrained, bool) or not pretrained:
        return None
    state = read_state(Path(pretrained))
    return state if "head.classification_head.module_list.0.1.bias" in state else None


def load_torchvision_ssdlite(model: Model, state: Mapping[str, Tensor]) -> None:
    """Load the state dict of torchvision's `ssdlite320_mobilenet_v3_large` (classes counted with the background) into a
    detector on `mobilenetv3_large_reduced`, or on `mobilenetv3_large` where torchvision's began with ImageNet weights.

    Both list their tensors in the same order. With another number of classes the predictors start at random: backbone
    and extra blocks are loaded, and a log line says so.

    Raises:
        LightsegError: the weights are of another net.
    """
    classes = state["head.classification_head.module_list.0.1.bias"].numel() // BOXES_PER_PLACE - 1
    target = model.state_dict()
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
    if any(value != 0.5 for value in (*model.backbone.mean, *model.backbone.std)):
        log.warning(
            f"torchvision's SSDLite was trained on pixels with mean and std 0.5, {model.backbone.name} normalises "
            "otherwise: the weights are a start, their published accuracy is not to be had"
        )
    model.load_state_dict({**model.state_dict(), **loaded})


def load_model(checkpoint: str | Path) -> Model:
    """The model of a run's checkpoint (`.../checkpoints/best.ckpt`), in evaluation mode on the CPU.

    With an exponential moving average the averaged weights are the ones loaded. A file that holds anything but tensors
    and plain values is refused, never run.

    Raises:
        LightsegError: no such file, not a checkpoint of lightseg, damaged, or holding code.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise LightsegError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # every way a foreign or damaged file can fail: one line for all
        raise LightsegError(f"{path} is not a checkpoint that can be read safely ({type(error).__name__})") from error
    spec = content.get("hyper_parameters", {}).get("model") if isinstance(content, dict) else None
    if not isinstance(spec, dict) or "state_dict" not in content:
        raise LightsegError(f"{path} is not a checkpoint of a lightseg run (it names no model)")
    model = create_model(**spec)
    prefix = "model."
    state = {key.removeprefix(prefix): value for key, value in content["state_dict"].items() if key.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise LightsegError(f"{path} does not fit the model that it names: {' '.join(first).strip()}") from error
    return model.eval()
