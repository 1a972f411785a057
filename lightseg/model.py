"""Model: normalize, backbone, head. The only module that joins a backbone with a head. It has no training state.

`create_model` builds one; `lightseg.checkpoint.load_model` rebuilds one from a checkpoint of a run.
"""

import copy
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightseg.backbones import Classifier, FeaturePyramid, create_backbone, create_classifier
from lightseg.backbones.reparameterize import fused, is_reparameterizable
from lightseg.backbones.supernet.supernet import create_supernet
from lightseg.backbones.weights import read_head
from lightseg.catalog.arch_yaml import format_arch, parse_arch, read_arch
from lightseg.catalog.backbones import is_arch, is_hub
from lightseg.catalog.spaces import parse_space
from lightseg.catalog.tasks import get_task, resolve
from lightseg.errors import LightsegError, nearest
from lightseg.input_contract import InputContract
from lightseg.resolve_input import resolve_input

log = logging.getLogger(__name__)


class Model(nn.Module):
    """Images in, the head's raw outputs out. Images are uint8 RGB in 0..255 unless the contract says otherwise.

    Attributes:
        spec: the arguments of `create_model` that build the same model again, as plain values. Saved in checkpoints.
        contract: the input contract, with class names. It is part of the spec.
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
        # in units of the pixel values; not saved, because they belong to the contract
        low, high = contract.value_range
        self.register_buffer("mean", _per_channel(contract.mean, high - low, low), persistent=False)
        self.register_buffer("std", _per_channel(contract.std, high - low), persistent=False)
        self.dtype = getattr(torch, contract.dtype)
        self.limits = None if (self.dtype, low, high) == (torch.uint8, 0, 255) else (float(low), float(high))

    def normalize(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] of the contract's type -> float32 in the channel order and statistics of the backbone's
        weights. Values beyond the contract's range are clipped to it."""
        if images.dtype != self.dtype:
            low, high = self.contract.value_range
            raise LightsegError(
                f"images must be {self.contract.dtype} in {low:g}..{high:g}, got {images.dtype}; the model normalizes "
                "them itself"
            )
        if images.shape[1] != (channels := self.contract.channels):
            raise LightsegError(f"images must have {channels} channels, got {images.shape[1]}: give [B, C, H, W]")
        if self.contract.channel_order == "BGR":
            images = images.flip(1)
        values = images.float()
        if self.limits is not None:
            values = values.clamp(*self.limits)
        return (values - self.mean) / self.std

    def blank(self, batch: int, height: int, width: int, device: Any = None) -> Tensor:
        """Images of zeros, [batch, C, height, width], as the model takes them."""
        return torch.zeros((batch, self.contract.channels, height, width), dtype=self.dtype, device=device)

    def forward(self, images: Tensor, *, training_outputs: bool = False) -> Any:
        """images: [B, C, H, W] as in the contract, usually uint8 RGB in 0..255. Returns the head's raw outputs.

        training_outputs: with what only the loss needs, from heads that have a `training_outputs`.
        """
        size = self.backbone.fixed_size
        if size is not None and tuple(images.shape[-2:]) != size:
            raise LightsegError(
                f"{self.backbone.name} was built for images of {size[0]}x{size[1]} and takes no others, not "
                f"{images.shape[-2]}x{images.shape[-1]}: give images of that size, or another backbone"
            )
        head = self.head
        if training_outputs:
            head = getattr(head, "training_outputs", head)
        return head(self.backbone(self.normalize(images)), tuple(images.shape[-2:]))

    def deployed(self) -> "Model":
        """The model as it runs after training: a copy in evaluation mode with the branches of its backbone fused and
        without the head's `auxiliary` layers, which has equal outputs and is smaller. The model itself where it has
        neither."""
        if self.spec.get("deployed"):
            return self
        backbone = fused(self.backbone) if is_reparameterizable(self.backbone) else self.backbone
        auxiliary = getattr(self.head, "auxiliary", None) is not None
        if backbone is self.backbone and not auxiliary:
            return self
        head = copy.deepcopy(self.head)
        if auxiliary:
            head.auxiliary = None
        if backbone is self.backbone:
            backbone = copy.deepcopy(backbone)
        spec = {**self.spec, "deployed": True}
        return Model(backbone, head, self.contract, spec).eval().to(self.mean.device)


def _per_channel(values: tuple[float, ...], scale: float, offset: float = 0.0) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).mul(scale).add(offset).view(1, -1, 1, 1)


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
    deployed: bool = False,
) -> Model:
    """Join a backbone with the head of a task.

    Args:
        backbone: a catalog name, any timm name, or the path of an `arch.yaml`.
        task: `seg`, `cls`, `det` or `pose`.
        num_classes: number of classes that the head predicts, or of keypoints for `pose`.
        pretrained: weights of the backbone: False, True (official weights) or a weight file. For `det` the file may
            also be torchvision's SSDLite, for backbone and head. A run's checkpoint also gives the head's weights if
            head and number of classes are the same; otherwise a warning is logged.
        output_stride: stride of the deepest feature map: 8, 16 or 32, or 64 for nets that have it. None: the
            head's or the task's default, or the next larger stride that the net can have.
        in_chans: channels of the images.
        drop_path_rate: stochastic depth of the backbone.
        input_format: channel order and range that the backbone's weights expect, as for `create_backbone`.
        head: the head's `name` and options, `{"name": "lraspp", "variant": "torchvision", "filters": 128}`.
        loss: options of the task's loss.
        class_names: names of the classes or keypoints, kept in the model's contract.
        skeleton: for `pose`, kept in the contract: `edges` to draw, `pairs` of left and right keypoints (both as
            indices in class_names), and `sigmas` of OKS, which the loss uses unless `loss` has sigmas.
        input: fields of `InputContract`, as in a checkpoint. Its `mean` and `std` take precedence over the statistics
            of the installed timm.
        arch: the content of an `arch.yaml`, used instead of the file `backbone`. Checkpoints contain it.
        space: the content of a search space. The backbone is then its super-network.
        deployed: the form of `Model.deployed`, which compressed files hold and which cannot train.

    Raises:
        LightsegError: an unknown backbone, task, head or option, or an output stride that the net does not support.
    """
    info = get_task(task)
    options = {key: value for key, value in (head or {}).items() if value is not None}  # None: the head's default
    head_name = options.pop("name", info.default_head)
    if head_name not in info.heads:
        raise LightsegError(f"task={task} has no head named '{head_name}': {nearest(head_name, info.heads)}")
    head_info = info.heads[head_name]
    head_class = resolve(head_info.path)
    is_classifier_head = getattr(head_class, "NATIVE_CLASSIFIER", False)
    accepted = set(inspect.signature(head_class).parameters) - {"stages", "num_classes", "loss"}
    if is_classifier_head:
        accepted.add("dropout")  # of the net's classifier
    for key in options:
        if key not in accepted:
            raise LightsegError(f"head {head_name} has no option '{key}': {nearest(key, sorted(accepted))}")
    architecture = parse_arch(arch, backbone) if arch else None
    if architecture is None and is_arch(backbone) and not space:
        architecture = read_arch(backbone)
    any_stride, output_stride = output_stride is None, output_stride or head_info.output_stride or info.output_stride
    full_weights = resolve(head_info.full_weights) if head_info.full_weights else None
    full_state = full_weights.read(pretrained) if full_weights else None
    shared: dict[str, Any] = {
        "pretrained": pretrained if full_state is None else False,
        "in_chans": in_chans,
        "drop_path_rate": drop_path_rate,
        "input_format": input_format,
        "image_size": _image_size(input or {}),
    }
    net: FeaturePyramid | Classifier
    # a variant may need options of its backbone: taps, dilation, batch-norm eps
    backbone_options = getattr(head_class, "BACKBONE_OPTIONS", {}).get(options.get("variant"), {})
    if space:
        net = _supernet(space, backbone, is_classifier_head, backbone_options, output_stride, shared)
    elif is_classifier_head:
        net = create_classifier(architecture or backbone, num_classes, drop_rate=options.get("dropout"), **shared)
    else:
        net = create_backbone(
            architecture or backbone, output_stride=output_stride, any_stride=any_stride, **shared, **backbone_options
        )
        output_stride = max(output_stride, net.output_stride)
    contract = _contract(
        net,
        in_chans,
        {**resolve_input(info, backbone if is_hub(backbone) else net.name), **(input or {})},
        class_names,
        skeleton,
    )
    head_options = {key: value for key, value in options.items() if not (is_classifier_head and key == "dropout")}
    loss_options = dict(loss or {})
    if contract.skeleton is not None and loss_options.get("sigmas") is None:
        loss_options["sigmas"] = contract.skeleton["sigmas"]
    criterion = resolve(info.loss)(**loss_options)
    try:
        built = head_class(net.stages, num_classes, loss=criterion, **head_options)
    except (TypeError, ValueError) as error:  # a text where a number is needed
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
    if full_weights and full_state is not None:
        full_weights.load(model, full_state)
    elif isinstance(pretrained, str):
        _load_head(built, Path(pretrained))
    return model.deployed() if deployed else model


def _image_size(contract: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of the images: that of evaluation, otherwise the largest of training; None: not known."""
    size = contract.get("size") or contract.get("train_size")
    return InputContract.from_dict({"size": size}).size if size else None


def _contract(
    net: FeaturePyramid | Classifier,
    in_chans: int,
    values: Mapping[str, Any],
    class_names: list[str] | None,
    skeleton: Mapping[str, Any] | None,
) -> InputContract:
    """The contract of `values`, with missing statistics from the net's weights."""
    contract = InputContract.from_dict({**values, "channels": in_chans}, net.name)
    if len(contract.mean) != in_chans or len(contract.std) != in_chans:
        expected = net.input_format
        contract = contract.replace(
            mean=expected.mean, std=expected.std, channel_order="BGR" if expected.bgr else "RGB"
        )
    if class_names is not None:
        contract = contract.replace(class_names=tuple(str(name) for name in class_names))
    if skeleton is not None:
        contract = contract.replace(skeleton=dict(skeleton))
    return contract


def _load_head(head: nn.Module, path: Path) -> None:
    """Load the head's weights from a run's checkpoint if its head has the same tensors, otherwise log a warning."""
    state = read_head(path)
    if {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in head.state_dict().items()}:
        head.load_state_dict(state)
    elif state:
        log.warning(f"{path}: its head differs or is for other classes and was not loaded: the head starts at random")


def _supernet(
    space: str,
    name: str,
    is_classifier_head: bool,
    options: Mapping[str, Any],
    output_stride: int,
    shared: Mapping[str, Any],
) -> FeaturePyramid:
    """The super-network of a space, for heads on the feature pyramid. options: the head's options for its backbone."""
    if is_classifier_head:
        raise LightsegError("a super-network has no classifier: give head.name=linear")
    taps = options.get("taps", "last")
    # it has no tail: its projection is its last map
    if {"last", "projection"}.isdisjoint([taps] if isinstance(taps, str) else taps) or options.keys() - {"taps"}:
        raise LightsegError("a super-network has fixed taps, dilation and eps: leave head.variant at its default")
    for key in ("pretrained", "drop_path_rate", "input_format"):
        if shared[key]:
            raise LightsegError(f"a super-network takes no {key}: leave it out")
    return create_supernet(parse_space(space, name), output_stride=output_stride, in_chans=shared["in_chans"])
