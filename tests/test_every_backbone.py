"""Every backbone of the catalog under every head: a step of training and decoding; and as the classifier that timm has,
with timm's own logits."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from lightseg.backbones import FeaturePyramid
from lightseg.catalog.backbones import CATALOG
from lightseg.cpu_training import optimize_for_cpu
from lightseg.heads.classification import LinearHead
from lightseg.heads.default_boxes import LEVELS
from lightseg.heads.heatmap import HeatmapHead
from lightseg.heads.lraspp import LRASPP, RASPP
from lightseg.heads.mobileseg import MobileSeg
from lightseg.heads.rtmcc import RTMCCHead
from lightseg.heads.simcc import SimCCHead
from lightseg.heads.ssdlite import SSDLite
from lightseg.model import Model, create_model
from tests.marks import slow_except
from tests.nets import LIGHTEST, PARAMS, every_backbone

CLASSES = 5
BATCH = 2
SIZE = (64, 96)


def images_of(height: int, width: int) -> Tensor:
    images = torch.randint(0, 256, (BATCH, 3, height, width), dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


def mask_targets(height: int, width: int) -> dict[str, Any]:
    masks = torch.randint(0, CLASSES, (BATCH, height, width))
    masks[:, :5] = 255
    return {"masks": masks}


def class_targets(height: int, width: int) -> dict[str, Any]:
    return {"labels": torch.tensor([[0.3, 0.7, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])}


def box_targets(height: int, width: int) -> dict[str, Any]:
    """One image with a large and a small object, one with none."""
    boxes = [torch.tensor([[5.0, 8, 60, 50], [70, 50, 78, 57]]), torch.zeros(0, 4)]
    return {"boxes": boxes, "labels": [torch.tensor([4, 0]), torch.zeros(0, dtype=torch.int64)]}


def keypoint_targets(height: int, width: int) -> dict[str, Any]:
    return {
        "images": torch.zeros(BATCH, 3, height, width, dtype=torch.uint8),
        "keypoints": torch.rand(BATCH, CLASSES, 2) * torch.tensor([width - 1.0, height - 1.0]),
        "visible": torch.tensor([[2, 2, 1, 2, 0], [2, 0, 2, 2, 2]]),
        "area": torch.tensor([1000.0, 2000.0]),
    }


def check_masks(head: Any, outputs: Tensor, features: list[Tensor], size: tuple[int, int]) -> None:
    assert outputs.shape[:2] == (BATCH, CLASSES) and outputs.isfinite().all()
    prediction = head.decode(outputs, size)
    assert prediction.shape == (BATCH, *size) and prediction.min() >= 0 and prediction.max() < CLASSES


def check_classes(head: Any, outputs: Tensor, features: list[Tensor], size: tuple[int, int]) -> None:
    assert outputs.shape == (BATCH, CLASSES)
    probabilities = head.decode(outputs, size)
    assert torch.allclose(probabilities.sum(1), torch.ones(BATCH)) and probabilities.min() >= 0


def check_boxes(head: Any, outputs: dict[str, Tensor], features: list[Tensor], size: tuple[int, int]) -> None:
    sides = [tuple(features[index].shape[2:]) for index in head.feature_indices]
    assert [round(size[0] / height / 16) for height, _ in sides] in ([1, 2], [1]), "strides 16 and 32, or 16 alone"
    while len(sides) < LEVELS:  # the extra blocks halve
        sides.append(tuple(-(-side // 2) for side in sides[-1]))
    defaults = 6 * sum(height * width for height, width in sides)
    assert outputs["default_boxes"].shape == (defaults, 4)
    assert outputs["class_logits"].shape == (BATCH, defaults, CLASSES + 1)
    assert outputs["box_deltas"].shape == (BATCH, defaults, 4)
    detections = head.decode(outputs, size)
    assert len(detections) == BATCH
    for detection in detections:
        assert 0 < len(detection["scores"]) <= 300 and detection["boxes"].shape == (len(detection["scores"]), 4)
        assert (detection["boxes"] >= 0).all() and (detection["boxes"] <= torch.tensor([*size, *size]).flip(0)).all()
        assert detection["labels"].min() >= 0 and detection["labels"].max() < CLASSES
        assert (detection["scores"].diff() <= 0).all() and detection["scores"].min() > 0.001


def check_keypoints(head: Any, outputs: Any, features: list[Tensor], size: tuple[int, int]) -> None:
    # the refinement of a peak at the border may step a cell of the heatmap beyond it
    cell = 1.0
    if isinstance(outputs, Tensor):
        cell = max((side - 1) / (cells - 1) for side, cells in zip(size, outputs.shape[2:], strict=True)) + 1e-3
    prediction = head.decode(outputs, size)
    assert prediction["keypoints"].shape == (BATCH, CLASSES, 2) and prediction["scores"].shape == (BATCH, CLASSES)
    assert prediction["keypoints"].isfinite().all()
    limits = torch.tensor([size[1], size[0]])
    assert (prediction["keypoints"] > -cell).all() and (prediction["keypoints"] < limits + cell).all()


Checked = tuple[nn.Module, Callable[..., dict[str, Any]], Callable[..., None]]


def train_a_step(model: Model, heads: list[Checked], size: tuple[int, int]) -> None:
    """One step on the sum of the heads' losses. Every parameter of a head gets a gradient, and more than 3 in 4 of the
    backbone's one that is not 0: behind a dead ReLU it is."""
    nets = nn.ModuleList([model.backbone, *(head for head, _, _ in heads)])
    optimize_for_cpu(nets).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(nets.parameters(), lr=1e-3)
    images = images_of(*size)
    features = model.backbone(model.normalize(images))
    total = torch.zeros(())
    for head, targets, _ in heads:
        outputs = getattr(head, "training_outputs", head)(features, size)
        losses = head.loss(outputs, targets(*size))
        assert all(loss.isfinite() for loss in losses.values()) and losses["loss"] > 0, type(head)
        total = total + losses["loss"]
    total.backward()
    for head, _, _ in heads:
        assert [key for key, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    gradients = [parameter.grad for parameter in model.backbone.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    reached = sum(bool(gradient.any()) for gradient in gradients)
    assert reached > 0.75 * len(list(model.backbone.parameters()))
    optimizer.step()
    nets.eval()
    with torch.no_grad():
        features = model.backbone(model.normalize(images))
        for head, _, check in heads:
            check(head, head(features, size), features, size)


@pytest.mark.parametrize("name", every_backbone())
def test_it_trains_under_every_head(name):
    torch.manual_seed(0)
    model = create_model(name, "det", CLASSES, head={"name": "ssdlite", "extra_channels": [128, 64, 64, 32]})
    stages = model.backbone.stages
    assert isinstance(model.backbone, FeaturePyramid) and model.spec["output_stride"] == 32
    assert isinstance(model.head, SSDLite)
    heads: list[Checked] = [
        (model.head, box_targets, check_boxes),
        (LRASPP(stages, CLASSES), mask_targets, check_masks),
        (RASPP(stages, CLASSES), mask_targets, check_masks),
        (MobileSeg(stages, CLASSES), mask_targets, check_masks),
        (HeatmapHead(stages, CLASSES, variant="light"), keypoint_targets, check_keypoints),
        (HeatmapHead(stages, CLASSES, variant="simple"), keypoint_targets, check_keypoints),
        (SimCCHead(stages, CLASSES, image_size=SIZE), keypoint_targets, check_keypoints),
        (RTMCCHead(stages, CLASSES, image_size=SIZE), keypoint_targets, check_keypoints),
        (LinearHead(stages, CLASSES), class_targets, check_classes),
    ]
    train_a_step(model, heads, SIZE)


@pytest.mark.parametrize("name", LIGHTEST.values())
def test_dilated_it_trains_under_the_heads_of_segmentation(name):
    """At the task's output stride, and at a size that no stride divides."""
    torch.manual_seed(0)
    model = create_model(name, "seg", CLASSES)
    assert model.spec["output_stride"] == 16 and isinstance(model.head, LRASPP)
    heads: list[Checked] = [
        (model.head, mask_targets, check_masks),
        (RASPP(model.backbone.stages, CLASSES), mask_targets, check_masks),
        (MobileSeg(model.backbone.stages, CLASSES), mask_targets, check_masks),
    ]
    train_a_step(model, heads, (35, 51))


HEAVY = [name for name in CATALOG if PARAMS[name] > 40e6]  # their weights take seconds to draw


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_native_is_timms_own_classifier(name):
    """Layer by layer the same, and so are the names and shapes of the weights; nets of the same layers and fewer of
    them have the same logits, below."""
    with torch.device("meta"):
        ours, theirs = (
            create_model(name, "cls", CLASSES),
            timm.create_model(CATALOG[name].timm_name, num_classes=CLASSES),
        )
        assert type(ours.backbone.net) is type(theirs) and repr(ours.backbone.net) == repr(theirs)
        shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours.backbone.net, theirs)]
        assert shapes[0] == shapes[1]
    config = timm.data.resolve_data_config(model=theirs)
    assert (ours.contract.mean, ours.contract.std) == (config["mean"], config["std"])


@pytest.mark.parametrize("name", slow_except(LIGHTEST.values(), [name for name in CATALOG if name not in HEAVY]))
def test_native_is_timms_own_classifier(name):
    """The same weights, the same logits: uint8 to ours, to timm's what its own configuration makes of the image."""
    torch.manual_seed(0)
    model = create_model(name, "cls", CLASSES, loss={"label_smoothing": 0.1}).eval()
    net = timm.create_model(CATALOG[name].timm_name, num_classes=CLASSES).eval()
    assert type(net) is type(model.backbone.net)
    with torch.no_grad():
        for module in net.modules():  # statistics as after training: fresh ones would hide a wrong epsilon
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    model.backbone.net.load_state_dict(net.state_dict())
    config = timm.data.resolve_data_config(model=net)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.randint(0, 256, (BATCH, 3, 96, 96), dtype=torch.uint8)
    normalized = (images / 255 - mean) / std
    assert (model.normalize(images) - normalized).abs().max() <= 1e-6  # other roundings, which depth makes larger
    with torch.no_grad():
        ours, theirs = model(images), net(model.normalize(images))
    assert theirs.shape == (BATCH, CLASSES) and theirs.std() > 0
    assert (ours - theirs).abs().max() <= 1e-6
    if name in LIGHTEST.values():
        train_a_step(model, [(model.head, class_targets, check_classes)], SIZE)
