"""Model: normalize, backbone, head. The only place where a backbone meets a head; it has no training state.

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
from lightseg.catalog.tasks import get_task, resolve
from lightseg.errors import LightsegError, nearest
from lightseg.input_contract import InputContract
from lightseg.resolve_input import resolve_input

log = logging.getLogger(__name__)


class Model(nn.Module):
    """uint8 pixels in, the head's raw outputs out.

    Attributes:
        spec: the plain values `create_model` needs to build the same model again; saved in every checkpoint.
        contract: what it wants of an image, with the names of its classes; a part of the spec.
    """

    def __init__(
        self,
        backbone: FeaturePyramid | Classifier,
        head: nn.Module,
        contract: InputContract,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: Any = head  # has the `decode` and the `loss` of its task
        self.contract = contract
        self.spec = spec or {}
        self.mean: Tensor
        self.std: Tensor
        # in 0..255 units and not saved: they belong to the contract
        self.register_buffer("mean", _per_channel(contract.mean), persistent=False)
        self.register_buffer("std", _per_channel(contract.std), persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 RGB [B, C, H, W] in 0..255 -> float32 in the channel order and statistics of the backbone's weights."""
        if images.dtype != torch.uint8:
            raise LightsegError(f"images must be uint8 in 0..255, got {images.dtype}; the model normalizes them itself")
        if self.contract.channel_order == "BGR":
            images = images.flip(1)
        return (images.float() - self.mean) / self.std

    def forward(self, images: Tensor) -> Any:
        """images: uint8 RGB [B, C, H, W], 0..255. Returns the head's raw outputs."""
        return self.head(self.backbone(self.normalize(images)), tuple(images.shape[-2:]))


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
    input_format: str | None = None,
    head: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    class_names: list[str] | None = None,
    skeleton: Mapping[str, Any] | None = None,
    input: Mapping[str, Any] | None = None,
    arch: str | None = None,
    space: str | None = None,
) -> Model:
    """Join a backbone with the head of a task.

    Args:
        backbone: a catalog name, any timm name, or the path of an `arch.yaml`.
        task: `seg`, `cls`, `det` or `pose`.
        num_classes: number of classes the head predicts; of keypoints, for `pose`.
        pretrained: False, True (official weights) or a weight file, for the backbone; for `det` also the file of a
            whole detector, torchvision's SSDLite, for backbone and head. Of a run's checkpoint the head is taken too
            where it is the same one, for as many classes; a log line says where it is not.
        output_stride: stride of the deepest map: 8, 16 or 32. None: the task's usual one.
        in_chans: channels of the images.
        drop_path_rate: stochastic depth of the backbone.
        input_format: what the backbone's weights want of an image, as for `create_backbone`.
        head: the head's `name` and its own options, `{"name": "lraspp", "variant": "torchvision", "filters": 128}`.
        loss: options of the task's loss.
        class_names: names of the classes or keypoints, kept in the model's contract.
        skeleton: of `pose`, kept in the contract: `edges` to draw and `pairs` of left and right, as indices in
            class_names, `sigmas` of OKS, which the loss takes unless it has its own.
        input: fields of `InputContract`, as a checkpoint keeps them; where it gives `mean` and `std` they go before the
            statistics that the installed timm knows.
        arch: the content of an `arch.yaml`, which goes before `backbone`: a checkpoint keeps what it needs.
        space: the content of a search space, which goes before both: the backbone is its super-network.

    Raises:
        LightsegError: unknown backbone, task, head or option; an output stride the net cannot give.
    """
    info = get_task(task)
    options = {key: value for key, value in (head or {}).items() if value is not None}  # None: the head's own default
    head_name = options.pop("name", info.default_head)
    if head_name not in info.heads:
        raise LightsegError(f"task={task} has no head named '{head_name}': {nearest(head_name, info.heads)}")
    head_info = info.heads[head_name]
    head_class = resolve(head_info.path)
    whole_net = getattr(head_class, "WHOLE_NET", False)
    known = set(inspect.signature(head_class).parameters) - {"stages", "num_classes", "loss"}
    if whole_net:
        known.add("dropout")  # the net's own
    for key in options:
        if key not in known:
            raise LightsegError(f"head {head_name} has no option '{key}': {nearest(key, sorted(known))}")
    architecture = parse_arch(arch, backbone) if arch else None
    if architecture is None and is_arch(backbone) and not space:
        architecture = read_arch(backbone)
    output_stride = output_stride or info.output_stride
    whole_weights = resolve(head_info.whole_weights) if head_info.whole_weights else None
    whole_state = whole_weights.read(pretrained) if whole_weights else None
    shared: dict[str, Any] = {
        "pretrained": pretrained if whole_state is None else False,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "input_format": input_format,
    }
    net: FeaturePyramid | Classifier
    # a variant may name what it asks of its backbone: taps, dilation, batch-norm eps
    backbone_options = getattr(head_class, "BACKBONE_OPTIONS", {}).get(options.get("variant"), {})
    if space:
        net = _supernet(space, backbone, whole_net, backbone_options, output_stride, shared)
    elif whole_net:
        net = create_classifier(architecture or backbone, num_classes, drop_rate=options.get("dropout"), **shared)
    else:
        net = create_backbone(architecture or backbone, output_stride=output_stride, **shared, **backbone_options)
    contract = _contract(net, in_chans, {**resolve_input(info, net.name), **(input or {})}, class_names, skeleton)
    head_options = {key: value for key, value in options.items() if not (whole_net and key == "dropout")}
    loss_options = dict(loss or {})
    if contract.skeleton is not None and loss_options.get("sigmas") is None:
        loss_options["sigmas"] = contract.skeleton["sigmas"]
    criterion = resolve(info.loss)(**loss_options)
    try:
        built = head_class(net.stages, num_classes, loss=criterion, **head_options)
    except (TypeError, ValueError) as error:  # a word where a number belongs
        arguments = ", ".join(f"{key}={value}" for key, value in {"num_classes": num_classes, **head_options}.items())
        raise LightsegError(f"head {head_name} cannot be built with {arguments}: {error}") from error
    spec = {
        "backbone": net.name,
        "task": task,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "input_format": input_format,
        "head": {"name": head_name, **options},
        "loss": loss_options,
        "input": contract.to_dict(),
        "arch": format_arch(architecture) if architecture else None,
        **({"space": space} if space else {}),
    }
    model = Model(net, built, contract, spec)
    if whole_weights and whole_state is not None:
        whole_weights.load(model, whole_state)
    elif isinstance(pretrained, str):
        _load_head(built, Path(pretrained))
    return model


def _contract(
    net: FeaturePyramid | Classifier,
    in_chans: int,
    values: Mapping[str, Any],
    class_names: list[str] | None,
    skeleton: Mapping[str, Any] | None,
) -> InputContract:
    """The contract of `values`, completed by what the net's weights want where they do not say it."""
    contract = InputContract.from_dict({**values, "channels": in_chans}, net.name)
    if len(contract.mean) != in_chans or len(contract.std) != in_chans:
        wanted = net.input_format
        contract = contract.replace(mean=wanted.mean, std=wanted.std, channel_order="BGR" if wanted.bgr else "RGB")
    if class_names is not None:
        contract = contract.replace(class_names=tuple(str(name) for name in class_names))
    if skeleton is not None:
        contract = contract.replace(skeleton=dict(skeleton))
    return contract


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
    for key in ("pretrained", "drop_path_rate", "input_format"):
        if shared[key]:
            raise LightsegError(f"a super-network takes no {key}: leave it out")
    return create_supernet(parse_space(space, name), output_stride=output_stride, in_chans=shared["in_chans"])
