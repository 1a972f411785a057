"""Model: normalise, backbone, head. The only place where a backbone meets a head; it has no training state.

`create_model` builds one; `lightseg.checkpoint.load_model` rebuilds one from a checkpoint of a run.
"""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones import Classifier, FeaturePyramid, create_backbone, create_classifier
from lightseg.backbones.supernet.supernet import create_supernet
from lightseg.backbones.weights import read_head
from lightseg.catalog.arch_yaml import format_arch, parse_arch, read_arch
from lightseg.catalog.backbones import is_arch
from lightseg.catalog.spaces import parse_space
from lightseg.errors import LightsegError, nearest
from lightseg.heads.classification import LinearHead, NativeHead
from lightseg.heads.heatmap import HeatmapHead
from lightseg.heads.lraspp import LRASPP, RASPP
from lightseg.heads.simcc import SimCCHead
from lightseg.heads.ssdlite import SSDLite
from lightseg.losses.classification import ClassificationLoss
from lightseg.losses.detection import DetectionLoss
from lightseg.losses.pose import PoseLoss
from lightseg.losses.segmentation import SegmentationLoss
from lightseg.torchvision_ssdlite import load_torchvision_ssdlite, read_detector

log = logging.getLogger(__name__)
HEADS: dict[str, dict[str, type[nn.Module]]] = {  # the first of a task is the default
    "seg": {"lraspp": LRASPP, "raspp": RASPP},
    "cls": {"native": NativeHead, "linear": LinearHead},
    "det": {"ssdlite": SSDLite},
    "pose": {"heatmap": HeatmapHead, "simcc": SimCCHead},
}
LOSSES: dict[str, type[nn.Module]] = {
    "seg": SegmentationLoss, "cls": ClassificationLoss, "det": DetectionLoss, "pose": PoseLoss,
}  # fmt: skip
OUTPUT_STRIDES = {"seg": 16, "cls": 32, "det": 32, "pose": 32}  # what the published nets of a task have


class Model(nn.Module):
    """uint8 pixels in, the head's raw outputs out.

    Attributes:
        spec: the plain values `create_model` needs to build the same model again; saved in every checkpoint.
    """

    def __init__(
        self, backbone: FeaturePyramid | Classifier, head: nn.Module, spec: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: Any = head  # has the `decode` and the `loss` of its task
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
    skeleton: Mapping[str, Any] | None = None,
    arch: str | None = None,
    space: str | None = None,
) -> Model:
    """Join a backbone with the head of a task.

    Args:
        backbone: a catalog name, any timm name, or the path of an `arch.yaml`.
        task: `seg`, `cls`, `det` or `pose`.
        num_classes: number of classes the head answers with; of keypoints, for `pose`.
        pretrained: False, True (official weights) or a weight file, for the backbone; for `det` also the file of a
            whole detector, torchvision's SSDLite, for backbone and head. Of a run's checkpoint the head is taken too
            where it is the same one, for as many classes; a log line says where it is not.
        output_stride: stride of the deepest map: 8, 16 or 32. None: the task's usual one.
        in_chans: channels of the images.
        drop_path_rate: stochastic depth of the backbone.
        pixels: what the backbone's weights want of an image, as for `create_backbone`.
        head: the head's `name` and its own options, `{"name": "lraspp", "variant": "torchvision", "filters": 128}`.
        loss: options of the task's loss.
        class_names: names of the classes or keypoints, kept with the model.
        skeleton: of `pose`, kept with the model: `edges` to draw and `pairs` of left and right, places in class_names,
            `sigmas` of OKS, which the loss takes unless it has its own.
        arch: the content of an `arch.yaml`, which goes before `backbone`: a checkpoint keeps what it needs.
        space: the content of a search space, which goes before both: the backbone is its super-network.

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
    whole_net = head_class is NativeHead
    if whole_net:
        known.add("dropout")  # the net's own
    for key in options:
        if key not in known:
            raise LightsegError(f"head {head_name} has no option '{key}': {nearest(key, sorted(known))}")
    found = parse_arch(arch, backbone) if arch else read_arch(backbone) if is_arch(backbone) and not space else None
    output_stride = output_stride or OUTPUT_STRIDES[task]
    detector = read_detector(pretrained) if task == "det" else None
    shared: dict[str, Any] = {
        "pretrained": pretrained if detector is None else False,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "pixels": pixels,
    }
    net: FeaturePyramid | Classifier
    # a variant may name what it asks of its backbone: taps, dilation, batch-norm eps
    asked = getattr(head_class, "BACKBONE_OPTIONS", {}).get(options.get("variant"), {})
    if space:
        net = _supernet(space, backbone, whole_net, asked, output_stride, shared)
    elif whole_net:
        net = create_classifier(found or backbone, num_classes, drop_rate=options.get("dropout"), **shared)
    else:
        net = create_backbone(found or backbone, output_stride=output_stride, **shared, **asked)
    own = {key: value for key, value in options.items() if not (whole_net and key == "dropout")}
    loss_options = dict(loss or {})
    if skeleton is not None and loss_options.get("sigmas") is None:
        loss_options["sigmas"] = skeleton["sigmas"]
    criterion = LOSSES[task](**loss_options)
    try:
        built = head_class(net.stages, num_classes, loss=criterion, **own)
    except (TypeError, ValueError) as error:  # a word where a number belongs
        given = ", ".join(f"{key}={value}" for key, value in {"num_classes": num_classes, **own}.items())
        raise LightsegError(f"head {head_name} cannot be built with {given}: {error}") from error
    spec = {
        "backbone": net.name,
        "task": task,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "pixels": pixels,
        "head": {"name": head_name, **options},
        "loss": loss_options,
        "class_names": class_names,
        "skeleton": None if skeleton is None else dict(skeleton),
        "arch": format_arch(found) if found else None,
        **({"space": space} if space else {}),
    }
    model = Model(net, built, spec)
    if detector is not None:
        load_torchvision_ssdlite(model, detector)
    elif isinstance(pretrained, str):
        _load_head(built, Path(pretrained))
    return model


def _load_head(head: nn.Module, path: Path) -> None:
    """The head of a run's checkpoint, which has been read for the backbone, if it is one with a head like this one."""
    state = read_head(path)
    if {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in head.state_dict().items()}:
        head.load_state_dict(state)
    elif state:
        log.warning(f"{path}: its head is another one, or for other classes, and was left out: it starts at random")


def _supernet(
    space: str, name: str, whole_net: bool, asked: Mapping[str, Any], output_stride: int, shared: Mapping[str, Any]
) -> FeaturePyramid:
    """The super-network of a space, for heads that take the last maps of a pyramid."""
    if whole_net:
        raise LightsegError("a super-network has no classifier of its own: give head.name=linear")
    taps = asked.get("taps", "last")
    if "last" not in ([taps] if isinstance(taps, str) else taps) or asked.keys() - {"taps"}:
        raise LightsegError("a super-network has no other taps, dilation or eps: leave head.variant at its default")
    for key in ("pretrained", "drop_path_rate", "pixels"):
        if shared[key]:
            raise LightsegError(f"a super-network takes no {key}: leave it out")
    return create_supernet(parse_space(space, name), output_stride=output_stride, in_chans=shared["in_chans"])
